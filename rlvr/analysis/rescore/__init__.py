"""Scoring the rollouts of a rollout log again: by the same rules, or by different ones."""
