"""What a training step costs, in seconds and bytes, from shapes and hardware alone."""
