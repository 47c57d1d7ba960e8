"""Verifiers: `base.py`, then a file or small folder a family."""
