"""What a run will be and need, counted before it starts."""
