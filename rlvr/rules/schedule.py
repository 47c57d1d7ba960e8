"""Weights that change with the step: constant pieces `{0: 0.1, 4000: 0.05}`, or lines `{linear: {0: 0.1, 4000: 0.05}}`."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rlvr.config.schema import MISSING
from rlvr.errors import ConfigError
from rlvr.text import one_line

_FORMS = "must be a number, or weights by step: {0: 0.1, 4000: 0.05}, or {linear: {0: 0.1, 4000: 0.05}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A weight for every training step (the first is 1; 0 stands for what comes before training)."""

    points: tuple[tuple[int, float], ...]
    """Rising steps, from 0, each with the weight (in units of reward) from that step on."""
    linear: bool = False
    """Whether the weight goes in a straight line from each point to the next, and is constant only after the last one."""

    def __post_init__(self) -> None:
        steps = [step for step, _ in self.points]
        if not steps or steps[0] != 0 or any(step >= later for step, later in pairwise(steps)):
            raise ValueError(f"points={self.points}: steps must rise from 0")
        if not all(math.isfinite(weight) for _, weight in self.points):
            raise ValueError(f"points={self.points}: weights must be finite numbers")

    def at(self, step: int) -> float:
        """The weight in force at a step. Errors: `ValueError` for a negative one."""
        if step < 0:
            raise ValueError(f"step={step}: must be at least 0")
        after = bisect_right(self.points, step, key=lambda point: point[0])
        start, weight = self.points[after - 1]
        if not self.linear or after == len(self.points):
            return weight
        end, goal = self.points[after]
        share = (step - start) / (end - start)
        between = (1 - share) * weight + share * goal
        return min(max(between, min(weight, goal)), max(weight, goal))  # rounding must not pass either end

    def breakpoints(self) -> tuple[int, ...]:
        """Steps at which the weight may become 0 or stop being 0; between them it does not (but for the one step at which a
        line may pass through 0)."""
        return tuple(sorted({step + after for step, _ in self.points for after in (0, 1)}))

    def plain(self) -> dict[Any, Any]:
        """As it is written in YAML."""
        return {"linear": dict(self.points)} if self.linear else dict(self.points)


def read_weight(value: Any, key: str) -> float | Schedule:
    """A weight as configured. Errors: `ConfigError` naming `key`."""
    if not isinstance(value, Mapping):
        return _number(value, key, _FORMS)
    linear = list(value) == ["linear"]
    by_step = value["linear"] if linear else value
    if not isinstance(by_step, Mapping):
        raise ConfigError(f"{key}.linear={by_step}: must be weights by step: {{0: 0.1, 4000: 0.05}}")
    for step in by_step:
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            hint = f"; a weight {_FORMS}" if isinstance(step, str) else ""
            raise ConfigError(f"{key}.{step}: a step must be a whole number from 0{hint}")
    if 0 not in by_step:
        raise ConfigError(f"{key}={shown(value)}: has no weight for step 0, where it must begin")
    points = {step: _number(by_step[step], f"{key}.{step}", "must be a number") for step in sorted(by_step)}
    if len(points) == 1:
        return points[0]
    return Schedule(points=tuple(points.items()), linear=linear)


def _number(value: Any, key: str, allowed: str) -> float:
    if value == MISSING:
        raise ConfigError(f"{key}: must be set, as {key}=VALUE")
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise TypeError
        number = float(value)  # a text if it comes from the environment: ${oc.env:WEIGHT}
    except (TypeError, ValueError):
        raise ConfigError(f"{key}={shown(value)}: {allowed}") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ConfigError(f"{key}={number}: must be a finite number")
    return number


def shown(value: Any) -> str:
    """A value in one line, as one would write it in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    return one_line(value)
