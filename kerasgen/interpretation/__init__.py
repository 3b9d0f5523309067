"""What in a sequence made a model predict what it did."""
