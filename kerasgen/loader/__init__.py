"""From a database to arrays of batches: stretches held in memory, blocks read ahead, and the compiled loops between."""
