"""Objects and rules from configuration nodes: `_target_` names a class, the other keys are its fields."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from rlvr.config.schema import RuleConfig
from rlvr.errors import ConfigError, nearest

T = TypeVar("T")


def construct(node: Mapping[str, Any], base: type[T], *, key: str, prefixes: Sequence[str] = ("rlvr.",)) -> T:
    """An instance of the class that `_target_` names, with the other keys as its fields.

    Only subclasses of `base` from modules under `prefixes`, so that a YAML file cannot run anything else.
    key: of the node, for error lines. Errors: `ConfigError` naming the key.
    """
    path = node.get("_target_")
    if not isinstance(path, str):
        raise ConfigError(f"{key}._target_: must name the import path of a {base.__name__}")
    if not any(path.startswith(prefix.removesuffix(".") + ".") for prefix in prefixes):
        raise ConfigError(f"{key}._target_={path}: allowed are {', '.join(prefixes)} (list more in rules_from)")
    module_name, _, class_name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"{key}._target_={path}: {error}") from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        derived = [name for name, each in vars(module).items() if isinstance(each, type) and base in each.__mro__[1:]]
        raise ConfigError(f"{key}._target_={path}: is no {base.__name__}{nearest(class_name, derived)}")
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    allowed = list(inspect.signature(found).parameters)
    for name in arguments:
        if name not in allowed:
            raise ConfigError(f"{key}.{name}: {found.__name__} has no such option{nearest(name, allowed)}")
    try:
        if dataclasses.is_dataclass(found):
            return pydantic.TypeAdapter(found).validate_python(arguments)
        return found(**arguments)
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(key, error)) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{key}: {error}") from error


def rule_config(node: Any, key: str) -> RuleConfig:
    """A rule from plain values, checked against the schema. Errors: `ConfigError` naming the key."""
    if not isinstance(node, Mapping):
        raise ConfigError(f"{key}={node}: must be a rule: weight, and verifier or parts")
    allowed = [field.name for field in dataclasses.fields(RuleConfig)]
    for name in node:
        if name not in allowed:
            raise ConfigError(f"{key}.{name}: there is no such key{nearest(str(name), allowed)}")
    try:
        return pydantic.TypeAdapter(RuleConfig).validate_python(dict(node))
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(key, error)) from error


def _explain(key: str, error: pydantic.ValidationError) -> str:
    """The first error in one line: what the class itself raised, or what pydantic says of a field."""
    first = error.errors()[0]
    raised = first.get("ctx", {}).get("error")
    if isinstance(raised, ConfigError):
        return str(raised)
    field = ".".join([key, *map(str, first["loc"])])
    return f"{key}.{raised}" if raised is not None else f"{field}={first['input']}: {first['msg']}"
