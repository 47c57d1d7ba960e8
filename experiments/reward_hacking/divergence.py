"""Credited and truly right answers over the training rollouts of runs: their rollout logs are rescored by a strict rule.

python experiments/reward_hacking/divergence.py leaky=RUN hardened=RUN --out divergence.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rlvr import load_rules
from rlvr.analysis.report.run_record import read_record
from rlvr.analysis.report.variants import series
from rlvr.runs.rollout_log import RolloutLog

COLOURS = {"credited": "#D55E00", "true": "#0072B2", "held out, true": "#009E73", "boxes": "#000000"}
WINDOW = 5
"""Steps at the start and at the end whose means are printed."""
SPAN = 10
"""Steps per row of the longer table."""


@dataclass(frozen=True, slots=True)
class Step:
    """Means over the rollouts of a training step."""

    credited: float
    """Share with the full score from the answer rule of the run's pack."""
    true: float
    """Share with the full score from the pack `answer`: the last box counts."""
    boxes: float
    """Boxes per completion."""


def steps(run: Path) -> list[Step]:
    """The training steps of a run whose pack has a rule `answer`."""
    strict, rollout_log = load_rules("answer"), RolloutLog.of(run)
    found = []
    for file in rollout_log.files(splits=("train",)):
        entries = rollout_log.read(file)
        true = [strict.judge(entry.completion, entry.problem).verdicts["answer"].score == 1.0 for entry in entries]
        credited = [entry.verdicts["answer"].score == 1.0 for entry in entries]
        boxes = sum(entry.completion.count("\\boxed") for entry in entries)
        found.append(Step(sum(credited) / len(entries), sum(true) / len(entries), boxes / len(entries)))
    return found


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def plot(runs: Mapping[str, Path], found: Mapping[str, Sequence[Step]], out: Path) -> None:
    """A panel per run: shares on the left axis, boxes per completion on the right axis."""
    figure = Figure(figsize=(5 * len(runs), 4), layout="constrained")
    for axes, (name, run) in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs.items(), strict=True):
        at = range(1, len(found[name]) + 1)
        axes.plot(at, [step.credited for step in found[name]], color=COLOURS["credited"], label="sampled, credited")
        axes.plot(at, [step.true for step in found[name]], color=COLOURS["true"], label="sampled, true")
        held_out = series(read_record(run).rows, "eval/accuracy")
        axes.plot(*zip(*held_out, strict=True), "o--", color=COLOURS["held out, true"], markersize=4, label="held out, true")
        axes.set(xlabel="step", ylim=(0, 1.02), title=name)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(alpha=0.3)
        boxes = axes.twinx()
        boxes.plot(at, [step.boxes for step in found[name]], ":", color=COLOURS["boxes"], label="boxes per completion")
        boxes.set_ylim(0, 3)
        handles = [handle for each in (axes, boxes) for handle in each.get_legend_handles_labels()[0]]
        axes.legend(handles, [str(handle.get_label()) for handle in handles], fontsize=8, loc="lower right")
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--out", type=Path, required=True, help="file for the plot")
    given = parser.parse_args()
    runs = {name: Path(run) for name, _, run in (each.partition("=") for each in given.runs)}
    found = {name: steps(run) for name, run in runs.items()}
    print(
        "| run | boxes per completion | credited, sampled | true, sampled | true, held out and greedy |\n|---|---|---|---|---|"
    )
    for name, of in found.items():
        held_out = [value for _, value in series(read_record(runs[name]).rows, "eval/accuracy")]
        first, last = of[:WINDOW], of[-WINDOW:]
        columns = [f"{mean([s.boxes for s in first]):.2f} to {mean([s.boxes for s in last]):.2f}"]
        for key in ("credited", "true"):
            columns.append(f"{mean([getattr(s, key) for s in first]):.1%} to {mean([getattr(s, key) for s in last]):.1%}")
        columns.append(f"{held_out[0]:.1%} to {held_out[-1]:.1%}, at best {max(held_out):.1%}")
        print(f"| {name} | {' | '.join(columns)} |")
    print(f"\n| run, means over {SPAN} steps | credited | true | boxes |\n|---|---|---|---|")
    for name, of in found.items():
        for at in range(0, len(of), SPAN):
            some = of[at : at + SPAN]
            credited, true, boxes = (mean([getattr(step, key) for step in some]) for key in ("credited", "true", "boxes"))
            print(f"| {name}, {at + 1} to {at + len(some)} | {credited:.1%} | {true:.1%} | {boxes:.2f} |")
    plot(runs, found, given.out)


if __name__ == "__main__":
    main()
