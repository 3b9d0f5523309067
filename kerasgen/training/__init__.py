"""Training of models of windows: compiling, the loop, its state, and devices."""
