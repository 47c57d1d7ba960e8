"""Prompts and completions as a tree of tokens, so that shared prefixes go through the model once."""
