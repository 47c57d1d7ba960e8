"""Model name and library versions of a run."""

from __future__ import annotations

import platform
from importlib.metadata import version

from rlvr.config.schema import Config


def model_name(config: Config) -> str:
    """The folder where one is set: it says more than the name."""
    return config.model.path or config.model.name or ""


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a run's numbers depend on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("rlvr", "torch", "transformers", "accelerate")},
    }
