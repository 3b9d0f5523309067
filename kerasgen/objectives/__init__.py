"""What an output is: heads, with their losses and metrics."""
