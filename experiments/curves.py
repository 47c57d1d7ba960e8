"""Curves of several runs: a panel per metric, a line per variant, a band over its seeds.

    python experiments/curves.py DIR [DIR...] [--metrics eval/accuracy reward/mean] [--names NAME...] --out curves.png

DIR is a run or a sweep, as for `rlvr report`. Runs of a sweep that differ only in the seed form one line. `--names` labels the
lines, in the order in which they are printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rlvr.analysis.report.run_record import find
from rlvr.analysis.report.variants import Variant, variants

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Distinguishable for colour-blind readers (Okabe and Ito)."""
SHARES = ("eval/accuracy", "eval/format", "rollout/truncated", "group/degenerate")


def read(folders: Sequence[Path]) -> list[Variant]:
    """The variants of all folders. Errors: `ConfigError` if a folder holds no run."""
    found = [find(folder) for folder in folders]
    return [variant for each in found for variant in variants(each.records, each.overrides())]


def edits(variant: Variant) -> list[int]:
    """Steps at which edited rules came into force."""
    return sorted({row["step"] for record in variant.records for row in record.rows if row.get("rules/changes")})


def plot(shown: Sequence[Variant], names: Sequence[str], metrics: Sequence[str], out: Path) -> None:
    """A panel per metric: mean over seeds, band from minimum to maximum; a dashed line marks edited rules."""
    figure = Figure(figsize=(5 * len(metrics), 4), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        for variant, name, colour in zip(shown, names, COLOURS, strict=False):
            points = variant.curve(metric, {record.name: record.rows for record in variant.records})
            steps = [point.step for point in points]
            axes.plot(steps, [point.mean for point in points], color=colour, label=name, marker="o" if len(steps) < 15 else "")
            for step in edits(variant):
                axes.axvline(step, color=colour, linestyle="--", linewidth=1)
            axes.fill_between(steps, [p.low for p in points], [p.high for p in points], color=colour, alpha=0.15)
        if metric in SHARES or metric.endswith("/score"):
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlabel="step", title=metric)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="runs and sweeps")
    parser.add_argument("--metrics", nargs="+", default=["eval/accuracy", "reward/mean"], help="as in metrics.jsonl")
    parser.add_argument("--names", nargs="+", help="labels of the lines")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    shown = read(given.folders)
    names = given.names or [variant.label for variant in shown]
    if not len(names) == len(shown) <= len(COLOURS):
        parser.error(
            f"--names: {len(shown)} lines ({', '.join(v.label for v in shown)}), {len(names)} names, at most {len(COLOURS)}"
        )
    for variant, name in zip(shown, names, strict=True):
        for metric in given.metrics:
            # One step of sampled rollouts is noisy, so the last value is a mean over the last five steps.
            last = "final" if metric.startswith("eval/") else "late"
            first, late = variant.estimate(metric, "first"), variant.estimate(metric, last)
            if first and late:
                half = f" ± {late.half:.3f}" if late.half is not None else ""
                print(f"{name:40} {metric:24} {first.mean:.3f} -> {late.mean:.3f}{half}  ({late.n} runs)")
    plot(shown, names, given.metrics, given.out)


if __name__ == "__main__":
    main()
