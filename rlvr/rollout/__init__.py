"""Sampling: the interface of rollout engines, random numbers, stop strings, and the engines."""
