"""The audit of a rule pack: lint, reference solutions, `attacks/`."""
