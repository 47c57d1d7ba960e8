"""Bounds: what they allow, and how they say it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from rlvr.config.bounds import Bounds, check_fields


@pytest.mark.parametrize(
    ("bounds", "said", "allowed", "refused"),
    [
        ({"at_least": 1}, "at least 1", (1, 2.5, math.inf), (0, 0.99, -math.inf)),
        ({"above": 0}, "above 0", (1e-300, 5), (0, -1, math.inf)),
        ({"at_least": 0, "at_most": 1}, "in [0, 1]", (0, 0.5, 1), (-0.1, 1.1)),
        ({"at_least": 0, "below": 1}, "in [0, 1)", (0, 0.99), (-0.1, 1)),
        ({"above": 0, "at_most": 1}, "in (0, 1]", (0.1, 1), (0, 1.1)),
        ({"one_of": ("k1", "k2")}, "one of k1, k2", ("k1", "k2"), ("k3", "", None)),
        ({"at_least": 2, "why": "a pair"}, "at least 2 (a pair)", (2,), (1,)),
    ],
)
def test_bounds(bounds: dict[str, Any], said: str, allowed: tuple[Any, ...], refused: tuple[Any, ...]) -> None:
    made = Bounds(**bounds)
    assert str(made) == said
    assert all(map(made.allow, allowed))
    assert not any(map(made.allow, (*refused, math.nan)))


@dataclass(kw_only=True)
class Limits:
    wall_s: float = 1.0
    files: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, "wall_s", "files", above=0)


def test_fields_of_an_object() -> None:
    Limits(files=3)
    with pytest.raises(ValueError, match=r"^wall_s=nan: must be above 0$"):
        Limits(wall_s=math.nan)
    with pytest.raises(ValueError, match=r"^files=0: must be above 0$"):
        Limits(files=0)
