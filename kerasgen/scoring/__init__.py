"""Scores of predictions against labels, one kind of model a file."""
