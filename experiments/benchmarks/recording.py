"""The cost of recording everything: rollout log, metrics, tracking, terminal and report of the embedded default.

    python experiments/benchmarks/recording.py

Runs `train.py` in this process and times the trainer's calls to its observers, and the report at the end. W&B (offline) works
on other threads and in other processes: of those, processor time is counted.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from rlvr.analysis import report
from rlvr.runs.rollout_log import RolloutLog, read_rollout_log
from rlvr.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
WARM_UP = 10
"""Steps after which hardly anything is imported or started any more."""


@dataclass(slots=True)
class Spent:
    """Seconds spent so far."""

    observers: float = 0.0
    rollout_log: float = 0.0
    report: float = 0.0
    wandb: float = 0.0
    """Processor time on its threads and in its processes."""
    at: float = 0.0
    """Time on the clock."""
    steps: int = 0


NOW = Spent()


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which adds the seconds it takes to the field `name` of `NOW`."""

    def call(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            setattr(NOW, name, getattr(NOW, name) + time.perf_counter() - began)

    return call


def elsewhere() -> float:
    """Processor seconds of W&B: of all Python threads of this process except the main one, and of child processes."""
    here = {thread.native_id for thread in threading.enumerate() if thread is not threading.main_thread()}
    process = psutil.Process()
    threads = sum(each.user_time + each.system_time for each in process.threads() if each.id in here)
    children = (child.cpu_times() for child in process.children(recursive=True))
    return threads + sum(times.user + times.system for times in children)


def counted(advance: Callable[[Trainer], None], marks: list[Spent]) -> Callable[[Trainer], None]:
    """`Trainer._advance`, which adds a mark after step `WARM_UP` and after the last step."""

    def call(trainer: Trainer) -> None:
        advance(trainer)
        NOW.steps += 1
        if NOW.steps in (WARM_UP, trainer._config.steps):
            marks.append(replace(NOW, wandb=elsewhere(), at=time.perf_counter()))

    return call


def main() -> None:
    marks = [Spent(at=time.perf_counter())]
    clocks = [
        patch.object(Trainer, "_advance", counted(Trainer._advance, marks)),
        patch.object(Trainer, "_notify", timed("observers", Trainer._notify)),
        patch.object(RolloutLog, "record", timed("rollout_log", RolloutLog.record)),
        patch.object(report, "write_run_report", timed("report", report.write_run_report)),
    ]
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        for clock in clocks:
            stack.enter_context(clock)
        folder = Path(work) / "run"
        sys.argv = ["train.py", f"hydra.run.dir={folder}", *sys.argv[1:]]
        try:
            runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
        size = sum(file.path.stat().st_size for file in RolloutLog.of(folder).files())
        rollouts = len(read_rollout_log(folder, columns=["step"]))
    if len(marks) < 3:
        raise SystemExit(f"steps: must be more than {WARM_UP}")
    begun, warm, end = marks
    for what, first, last in (("the whole run", begun, end), (f"steps {warm.steps + 1} to {end.steps}", warm, end)):
        seconds = last.at - first.at
        print(f"{what}: {seconds:.1f} s, evaluation included")
        for name in ("observers", "rollout_log", "wandb"):
            spent = getattr(last, name) - getattr(first, name)
            note = {"rollout_log": " (part of the observers)", "wandb": " (processor time)"}.get(name, "")
            a_step = spent / (last.steps - first.steps) * 1000
            print(f"  {name:11} {spent:.3f} s, {a_step:.1f} ms a step, {spent / seconds:.2%}{note}")
    print(f"report and curves, at the end: {NOW.report:.3f} s")
    print(f"rollout log: {size:,} bytes, {rollouts:,} rollouts, {size / rollouts:.0f} bytes a rollout")


if __name__ == "__main__":
    main()
