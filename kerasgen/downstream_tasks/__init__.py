"""Genomic elements with labels, and what tracks and embeddings say about them."""
