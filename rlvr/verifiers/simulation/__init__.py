"""Worlds that actions drive, for `rlvr.verifiers.simulation.verifier`."""
