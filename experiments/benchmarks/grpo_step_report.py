"""Medians, ratios, slopes and tables of `grpo_step`. Only equal work is compared."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grpo_step_cases import SIDES, Case, Side
from grpo_step_child import Measured, Step
from grpo_step_floor import Floor

ALLOWED = 0.02
"""Relative difference allowed between the completion tokens of the two sides."""
MB = 1e6
NAMES: Mapping[Side, str] = {"ours": "ours", "trl": "TRL"}


class UnequalWork(ValueError):
    """The two sides did not do the same work, so their times cannot be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """All measurements of a case."""

    case: Case
    rounds: tuple[Mapping[Side, Measured], ...]
    """Each with the requested sides."""
    floor: Floor

    def steps(self, side: Side) -> list[Step]:
        return [step for each in self.rounds for step in each[side].steps]

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple(side for side in SIDES if side in self.rounds[0])

    def median(self, side: Side, part: str) -> float:
        """Of `total`, `rollout`, `verify` or `train`, in seconds, over all measured steps."""
        return statistics.median(getattr(step, part) for step in self.steps(side))

    def tokens_per_second(self, side: Side) -> float:
        """Completion tokens over the median step."""
        return statistics.median(step.completion_tokens for step in self.steps(side)) / self.median(side, "total")

    def peak(self, side: Side) -> float:
        """Bytes, the maximum over all processes."""
        return max(each[side].peak_bytes for each in self.rounds)

    def above_model(self, side: Side) -> float:
        """Bytes in addition to those in use after the model was loaded."""
        return max(each[side].peak_bytes - each[side].loaded_bytes for each in self.rounds)

    def ratios(self, part: str) -> list[float]:
        """TRL's median over ours, for each round."""
        medians = [
            {side: statistics.median(getattr(step, part) for step in each[side].steps) for side in SIDES}
            for each in self.rounds
        ]
        return [median["trl"] / median["ours"] for median in medians if median["ours"]]


def check_equal_work(case: Case, measured: Mapping[Side, Measured]) -> None:
    """Errors: `UnequalWork` if prompts differ, completion tokens differ by more than `ALLOWED`, or a group is degenerate,
    which one side might leave out of training."""
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
    """Slope of the least-squares line through points (x, y)."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope


HEAD = (
    "| case | side | step s (from, to) | rollout s | verify s | train s | tokens/s | peak MB | above the model MB | "
    "floor: rollout s | reached | floor: train s | reached |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def row(found: Compared, side: Side) -> str:
    """A row of the table with head HEAD."""
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
    """A row of the table with head RATIO_HEAD; medians of the ratios within each round."""
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
"""Name in the tables: attribute of `Step` (or the peak), and factor of the unit."""


def quantity(found: Compared, side: Side, name: str) -> float:
    """One of QUANTITIES."""
    source, unit = QUANTITIES[name]
    return unit * (found.peak(side) if source == "peak" else found.median(side, source))


def slope_rows(sweep: str, found: Sequence[tuple[int, Compared]]) -> list[str]:
    """Rows of the table with head SLOPE_HEAD: the increase per 1,000 of the swept size."""
    lines = []
    for name in QUANTITIES:
        slopes = {side: 1000 * slope([(x, quantity(each, side, name)) for x, each in found]) for side in found[0][1].sides}
        columns = [f"{slopes[side]:.4g}" if side in slopes else "" for side in SIDES]
        grows = len(slopes) == len(SIDES) and min(slopes.values()) > 0  # else a ratio means nothing
        ratio = f"{slopes['trl'] / slopes['ours']:.2f}" if grows else ""
        lines.append(f"| {sweep} | {name} per 1,000 | {' | '.join(columns)} | {ratio} |")
    return lines
