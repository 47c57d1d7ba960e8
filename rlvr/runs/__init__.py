"""A run: from a checked plan to a folder; rollout log, resume, summary, rule history."""
