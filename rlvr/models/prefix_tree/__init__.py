"""Prompts and completions as a tree, so that what rollouts share goes through the model once."""
