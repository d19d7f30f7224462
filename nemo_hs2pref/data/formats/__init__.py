"""The data sets that can be read, each a RELEASE (its files) and `read` (their rows to Found)."""
