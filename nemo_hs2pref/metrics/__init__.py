"""Sums that merge over micro batches and ranks by addition, and what people read of their totals."""
