"""Ratings and preference pairs: records, official files, aggregation, templates, preparation, batches."""
