"""The policy: loading, log-probabilities, LoRA adapters, and prefix sharing (`prefix_tree`)."""
