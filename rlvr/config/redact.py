"""Configuration values that may be shown: without the password in the address of a Redis server."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from rlvr.config.schema import Config


def without_password(url: str | None) -> str | None:
    """The address with `...` for its password."""
    return url and re.sub(r"//([^:@/]*):.*@", r"//\1:...@", url)


def public(config: Config) -> dict[str, Any]:
    """Plain values of all keys, for trackers and comparisons."""
    values = dataclasses.asdict(config)
    values["verify"]["redis_url"] = without_password(values["verify"]["redis_url"])
    return values


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """By dotted key; a weight by step is one value."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        nested = isinstance(value, Mapping) and value and not key.endswith(".weight")
        found |= flat(value, f"{key}.") if nested else {key: value}
    return found
