"""GRPO: the training loop, advantages, losses, policy updates, checkpoints and early stopping."""
