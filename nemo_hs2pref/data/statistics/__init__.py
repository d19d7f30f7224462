"""What a data set says as a whole, in memory that does not grow with it."""
