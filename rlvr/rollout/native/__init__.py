"""The rollout engine that samples with the model that is trained."""
