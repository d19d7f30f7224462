"""One run: what builds, saves, logs and watches it."""
