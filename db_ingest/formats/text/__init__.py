"""Parsers and writers of line-based text."""
