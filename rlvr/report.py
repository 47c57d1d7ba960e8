"""The curves of a run as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rlvr.evaluate import Evaluation

# Colours that stay apart for readers who see no red or green (Okabe and Ito).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_BELOW: dict[str, Any] = {"fontsize": 8, "loc": "upper center", "bbox_to_anchor": (0.5, -0.15), "ncols": 2, "frameon": False}


def plot_curves(rows: Sequence[Mapping[str, Any]], *, title: str, forced: Evaluation | None, path: Path) -> None:
    """Scores of the rules on sampled rollouts and on held-out problems (left), reward and length (right), by step."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    scores, reward = figure.subplots(1, 2)
    sampled = [row for row in rows if "reward/mean" in row]
    steps = [row["step"] for row in sampled]
    names = [key.split("/")[1] for key in (sampled[0] if sampled else {}) if key.endswith("/score")]
    for name, colour in zip(names, _COLOURS, strict=False):
        scores.plot(steps, [row[f"rule/{name}/score"] for row in sampled], color=colour, label=f"{name}, sampled")
    held_out = [row for row in rows if "eval/reward" in row]
    for measure, colour in (("accuracy", _COLOURS[1]), ("format", _COLOURS[0])):
        points = [(row["step"], row[f"eval/{measure}"]) for row in held_out if f"eval/{measure}" in row]
        if points:
            scores.plot(*zip(*points, strict=True), "o--", color=colour, markersize=4, label=f"{measure}, held out, greedy")
    if forced is not None and forced.accuracy is not None:
        scores.axhline(forced.accuracy, color="grey", linestyle=":", label="accuracy before, reasoning forced")
    scores.set(xlabel="step", ylabel="score", ylim=(-0.02, 1.02), title="what the rules say")
    scores.yaxis.set_major_formatter(PercentFormatter(1.0))
    scores.legend(**_BELOW)
    reward.plot(steps, [row["reward/mean"] for row in sampled], color=_COLOURS[2], label="reward, mean")
    reward.fill_between(
        steps,
        [row["reward/mean"] - row["reward/std"] for row in sampled],
        [row["reward/mean"] + row["reward/std"] for row in sampled],
        color=_COLOURS[2],
        alpha=0.15,
        label="± one deviation",
    )
    reward.set(xlabel="step", ylabel="reward", title="reward and length of rollouts")
    length = reward.twinx()
    length.plot(steps, [row["rollout/length"] for row in sampled], color=_COLOURS[4], label="length")
    length.set_ylabel("completion tokens")
    length.set_ylim(bottom=0)
    lines = [*reward.get_legend_handles_labels()[0], *length.get_legend_handles_labels()[0]]
    reward.legend(lines, [str(line.get_label()) for line in lines], **_BELOW)
    for axes in (scores, reward):
        axes.grid(alpha=0.3)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)
