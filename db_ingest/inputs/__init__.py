"""Bytes from anywhere: local, compressed and remote files, and the names of chromosomes in them."""
