"""Processes: ranks, signals, clocks."""
