"""Readers of input files, one format a file. Each checks its file before anything is written."""
