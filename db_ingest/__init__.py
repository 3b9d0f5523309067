"""The write side of kerasgen: files in, a TileDB database out; the database's layout, catalogue and raw reader."""

from db_ingest.writing.ingest import IngestResult, ingest

__all__ = ["IngestResult", "ingest"]
