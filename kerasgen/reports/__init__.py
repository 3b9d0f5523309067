"""Reports of a run as one page."""
