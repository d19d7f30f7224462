"""From files, wherever they are, to rows: sources, one pass over them, what waits on disk."""
