"""Supervised worker processes of this machine."""
