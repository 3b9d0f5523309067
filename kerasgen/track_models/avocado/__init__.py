"""Imputation of tracks that were not measured: the Avocado model, its training and its files."""
