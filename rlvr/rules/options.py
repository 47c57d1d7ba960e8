"""A verifier as the file of a rule pack writes it."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlvr.verifiers.base import Verifier


def verifier_node(verifier: Verifier) -> dict[str, Any]:
    """`_target_` and all options, defaults included: `rlvr.config.instantiate.construct` makes an equal verifier of it."""
    kind = type(verifier)
    options = dict(getattr(verifier, "__dict__", {}))
    if dataclasses.is_dataclass(verifier):
        options = {field.name: getattr(verifier, field.name) for field in dataclasses.fields(verifier) if field.init}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **options}
