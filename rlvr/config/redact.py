"""Configuration values without passwords."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from rlvr.config.schema import Config


def without_password(url: str | None) -> str | None:
    """An address that may be shown."""
    return url and re.sub(r"//([^:@/]*):.*@", r"//\1:...@", url)


def public(config: Config) -> dict[str, Any]:
    """Plain values, without a password."""
    values = dataclasses.asdict(config)
    values["verify"]["redis_url"] = without_password(values["verify"]["redis_url"])
    return values
