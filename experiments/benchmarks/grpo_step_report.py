"""What `grpo_step` makes of its measurements: medians, ratios, slopes, tables. It compares equal work only."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grpo_step_cases import SIDES, Case, Side
from grpo_step_child import Measured, Step
from grpo_step_floor import Floor

ALLOWED = 0.02
"""Share by which the completion tokens of the two sides may differ."""
MB = 1e6
NAMES: Mapping[Side, str] = {"ours": "ours", "trl": "TRL"}


class UnequalWork(ValueError):
    """The two sides did not do the same, so their times cannot be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """All that was found out about a case."""

    case: Case
    turns: tuple[Mapping[Side, Measured], ...]
    """Each with the sides that were asked for."""
    floor: Floor

    def steps(self, side: Side) -> list[Step]:
        return [step for response in self.turns for step in response[side].steps]

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple(side for side in SIDES if side in self.turns[0])

    def median(self, side: Side, part: str) -> float:
        """Of `total`, `rollout`, `verify` or `train`, in seconds, over all measured steps."""
        return statistics.median(getattr(step, part) for step in self.steps(side))

    def tokens_per_second(self, side: Side) -> float:
        """Completion tokens over the median step."""
        return statistics.median(step.completion_tokens for step in self.steps(side)) / self.median(side, "total")

    def peak(self, side: Side) -> float:
        """Bytes, the greatest of all processes."""
        return max(response[side].peak_bytes for response in self.turns)

    def above_model(self, side: Side) -> float:
        """Bytes, on top of what was in use once the model was loaded."""
        return max(response[side].peak_bytes - response[side].loaded_bytes for response in self.turns)

    def ratios(self, part: str) -> list[float]:
        """TRL's median over ours, turn by turn."""
        medians = [
            {side: statistics.median(getattr(step, part) for step in response[side].steps) for side in SIDES}
            for response in self.turns
        ]
        return [median["trl"] / median["ours"] for median in medians if median["ours"]]


def check_equal_work(case: Case, measured: Mapping[Side, Measured]) -> None:
    """Errors: `UnequalWork` if prompts differ, completion tokens differ by more than `ALLOWED`, or a group is degenerate
    (which one of the sides might leave out of training)."""
    for side, each in measured.items():
        degenerate = sum(step.degenerate for step in each.steps)
        if degenerate:
            raise UnequalWork(
                f"{case.name}: {degenerate} groups of {NAMES[side]} have equal rewards; there is nothing to train on"
            )
    if set(measured) != set(SIDES):
        return
    ours, trl = measured["ours"], measured["trl"]
    if len(ours.steps) != len(trl.steps):
        raise UnequalWork(f"{case.name}: {len(ours.steps)} steps of ours against {len(trl.steps)} of TRL")
    for number, (mine, its) in enumerate(zip(ours.steps, trl.steps, strict=True), start=1):
        if mine.prompt_tokens != its.prompt_tokens:
            raise UnequalWork(f"{case.name}: step {number} has {mine.prompt_tokens} prompt tokens, TRL's {its.prompt_tokens}")
        most, least = (pick(mine.completion_tokens, its.completion_tokens) for pick in (max, min))
        if most - least > ALLOWED * most:
            raise UnequalWork(
                f"{case.name}: step {number} has {mine.completion_tokens} completion tokens, TRL's {its.completion_tokens}; "
                f"at most {ALLOWED:.0%} may differ"
            )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line through (x, y) that least squares gives."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope


HEAD = (
    "| case | side | step s (from, to) | rollout s | verify s | train s | tokens/s | peak MB | above the model MB | "
    "floor: rollout s | reached | floor: train s | reached |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def row(found: Compared, side: Side) -> str:
    """A line of the table under HEAD."""
    totals = [step.total for step in found.steps(side)]
    rollout, train = found.median(side, "rollout"), found.median(side, "train")
    columns = [
        found.case.name,
        NAMES[side],
        f"{statistics.median(totals):.3g} ({min(totals):.3g}, {max(totals):.3g})",
        f"{rollout:.3g}",
        f"{found.median(side, 'verify'):.2g}",
        f"{train:.3g}",
        f"{found.tokens_per_second(side):,.0f}",
        f"{found.peak(side) / MB:,.0f}",
        f"{found.above_model(side) / MB:,.0f}",
        f"{found.floor.rollout:.3g}",
        f"{found.floor.rollout / rollout:.0%}",
        f"{found.floor.train:.3g}",
        f"{found.floor.train / train:.0%}",
    ]
    return f"| {' | '.join(columns)} |"


RATIO_HEAD = "| case | TRL / ours: step (from, to) | rollout | train | peak | above the model |\n|---|---|---|---|---|---|"


def ratio_row(found: Compared) -> str:
    """A line of the table under RATIO_HEAD; medians of the ratios within each turn."""
    step = found.ratios("total")
    columns = [
        found.case.name,
        f"{statistics.median(step):.2f} ({min(step):.2f}, {max(step):.2f})",
        *(f"{statistics.median(found.ratios(part)):.2f}" for part in ("rollout", "train")),
        f"{found.peak('trl') / found.peak('ours'):.2f}",
        f"{found.above_model('trl') / max(1.0, found.above_model('ours')):.2f}",
    ]
    return f"| {' | '.join(columns)} |"


SLOPE_HEAD = "| sweep | what | ours | TRL | TRL / ours |\n|---|---|---|---|---|"
QUANTITIES = {
    "step ms": ("total", 1e3),
    "rollout ms": ("rollout", 1e3),
    "train ms": ("train", 1e3),
    "peak MB": ("peak", 1 / MB),
}
"""What is swept: what it is called, and where it comes from in which unit."""


def quantity(found: Compared, side: Side, name: str) -> float:
    """One of QUANTITIES."""
    source, unit = QUANTITIES[name]
    return unit * (found.peak(side) if source == "peak" else found.median(side, source))


def slope_rows(sweep: str, found: Sequence[tuple[int, Compared]]) -> list[str]:
    """Lines of the table under SLOPE_HEAD: what a thousand more of what is swept costs."""
    lines = []
    for name in QUANTITIES:
        slopes = {side: 1000 * slope([(x, quantity(each, side, name)) for x, each in found]) for side in found[0][1].sides}
        columns = [f"{slopes[side]:.4g}" if side in slopes else "" for side in SIDES]
        grows = len(slopes) == len(SIDES) and min(slopes.values()) > 0  # else there is nothing that a ratio would say
        ratio = f"{slopes['trl'] / slopes['ours']:.2f}" if grows else ""
        lines.append(f"| {sweep} | {name} per 1,000 | {' | '.join(columns)} | {ratio} |")
    return lines
