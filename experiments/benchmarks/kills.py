"""Runs killed with `kill -9` at random instants and resumed: does each end with the bits of a run that was let alone?

    python experiments/benchmarks/kills.py --kills 200 --jobs 2

A run is killed, resumed, killed again, until it gets to its end; then its weights, metrics and rollout log are compared with those
of the reference. The rollout log has to be readable after every kill. Exit status 1 when anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rlvr.runs.rollout_log import RolloutLog, read_rollout_log

TRAIN = Path(__file__).parents[2] / "train.py"
ARGUMENTS = (
    *("algo.problems=4", "algo.group_size=4", "eval.problems=8", "eval.every=5", "eval.forced_prefix=null"),
    *("checkpoint.every=1", "tracking=none"),  # the most time possible goes into saving
)
MEASURED = ("time/", "tokens_per_second", "verify/seconds")
"""Metrics that two equal runs differ in."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is compared of a run."""

    weights: str
    metrics: str
    rollout_log: str

    @classmethod
    def by(cls, run: Path) -> Left:
        return cls(
            weights=_digest((run / "model" / "model.safetensors").read_bytes()),
            metrics=_digest(json.dumps(metrics_of(run)).encode()),
            rollout_log=" ".join(f"{path.name} {_digest(path.read_bytes())}" for path in sorted((run / "rollouts").iterdir())),
        )


def metrics_of(run: Path) -> list[dict[str, float]]:
    """A row a step, without what was measured with a clock."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith(MEASURED)} for row in rows]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TRAIN), *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def alone(folder: Path, arguments: list[str]) -> tuple[float, float, Left]:
    """The reference: seconds until its first metrics are there, seconds in all, and what it left."""
    began, process = time.perf_counter(), start([*arguments, f"hydra.run.dir={folder}"])
    metrics, ready = folder / "metrics.jsonl", None
    while process.poll() is None:
        if ready is None and metrics.exists() and metrics.stat().st_size:
            ready = time.perf_counter() - began
        time.sleep(0.05)
    if process.returncode or ready is None:
        said = process.stderr.read().decode() if process.stderr else ""
        raise SystemExit(f"{folder}: ended with {process.returncode}: {said[-2000:]}")
    return ready, time.perf_counter() - began, Left.by(folder)


def chain(folder: Path, given: list[str], *, seed: int, kills: int, seconds: tuple[float, float]) -> tuple[Counter[str], Left]:
    """One run, killed up to `kills` times, between `seconds` after each start; returns where it was then, and what it left."""
    rng, where, known = random.Random(seed), Counter[str](), set[tuple[str, int]]()
    fresh = arguments = [*given, f"hydra.run.dir={folder}"]
    while True:
        process = start(arguments)
        try:
            timeout = rng.uniform(*seconds) if where.total() < kills else None
            _, error = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            where[_where(folder, known)] += 1
        else:
            if process.returncode == 0:
                return where, Left.by(folder)
            raise SystemExit(f"{folder}: ended with {process.returncode}: {error.decode()[-2000:]}")
        arguments = [f"resume={folder}"] if (folder / "config.yaml").exists() else fresh


def _where(folder: Path, known: set[tuple[str, int]]) -> str:
    """Reads what a kill left. `known`: half-written checkpoints of earlier kills, which stay until the run goes on.

    Errors: whatever reading the rollout log raises.
    """
    if not RolloutLog.of(folder).files():
        return "before anything was recorded"
    read_rollout_log(folder).to_pylist()
    unfinished = [path for path in (folder / "checkpoints").glob("*") if not path.name.isdecimal()]
    left = {(path.name, path.stat().st_mtime_ns) for path in unfinished}
    new = bool(left - known)
    known |= left
    return "while saving" if new else "else"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--each", type=int, default=20, help="kills of one run, at most")
    parser.add_argument("--steps", type=int, default=30, help="of a run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    given = parser.parse_args()
    arguments = [*ARGUMENTS, f"steps={given.steps}"]
    with tempfile.TemporaryDirectory(prefix="kills-") as work:
        ready, whole, reference = alone(Path(work) / "reference", arguments)
        print(f"a run that is let alone takes {whole:.1f} s, {ready:.1f} s until its first metrics", flush=True)
        where, same, runs = Counter[str](), 0, 0
        # Half of the kills before the steps begin, so that the others leave much of the run to be killed again.
        window = (0.5 * ready, ready + 0.2 * (whole - ready))

        def one(number: int) -> tuple[Counter[str], Left]:
            return chain(Path(work) / str(number), arguments, seed=number, kills=given.each, seconds=window)

        with ThreadPoolExecutor(given.jobs) as pool:
            while where.total() < given.kills:
                for kills, left in pool.map(one, range(runs + 1, runs + given.jobs + 1)):
                    where, same, runs = where + kills, same + (left == reference), runs + 1
                    verdict = "same bits" if left == reference else f"DIFFERS: {left} instead of {reference}"
                    print(f"run {runs}: {kills.total()} kills, {verdict}; so far {where.total()} {dict(where)}", flush=True)
    print(f"{where.total()} kills, {same} of {runs} runs with the bits of the reference")
    raise SystemExit(same != runs)


if __name__ == "__main__":
    main()
