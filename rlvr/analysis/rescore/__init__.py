"""Judging the rollouts of a rollout log again: by the same rules, and by others."""
