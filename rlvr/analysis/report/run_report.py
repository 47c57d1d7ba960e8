"""What training writes at its end: curves.png and report.html."""

from __future__ import annotations

from pathlib import Path

from rlvr.analysis.report.curves_png import plot_curves
from rlvr.analysis.report.page import write_report
from rlvr.runs.folder import RunFolder
from rlvr.training.result import TrainResult


def write_run_report(folder: Path, title: str, result: TrainResult) -> None:
    """Errors: `ConfigError`, `OSError`."""
    plot_curves(RunFolder(path=folder).read_metrics(), title=title, forced=result.forced, path=folder / "curves.png")
    write_report(folder)
