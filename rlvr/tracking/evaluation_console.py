"""Console output of an evaluation: its settings, progress, and a table of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rlvr.config.schema import Config
from rlvr.evaluation.intervals import CONFIDENCE
from rlvr.evaluation.metrics import Evaluation
from rlvr.tracking.console import print_facts

_NO_SHARES = ("reward", "length")


class Display:
    """Prints to the terminal, or to a file without a progress bar. quiet: prints nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(highlight=False, soft_wrap=True, quiet=quiet)

    def begin(self, facts: Mapping[str, str], warnings: Sequence[str]) -> None:
        """Print what the evaluation works with, and warnings."""
        print_facts(self._console, facts)
        for warning in warnings:
            self._console.print(f"warning: {warning}", markup=False)

    @contextmanager
    def progress(self, completions: int) -> Iterator[Callable[[], None]]:
        """Yields a function to call for every completion."""
        columns = (BarColumn(bar_width=18), MofNCompleteColumn(), TextColumn("completions"), TimeRemainingColumn())
        shown = self._console.is_terminal and not self._console.quiet
        with Progress(*columns, console=self._console, transient=True, disable=not shown) as progress:
            task = progress.add_task("", total=completions)
            yield lambda: progress.advance(task)

    def result(self, evaluation: Evaluation, config: Config) -> None:
        """Print every measure with its interval, and the counts of reasons by rule."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in (f"{evaluation.problems} problems", "", f"{CONFIDENCE:.0%} interval"):
            table.add_column(name, justify="left" if name.endswith("problems") else "right")
        for name, value in evaluation.measures.items():
            if value is not None:
                interval = evaluation.intervals.get(name)
                between = "" if interval is None else " to ".join(_shown(name, bound) for bound in interval)
                table.add_row(Text(name), _shown(name, value), between)
        self._console.print()
        self._console.print(table)
        for name, reasons in evaluation.reasons.items():
            counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "does not apply"
            self._console.print(f"{name}: {counts}", markup=False)
        if evaluation.accuracy is None:
            hint = "" if config.eval.rules else " (eval.rules=answer adds one that changes no reward)"
            self._console.print(f"accuracy: no rule scores the answer{hint}", markup=False)

    def end(self, folder: Path, seconds: float) -> None:
        """Print the folder and the time."""
        self._console.print(f"{seconds:.1f} s; everything is in {folder}  (summary.json, rollouts/, config.yaml)", markup=False)


def _shown(name: str, value: float) -> str:
    return f"{value:.3g}" if name == "length" else f"{value:.3f}" if name in _NO_SHARES else f"{value:.1%}"
