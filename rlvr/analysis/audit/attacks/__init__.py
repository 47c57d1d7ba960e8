"""Known ways to get reward that was not earned; `rlvr audit` tries them."""
