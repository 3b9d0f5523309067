"""Commands of the write side, and the frame that every command of kerasgen stands in."""
