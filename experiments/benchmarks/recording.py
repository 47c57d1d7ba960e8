"""What does it cost to record everything? RolloutLog, metrics, tracking, terminal and report of the embedded default.

    python experiments/benchmarks/recording.py

One run of `train.py` in this process, with a clock around the calls of the trainer to its observers and around what is written
at the end. W&B (offline) works on threads and in processes of its own: of those, processor time.
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

from rlvr.runs import run
from rlvr.runs.rollout_log import RolloutLog, read_rollout_log
from rlvr.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
SETTLED = 10
"""Steps after which nothing is imported or started any more, about."""


@dataclass(slots=True)
class Spent:
    """Seconds by what they went into, up to now."""

    observers: float = 0.0
    rollout_log: float = 0.0
    report: float = 0.0
    wandb: float = 0.0
    """Processor time on threads and in processes of its own."""
    at: float = 0.0
    """Of the clock."""
    steps: int = 0


NOW = Spent()


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with the seconds it takes added to that field of `NOW`."""

    def call(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            setattr(NOW, name, getattr(NOW, name) + time.perf_counter() - began)

    return call


def elsewhere() -> float:
    """Processor seconds of W&B: of all threads of this process that Python started but the main one, and of child processes."""
    here = {thread.native_id for thread in threading.enumerate() if thread is not threading.main_thread()}
    process = psutil.Process()
    threads = sum(each.user_time + each.system_time for each in process.threads() if each.id in here)
    children = (child.cpu_times() for child in process.children(recursive=True))
    return threads + sum(times.user + times.system for times in children)


def counted(advance: Callable[[Trainer], None], marks: list[Spent]) -> Callable[[Trainer], None]:
    """`Trainer._advance`, which adds to `marks` after step `SETTLED` and after the last one."""

    def call(trainer: Trainer) -> None:
        advance(trainer)
        NOW.steps += 1
        if NOW.steps in (SETTLED, trainer._config.steps):
            marks.append(replace(NOW, wandb=elsewhere(), at=time.perf_counter()))

    return call


def main() -> None:
    marks = [Spent(at=time.perf_counter())]
    clocks = [
        patch.object(Trainer, "_advance", counted(Trainer._advance, marks)),
        patch.object(Trainer, "_tell", timed("observers", Trainer._tell)),
        patch.object(RolloutLog, "record", timed("rollout log", RolloutLog.record)),
        *(patch.object(run, name, timed("report", getattr(run, name))) for name in ("write_report", "plot_curves")),
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
        raise SystemExit(f"steps: must be above {SETTLED}")
    begun, settled, end = marks
    for what, first, last in (("the whole run", begun, end), (f"steps {settled.steps + 1} to {end.steps}", settled, end)):
        seconds = last.at - first.at
        print(f"{what}: {seconds:.1f} s, evaluation included")
        for name in ("observers", "rollout log", "wandb"):
            spent = getattr(last, name) - getattr(first, name)
            note = {"rollout log": " (of the observers)", "wandb": " (processor time, elsewhere)"}.get(name, "")
            a_step = spent / (last.steps - first.steps) * 1000
            print(f"  {name:10} {spent:.3f} s, {a_step:.1f} ms a step, {spent / seconds:.2%}{note}")
    print(f"report and curves, at the end: {NOW.report:.3f} s")
    print(f"rollout log: {size:,} bytes, {rollouts:,} rollouts, {size / rollouts:.0f} bytes a rollout")


if __name__ == "__main__":
    main()
