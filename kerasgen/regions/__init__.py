"""Where windows lie: regions, backgrounds, folds and the plan of an epoch."""
