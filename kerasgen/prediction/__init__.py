"""Predictions of a model: on arrays, on windows of a database, and in files."""
