"""Devices and collectives of the processes of a run."""
