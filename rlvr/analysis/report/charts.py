"""Which curves the page shows: for a run several metrics in a chart, for a sweep one metric a chart with a curve a variant."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

from markupsafe import Markup

from rlvr.analysis.report.run_record import Record, rule_names
from rlvr.analysis.report.svg import Line, Mark, line_chart, stack_chart, swatch
from rlvr.analysis.report.variants import Point, Variant, series
from rlvr.analysis.report.verdict_history import History
from rlvr.text import clip

_MOST_VARIANTS = 12
"""Curves in a chart of a sweep."""
_LEGEND = 100
"""Characters of a name; a variant may have many overrides."""
_MOST_REASONS = 7
"""Reasons of a rule that have their own colour; the rest is one more."""
_MOST_MARKS = 8
"""Changes of a weight that are marked; a weight with more changes has a schedule, and a curve that shows it."""

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Metrics by name of the record, with pass rates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart with title, legend and caption."""

    title: str
    picture: Markup
    legend: Sequence[tuple[Markup, str]]
    caption: str = ""


_SWEEP = (
    ("Accuracy, held out, greedy", "eval/accuracy", True),
    ("Format, held out, greedy", "eval/format", True),
    ("Reward, held out, greedy", "eval/reward", False),
    ("Reward of sampled rollouts", "reward/mean", False),
    ("Length of completions (tokens)", "rollout/length", False),
    ("Entropy of the policy (nats a token)", "policy/entropy", False),
    ("Groups that teach nothing (all rewards equal)", "group/degenerate", True),
    ("Rollouts cut off at the token limit", "rollout/truncated", True),
)
_RUN = (
    ("Held out, greedy", {"format": "eval/format", "accuracy": "eval/accuracy"}, True),
    ("Length of completions (tokens)", {"length": "rollout/length"}, False),
    (
        "Shares of groups and rollouts",
        {"degenerate groups": "group/degenerate", "truncated": "rollout/truncated", "masked": "group/masked"},
        True,
    ),
    ("Entropy (nats a token) and KL to the reference", {"entropy": "policy/entropy", "KL": "policy/kl"}, False),
    ("Norm of the gradient", {"norm": "policy/grad_norm"}, False),
    ("Seconds of a step", {"sampling": "time/rollout", "waiting for verdicts": "time/verify", "training": "time/train"}, False),
)


def changes(records: Sequence[Record]) -> list[Mark]:
    """Steps at which the rules changed, numbered from 1, or an edit was refused. A change in only some of several runs names
    them."""
    found: dict[tuple[int, str, bool], list[str]] = {}
    for record in records:
        for step, text in _changes(record):
            found.setdefault((step, text, True), []).append(record.name)
        for edit in record.edits:
            if edit.refused is not None:
                found.setdefault((edit.step, f"an edit was refused: {edit.refused}", False), []).append(record.name)
    marks: list[Mark] = []
    numbers = count(1)
    for (step, text, taken), names in sorted(found.items()):
        jobs = f" (job{'s' * (len(names) > 1)} {', '.join(names)})" if len(names) < len(records) else ""
        marks.append(Mark(step=step, number=next(numbers) if taken else None, text=text + jobs, runs=names))
    return marks


def _changes(record: Record) -> list[tuple[int, str]]:
    found = [(edit.step, "; ".join(edit.changes)) for edit in record.edits if edit.changes]
    edited = {step for step, _ in found}
    unknown = [row["step"] for row in record.rows if row.get("rules/changes") and row["step"] not in edited]
    found += [(step, "the rules were edited") for step in unknown]
    edited |= set(unknown)
    for name in rule_names(record.rows):
        weights = series(record.rows, f"rule/{name}/weight")
        changed = [(step, x, y) for (_, x), (step, y) in pairwise(weights) if x != y and step not in edited]
        steps = [(step, f"rules.{name}.weight {x:g} -> {y:g}, by its schedule") for step, x, y in changed]
        found += steps if len(steps) <= _MOST_MARKS else []
    return found


def run_figures(record: Record, rows: Sequence[Mapping[str, Any]], marks: Sequence[Mark]) -> list[Figure]:
    """The charts of one run."""
    names = rule_names(rows)
    specs = list(_RUN)
    specs.insert(1, ("Mean score by rule, sampled rollouts", {name: f"rule/{name}/score" for name in names}, True))
    specs.insert(2, ("Pass rate by rule: share with the full score", {name: f"rule/{name}/pass" for name in names}, True))
    weights = {name: f"rule/{name}/weight" for name in names}
    if any(len({value for _, value in series(rows, key)}) > 1 for key in weights.values()):
        specs.insert(3, ("Active weights", weights, False))
    figures = [_figure(title, _lines(rows, keys), marks, share) for title, keys, share in specs]
    figures.insert(
        1, _figure("Reward", _reward_lines(rows), marks, False, "Band: one standard deviation of the rollouts of a step.")
    )
    return [figure for figure in figures if figure is not None]


def _lines(rows: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> list[Line]:
    found = {name: series(rows, key) for name, key in keys.items()}
    shown = {name: of for name, of in found.items() if of and (name != "KL" or any(value for _, value in of))}
    return [Line(name=name, points=[Point(step=s, mean=v, low=v, high=v) for s, v in of]) for name, of in shown.items()]


def _reward_lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    deviations = dict(series(rows, "reward/std"))
    points = [
        Point(step=step, mean=mean, low=mean - deviations.get(step, 0.0), high=mean + deviations.get(step, 0.0))
        for step, mean in series(rows, "reward/mean")
    ]
    sampled = [Line(name="sampled rollouts, mean", points=points, band="deviation")] if points else []
    return sampled + _lines(rows, {"held out, greedy": "eval/reward"})


def sweep_figures(variants: Sequence[Variant], rows: Rows, marks: Sequence[Mark]) -> list[Figure]:
    """The charts of a sweep: a curve a variant, its mean over seeds, and the range of the seeds as a band."""
    names = rule_names([row for of in rows.values() for row in of])
    measures = list(_SWEEP)
    for name in names:
        measures.append((f"Mean score of {name}, sampled rollouts", f"rule/{name}/score", True))
        measures.append((f"Pass rate of {name}: share with the full score", f"rule/{name}/pass", True))
    seeds = max(len(variant.counted) for variant in variants)
    caption = "Line: mean over seeds. Band: from the lowest seed to the highest." if seeds > 1 else "One seed each: no band."
    if len(variants) > _MOST_VARIANTS:
        caption += f" The first {_MOST_VARIANTS} of {len(variants)} variants; the table has all."
    shown = variants[:_MOST_VARIANTS]
    figures = []
    for title, key, share in measures:
        lines = [Line(name=variant.label, points=variant.curve(key, rows), band="range") for variant in shown]
        figures.append(_figure(title, lines, marks, share, caption))
    return [figure for figure in figures if figure is not None]


def _figure(title: str, lines: Sequence[Line], marks: Sequence[Mark], share: bool, caption: str = "") -> Figure | None:
    """None without points. A curve has the same colour in every chart."""
    if not any(line.points for line in lines):
        return None
    legend = [(swatch(at), clip(line.name, _LEGEND)) for at, line in enumerate(lines) if line.points]
    return Figure(title=title, picture=line_chart(title, lines, marks=marks, share=share), legend=legend, caption=caption)


def reason_figures(histories: Sequence[History], marks: Sequence[Mark]) -> list[Figure]:
    """Shares of each rule's reasons by step, over all runs given; reasons with the highest scores at the bottom."""
    figures: list[Figure] = []
    for rule in dict.fromkeys(name for history in histories for name in history.rules):
        numbers, scores = _pooled(histories, rule)
        totals = {reason: of.total() for reason, of in numbers.items()}
        frequent = sorted(totals, key=lambda reason: -totals[reason])[:_MOST_REASONS]
        frequent.sort(key=lambda reason: (-scores[reason] / totals[reason], -totals[reason], reason))
        rare = [reason for reason in numbers if reason not in frequent]
        parts = {reason: numbers[reason] for reason in frequent}
        if rare:
            parts[f"{len(rare)} others"] = sum((numbers[reason] for reason in rare), Counter())
        figures.append(_stack(rule, parts, marks))
    return figures


def _pooled(histories: Sequence[History], rule: str) -> tuple[dict[str, Counter[int]], dict[str, float]]:
    """Counts of verdicts by reason and step, and sums of scores by reason."""
    numbers: dict[str, Counter[int]] = defaultdict(Counter)
    scores: dict[str, float] = defaultdict(float)
    for history in histories:
        for step, counts in history.rules.get(rule, {}).items():
            for reason, number in counts.reasons.items():
                numbers[reason][step] += number
                scores[reason] += counts.score_sums.get(reason, 0.0)
    return numbers, scores


def _stack(rule: str, parts: Mapping[str, Counter[int]], marks: Sequence[Mark]) -> Figure:
    of_step = sum(parts.values(), Counter[int]())
    shares = {reason: {step: number / of_step[step] for step, number in of.items()} for reason, of in parts.items()}
    total = of_step.total()
    legend = [(swatch(at, filled=True), f"{reason} {of.total() / total:.1%}") for at, (reason, of) in enumerate(parts.items())]
    title = f"Reasons of {rule}"
    return Figure(title=title, picture=stack_chart(title, shares, marks=marks), legend=legend, caption=f"{total:,} verdicts.")
