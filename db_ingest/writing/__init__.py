"""Files in, a database out: what gen_ingest does."""
