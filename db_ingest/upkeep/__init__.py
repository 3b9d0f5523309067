"""What is done to a database that is there: one function per command of ``gen_db``, and what they work with."""
