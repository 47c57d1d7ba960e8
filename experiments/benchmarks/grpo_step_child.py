"""One process of `grpo_step`: prepares a case, measures one side of it, or measures the machine, and writes the result.

Not for use by hand: `grpo_step.py` starts it as `python grpo_step_child.py JOB.json`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from grpo_step_cases import Case, Shape, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The task of a process."""

    do: Literal["prepare", "rates", "ours", "trl"]
    case: Case
    steps: int
    """To measure, after one step of warm-up."""
    data: Path
    """Folder of GSM8K."""
    models: Path
    """Folder with a subfolder per shape."""
    folder: Path
    """Folder of the case, with its workload and a link to its model."""
    output: Path
    """JSON file for the result."""
    device: str
    """cpu or cuda."""
    threads: int

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), default=str))

    @classmethod
    def read(cls, path: Path) -> Job:
        job: dict[str, Any] = json.loads(path.read_text())
        paths = {name: Path(job[name]) for name in ("data", "models", "folder", "output")}
        case = Case(**{**job["case"], "shape": Shape(**job["case"]["shape"])})
        return cls(**{**job, **paths, "case": case})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Seconds and token counts of one step."""

    total: float
    rollout: float
    """From problems to completions with their text."""
    verify: float
    """Scoring after the last completion."""
    train: float
    """The rest: loss, gradient, optimizer."""
    prompt_tokens: int
    """Summed over all rollouts, however often a side really encodes them."""
    completion_tokens: int
    degenerate: int
    """Groups in which all rewards are equal, so that nothing is learned from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The measurements of one side in one process."""

    side: Side
    steps: tuple[Step, ...]
    """Without warm-up."""
    loaded_bytes: int
    """Memory in use once the model was loaded."""
    peak_bytes: int
    """Peak memory in use, warm-up included."""

    @classmethod
    def read(cls, path: Path) -> Measured:
        found: dict[str, Any] = json.loads(path.read_text())
        return cls(**{**found, "steps": tuple(Step(**step) for step in found["steps"])})


class Memory:
    """Memory of this process on the CPU, or of its tensors on the GPU."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"

    def loaded(self, model: Any) -> int:
        """In use after the model has been loaded; on the GPU the peak is counted from here."""
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        for parameter in model.parameters():
            parameter.detach().sum()  # weights are mapped from their file, and take no memory until they are read
        return _status("VmRSS")

    def peak(self) -> int:
        """On the CPU the kernel's record of this program alone (`ru_maxrss` would start from the parent's)."""
        if self._cuda:
            import torch

            return torch.cuda.max_memory_allocated()
        return _status("VmHWM")


def _status(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def now(device: str) -> float:
    """Seconds on a monotonic clock, after the device has finished its work."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def run(job: Job) -> Any:
    """The result of the job, ready for JSON."""
    if job.do == "prepare":
        from grpo_step_models import prepare

        return prepare(job.case, data=job.data, models=job.models, folder=job.folder, steps=job.steps + 1)
    import torch

    torch.set_num_threads(job.threads)
    if job.do == "rates":
        from grpo_step_floor import measure_rates

        return asdict(measure_rates(job.case, job.device))
    if job.do == "ours":
        from grpo_step_ours import measure
    else:
        from grpo_step_trl import measure
    return asdict(measure(job))


def main(arguments: Sequence[str]) -> None:
    job = Job.read(Path(arguments[0]))
    job.output.write_text(json.dumps(run(job)))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main(sys.argv[1:])
