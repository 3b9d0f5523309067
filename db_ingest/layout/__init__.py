"""What a database is, one to one with docs/database.md."""
