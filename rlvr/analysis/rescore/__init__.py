"""Judging the rollouts of a ledger again: by the same rules, and by others."""
