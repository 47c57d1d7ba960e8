"""What a run shows: a live line on a terminal, a line a step elsewhere, and the result at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rlvr.evaluate import Evaluation
from rlvr.rules.pack import RulePack
from rlvr.trainer import Outcome


class RunDisplay:
    """An observer of the trainer; also prints the head and the end of a run."""

    def __init__(self, *, steps: int, pack: RulePack, console: Console | None = None) -> None:
        self._steps, self._pack = steps, pack
        self._console = console or Console(highlight=False, soft_wrap=True)
        columns = (BarColumn(bar_width=18), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"), TimeRemainingColumn())
        self._progress = Progress(*columns, console=self._console) if self._console.is_terminal else None
        self._task = self._progress.add_task("", total=steps, numbers="") if self._progress else None

    def head(self, rows: Mapping[str, str]) -> None:
        """What is being trained, a line each."""
        width = max(map(len, rows))
        for name, value in rows.items():
            self._console.print(f"[bold]{name:>{width}}[/bold]  ", end="")
            self._console.print(value, markup=False)

    def note(self, text: str) -> None:
        self._console.print(text, markup=False)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        numbers = _numbers(metrics, self._pack)
        if "eval/reward" in metrics:
            self._console.print(f"step {step:>4}  held out, greedy: {_evaluated(metrics)}", markup=False)
        if self._progress is not None and self._task is not None:
            self._progress.start()
            self._progress.update(self._task, completed=step, numbers=numbers)
            if step == self._steps:
                self._progress.stop()
        elif step:
            self._console.print(f"step {step:>4}/{self._steps}  {numbers}", markup=False)

    def stop(self) -> None:
        """Give the terminal back."""
        if self._progress is not None:
            self._progress.stop()

    def result(self, outcome: Outcome, folder: Path, hints: Sequence[str]) -> None:
        """Before and after, where things are, and what to try next."""
        self.stop()
        table = Table(title=None, box=None, pad_edge=False, header_style="bold")
        for name in ("held out, greedy", "accuracy", "format", "reward"):
            table.add_column(name, justify="left" if name.startswith("held") else "right")
        forced = "before, reasoning forced"
        for name, evaluation in (("before", outcome.before), (forced, outcome.forced), ("after", outcome.after)):
            if evaluation is not None:
                table.add_row(name, *_cells(evaluation))
        self._console.print()
        if outcome.stopped:
            self._console.print(f"stopped after {outcome.steps} steps: {outcome.stopped}", markup=False)
        if table.row_count:
            self._console.print(table)
            if outcome.before and outcome.before.accuracy is None:
                self.note(
                    "accuracy: no rule of this pack judges the answer (add +answer with rules.answer.weight=0 to watch it)"
                )
        seconds = outcome.seconds
        self.note(f"{outcome.steps} steps in {seconds['train']:.0f} s of training and {seconds['eval']:.0f} s of evaluation")
        self.note(f"everything is in {folder}  (curves.png, metrics.jsonl, summary.json, config.yaml, model/)")
        for hint in hints:
            self.note(f"  {hint}")


def _numbers(metrics: Mapping[str, float], pack: RulePack) -> str:
    if "reward/mean" not in metrics:
        return ""
    rules = [f"{name} {_share(metrics[f'rule/{name}/score'])}" for name in pack.rules]
    return "  ".join(
        [f"reward {metrics['reward/mean']:.3f}", *rules, f"{metrics['tokens_per_second']:,.0f} tokens/s"],
    )


def _evaluated(metrics: Mapping[str, float]) -> str:
    shares = [f"{name} {_share(metrics[f'eval/{name}'])}" for name in ("accuracy", "format") if f"eval/{name}" in metrics]
    return "  ".join([*shares, f"reward {metrics['eval/reward']:.3f}"])


def _cells(evaluation: Evaluation) -> list[str]:
    reward = "-" if evaluation.reward is None else f"{evaluation.reward:.3f}"
    return [_share(evaluation.accuracy), _share(evaluation.format), reward]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
