"""What a run was made with: model and versions."""

from __future__ import annotations

import platform
from importlib.metadata import version

from rlvr.config.schema import Config


def model_name(config: Config) -> str:
    """The folder says more than the name where both are given."""
    return config.model.path or config.model.name or ""


def versions() -> dict[str, str]:
    """Of what a run's numbers depend on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("rlvr", "torch", "transformers", "accelerate")},
    }
