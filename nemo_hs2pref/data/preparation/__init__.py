"""From what was read to the files that training reads."""
