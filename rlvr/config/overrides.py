"""Command-line overrides, rewritten into forms that Hydra composes as a user means them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

FLAGS_WITH_VALUE = {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p"}
"""Flags of Hydra that the next argument belongs to."""


def for_hydra(overrides: Iterable[str]) -> list[str]:
    """All overrides, rewritten where Hydra would read them differently."""
    return [each for override in overrides for each in replace_schedule(as_mixture(override))]


def as_mixture(override: str) -> str:
    """`dataset=[a,b]` as `dataset=a+b`: a mixture. (Hydra itself joins `rules=[a,b]`.)"""
    match = re.fullmatch(r"(\+*dataset)=\[([^\[\]=]+)\]", override)
    return f"{match[1]}={'+'.join(name.strip() for name in match[2].split(','))}" if match else override


def replace_schedule(override: str) -> list[str]:
    """`rules.NAME.weight={...}` as two overrides, so that the new schedule replaces the configured one.

    Hydra alone would merge the two, and steps of the old schedule would stay in force.
    """
    key, equals, value = override.partition("=")
    is_schedule = equals and "{" in value and re.fullmatch(r"(\+\+)?rules\.[^.]+\.weight", key)
    return [f"{key}=0", override] if is_schedule else [override]


def overrides_in(arguments: Sequence[str]) -> list[str]:
    """The arguments that are overrides, not flags or their values."""
    follows_flag = [False, *(argument in FLAGS_WITH_VALUE for argument in arguments)]
    return [a for a, value in zip(arguments, follows_flag, strict=False) if "=" in a and not a.startswith("-") and not value]
