"""Command-line overrides rewritten into forms that Hydra composes as a user means them."""

from __future__ import annotations

import re
from collections.abc import Iterable


def joined(override: str) -> str:
    """`dataset=[a,b]` as `dataset=a+b`: a mixture. (`rules=[a,b]` Hydra can do by itself.)"""
    match = re.fullmatch(r"(\+*dataset)=\[([^\[\]=]+)\]", override)
    return f"{match[1]}={'+'.join(name.strip() for name in match[2].split(','))}" if match else override


def replacing(override: str) -> list[str]:
    """`rules.NAME.weight={...}` as two overrides, by which the new schedule replaces one that is there.

    By itself Hydra would merge the two, and steps of the old one would stay in force.
    """
    key, equals, value = override.partition("=")
    is_schedule = equals and "{" in value and re.fullmatch(r"(\+\+)?rules\.[^.]+\.weight", key)
    return [f"{key}=0", override] if is_schedule else [override]


def as_hydra_reads(arguments: Iterable[str]) -> list[str]:
    """Command-line arguments in the forms that Hydra composes as a user means them."""
    return [each for argument in arguments for each in replacing(joined(argument))]
