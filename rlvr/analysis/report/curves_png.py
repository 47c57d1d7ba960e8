"""curves.png: the curves of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rlvr.analysis.report.run_record import rule_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rlvr.evaluation.evaluate import Evaluation

# Colours that readers with red-green colour blindness can tell apart (Okabe and Ito).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_BELOW: dict[str, Any] = {"fontsize": 8, "loc": "upper center", "bbox_to_anchor": (0.5, -0.15), "ncols": 2, "frameon": False}


def plot_curves(rows: Sequence[Mapping[str, Any]], *, title: str, forced: Evaluation | None, path: Path) -> None:
    """Scores of the rules on sampled rollouts and on held-out problems (left), reward and length (right), by step.

    Vertical lines: steps at which edited rules became active.
    """
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    scores, reward = figure.subplots(1, 2)
    sampled = [row for row in rows if "reward/mean" in row]
    _plot_scores(scores, rows, sampled, forced)
    length = _plot_reward(reward, sampled)
    edited = [row["step"] for row in rows if row.get("rules/changes")]
    for axes in (scores, reward):
        axes.grid(alpha=0.3)
        for step in edited:
            label = "rules edited" if step == edited[0] else None
            axes.axvline(step, color="black", linestyle="--", linewidth=1, alpha=0.6, label=label)
    _legend(scores)
    _legend(reward, length)
    figure.suptitle(title, fontsize=10, parse_math=False)
    figure.savefig(path, dpi=120)


def _legend(axes: Axes, *more: Axes) -> None:
    handles = [handle for each in (axes, *more) for handle in each.get_legend_handles_labels()[0]]
    legend = axes.legend(handles, [str(handle.get_label()) for handle in handles], **_BELOW)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a rule may have dollars in its name


def _plot_scores(
    axes: Axes, rows: Sequence[Mapping[str, Any]], sampled: Sequence[Mapping[str, Any]], forced: Evaluation | None
) -> None:
    steps = [row["step"] for row in sampled]
    for name, colour in zip(rule_names(rows), cycle(_COLOURS), strict=False):  # an edit may add or remove a rule
        axes.plot(steps, [row.get(f"rule/{name}/score", nan) for row in sampled], color=colour, label=f"{name}, sampled")
    for measure, colour in (("accuracy", _COLOURS[1]), ("format", _COLOURS[0])):
        points = [(row["step"], row[f"eval/{measure}"]) for row in rows if f"eval/{measure}" in row]
        if points:
            axes.plot(*zip(*points, strict=True), "o--", color=colour, markersize=4, label=f"{measure}, held out, greedy")
    if forced is not None and forced.accuracy is not None:
        axes.axhline(forced.accuracy, color="grey", linestyle=":", label="accuracy before, reasoning forced")
    axes.set(xlabel="step", ylabel="score", ylim=(-0.02, 1.02), title="scores by rule")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _plot_reward(axes: Axes, sampled: Sequence[Mapping[str, Any]]) -> Axes:
    """Returns the axes of lengths."""
    steps = [row["step"] for row in sampled]
    mean, deviation = ([row.get(f"reward/{name}", nan) for row in sampled] for name in ("mean", "std"))
    axes.plot(steps, mean, color=_COLOURS[2], label="reward, mean")
    low, high = ([m + sign * d for m, d in zip(mean, deviation, strict=True)] for sign in (-1, 1))
    axes.fill_between(steps, low, high, color=_COLOURS[2], alpha=0.15, label="± one deviation")
    axes.set(xlabel="step", ylabel="reward", title="reward and length of rollouts")
    length = axes.twinx()
    length.plot(steps, [row.get("rollout/length", nan) for row in sampled], color=_COLOURS[4], label="length")
    length.set_ylabel("completion tokens")
    length.set_ylim(bottom=0)
    return length
