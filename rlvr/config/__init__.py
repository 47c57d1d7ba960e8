"""The configuration: schema, composing with Hydra, checks, objects from `_target_`, passwords left out."""
