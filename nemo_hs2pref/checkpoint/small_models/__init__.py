"""The two models that a laptop trains: a real one, and one of random weights."""
