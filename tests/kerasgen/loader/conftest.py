"""Threads that make batches ahead end with their test."""

from threads import threads_end_fixture  # noqa: F401
