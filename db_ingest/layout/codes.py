"""The numbers that cells of a database hold; apart from the schemas, so that they can be had without TileDB."""

UNKNOWN_BASE = 4
"""Code of a base that is none of A C G T = 0 1 2 3."""

MASK_OUTSIDE, MASK_INSIDE, MASK_SUMMIT, MASK_MISSING = 0, 1, 2, 255
"""Outside all intervals, inside one, its summit, no such track."""

MOST_COUNTS, COUNTS_MISSING = 65_534, 65_535
"""Largest value that a member of counts can hold, and the code of a base without a value."""
