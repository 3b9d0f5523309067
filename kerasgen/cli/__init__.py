"""Commands of the read side, one file each; ``flags.py`` explains every flag once."""
