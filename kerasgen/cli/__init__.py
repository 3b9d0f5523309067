"""Commands of the read side, one file each; their flags are the settings of the functions that they call."""
