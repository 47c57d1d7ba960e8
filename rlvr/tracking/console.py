"""Console output of training: a live display on a terminal, otherwise one line a step, and the result at the end."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rlvr.tracking.observer import Observer, RunInfo

_RECENT = 20
"""Steps whose mean time gives the estimate of the time left."""


class RunDisplay(Observer):
    """Prints the facts of a run, its steps and its result."""

    def __init__(self, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._clock = clock
        self._label = ""
        """Before every line, for jobs of a sweep."""
        self._steps = 0
        self._marks: deque[tuple[int, float]] = deque(maxlen=_RECENT + 1)  # step, and when it was done
        self._numbers = ""
        self._live: Live | None = None
        # Jobs that share a terminal would overwrite each other.
        if self._console.is_terminal and multiprocessing.parent_process() is None:
            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True)

    def begin(self, run: RunInfo) -> None:
        self._run, self._steps = run, run.steps
        self._label = f"{run.folder.name}: " if run.sweep else ""
        print_facts(self._console, run.facts, label=self._label)
        for text in run.notes:
            self.note(run.done, text)

    def note(self, step: int, text: str) -> None:
        self._line(f"{self._at(step)}  {text}")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._marks.append((step, self._clock()))
        self._numbers = numbers(metrics)
        if "eval/reward" in metrics:
            self._line(f"{self._at(step)}  held out, greedy: {_evaluated(metrics)}")
        if self._live is not None:
            if step < self._steps:
                self._live.start()  # does nothing if already started
            else:
                self._live.stop()
        if step and (self._live is None or step == self._steps):
            self._line(f"{self._at(step)}/{self._steps}  {'  '.join(filter(None, [self._numbers, self._left()]))}")

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Print the evaluations, the run folder, and what to try next."""
        if self._live is not None:
            self._live.stop()
        if summary is None:
            return
        table = Table(title=None, box=None, pad_edge=False, header_style="bold")
        table.add_column(f"{self._label}held out, greedy")
        for name in ("accuracy", "format", "reward"):
            table.add_column(name, justify="right")
        for name, key in (("before", "before"), ("before, reasoning forced", "forced"), ("after", "after")):
            if summary[key] is not None:
                table.add_row(name, *_cells(summary[key]))
        self._console.print()
        if summary["stopped"]:
            self._line(f"stopped after {summary['steps']} steps: {summary['stopped']}")
        if table.row_count:
            self._console.print(table)
            if summary["before"] and summary["before"]["accuracy"] is None:
                self._line(
                    "accuracy: no rule of this pack scores the answer (add +answer with rules.answer.weight=0 to watch it)"
                )
        train, evaluation = summary["seconds"]["train"], summary["seconds"]["eval"]
        self._line(f"{summary['steps']} steps in {train:.0f} s of training and {evaluation:.0f} s of evaluation")
        self._line(f"everything is in {self._run.folder}  (report.html, metrics.jsonl, rollouts/, summary.json, model/)")
        for hint in [] if self._run.sweep else _hints(next(iter(summary["rules"]))):
            self._line(f"  {hint}")

    def _at(self, step: int) -> str:
        return f"step {step:>4}"

    def _line(self, text: str) -> None:
        self._console.print(f"{self._label}{text}", markup=False)

    def _left(self) -> str:
        """Time left at the speed of the last steps; empty before the second step, and at the end."""
        if len(self._marks) < 2 or self._marks[-1][0] >= self._steps:
            return ""
        (first, began), (last, ended) = self._marks[0], self._marks[-1]
        left = (ended - began) / (last - first) * (self._steps - last) - (self._clock() - ended)
        return f"{duration(max(left, 0.0))} left"

    def _render(self) -> RenderableType:
        done = self._marks[-1][0] if self._marks else 0
        line = Table.grid(padding=(0, 2))
        line.add_row(ProgressBar(total=self._steps, completed=done, width=24), f"{done}/{self._steps}", self._left())
        return Group(line, Text(self._numbers)) if self._numbers else line


def print_facts(console: Console, facts: Mapping[str, str], *, label: str = "") -> None:
    """A table of names and values, one line each."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        console.print(Text.assemble(label, (f"{name:>{width}}", "bold"), f"  {value}"))


def numbers(metrics: Mapping[str, float]) -> str:
    """The main metrics of a training step, in one line; empty for other steps."""
    if "reward/mean" not in metrics:
        return ""
    rules = [key.removeprefix("rule/").removesuffix("/score") for key in metrics if _is_score(key)]
    shown = [f"reward {metrics['reward/mean']:.3f}", *(f"{rule} {_share(metrics[f'rule/{rule}/score'])}" for rule in rules)]
    if "rollout/length" in metrics:
        shown.append(f"length {metrics['rollout/length']:,.0f}")
    if "tokens_per_second" in metrics:
        shown.append(f"{metrics['tokens_per_second']:,.0f} tokens/s")
    return "  ".join(shown)


def duration(seconds: float) -> str:
    """`0:07`, `12:40`, `3:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _is_score(key: str) -> bool:
    return key.startswith("rule/") and key.endswith("/score")


def _evaluated(metrics: Mapping[str, float]) -> str:
    shares = [f"{name} {_share(metrics[f'eval/{name}'])}" for name in ("accuracy", "format") if f"eval/{name}" in metrics]
    return "  ".join([*shares, f"reward {metrics['eval/reward']:.3f}"])


def _cells(evaluation: Mapping[str, Any]) -> list[str]:
    reward = evaluation["reward"]
    return [_share(evaluation["accuracy"]), _share(evaluation["format"]), "-" if reward is None else f"{reward:.3f}"]


def _hints(rule: str) -> list[str]:
    """Commands to try next: without one rule, and a sweep over its weight."""
    return [
        "try next, with the same choices of model, data and rules:",
        f"rlvr train rules.{rule}.weight=0                         what is learned without a reward for {rule}",
        f"rlvr train -m rules.{rule}.weight=0,0.05,0.1 seed=0,1   a sweep over weights and seeds",
        "rlvr train --help                                        every key",
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
