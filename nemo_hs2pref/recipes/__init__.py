"""What can be trained: a table that needs no torch, a file for each kind of run, and its heavy side, imported late."""
