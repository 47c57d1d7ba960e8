"""Data sets: what one is, its rows, prompts, the order of problems; `datasets/` has a file a data set."""
