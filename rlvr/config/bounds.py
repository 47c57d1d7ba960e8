"""What a number or a named choice may be: of the schema's keys, and of fields of the classes that `_target_` names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rlvr.errors import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of a number (an upper one comes with a lower one; NaN keeps to none), or the choices of a text."""

    at_least: float | None = None
    above: float | None = None
    """Refuses infinity as well."""
    at_most: float | None = None
    below: float | None = None
    one_of: tuple[str, ...] = ()
    why: str = ""
    """Why, or what the number at the bound means; for the error line."""

    def __str__(self) -> str:
        """`at least 2 (why)`, `above 0`, `in [0, 1)`, `one of k1, k2, k3`."""
        if self.one_of:
            said = f"one of {', '.join(self.one_of)}"
        elif self.at_most is None and self.below is None:
            said = f"at least {self.at_least}" if self.above is None else f"above {self.above}"
        else:
            low = f"[{self.at_least}" if self.above is None else f"({self.above}"
            high = f"{self.at_most}]" if self.below is None else f"{self.below})"
            said = f"in {low}, {high}"
        return f"{said} ({self.why})" if self.why else said

    def allow(self, value: Any) -> bool:
        if self.one_of:
            return value in self.one_of
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or self.above < value < math.inf)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def refusal(self, key: str, value: Any) -> str:
        """The error line for a value that is not allowed."""
        if self.one_of:
            return f"{key}={value}: there is no such choice{nearest(str(value), self.one_of)}"
        return f"{key}={value}: must {'lie' if str(self).startswith('in') else 'be'} {self}"


def check_fields(owner: object, *names: str, **bounds: Any) -> None:
    """For `__post_init__`: `check_fields(self, "wall_s", "cpu_s", above=0)`. None is allowed.

    bounds: of `Bounds`. Errors: `ValueError`; `construct` completes its key.
    """
    for name in names:
        value, allowed = getattr(owner, name), Bounds(**bounds)
        if value is not None and not allowed.allow(value):
            raise ValueError(allowed.refusal(name, value))
