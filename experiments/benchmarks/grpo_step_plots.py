"""The plots of `grpo_step`: how time and memory grow, for both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from grpo_step_report import NAMES, QUANTITIES, Compared, quantity

mpl.use("Agg")  # before pyplot: no display is needed

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

COLOURS = {"ours": "#0072b2", "trl": "#d55e00"}
"""Distinguishable for colour-blind readers (Okabe and Ito)."""


def plot_sweep(axis: str, found: Sequence[tuple[int, Compared]], path: Path) -> None:
    """Step time and peak memory against the swept size, side by side, on linear axes."""
    names = ("step ms", "peak MB")
    assert set(names) <= set(QUANTITIES)
    figure, panels = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for panel, name in zip(panels, names, strict=True):
        for side in found[0][1].sides:
            points = [(x, quantity(each, side, name)) for x, each in found]
            panel.plot(*zip(*points, strict=True), marker="o", markersize=4, color=COLOURS[side], label=NAMES[side])
        panel.set(xlabel=axis, ylabel=name, ylim=(0, None))
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=90)
    plt.close(figure)
