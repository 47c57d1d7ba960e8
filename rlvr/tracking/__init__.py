"""Observers of a run: console output, W&B, and the names of metrics."""
