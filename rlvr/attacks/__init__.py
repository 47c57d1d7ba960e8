"""Known ways to get reward that was not earned; `python -m rlvr.audit` tries them."""
