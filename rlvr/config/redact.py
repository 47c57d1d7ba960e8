"""Configuration values that may be shown: without the password in the address of a Redis server."""

from __future__ import annotations

import dataclasses
import re
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
