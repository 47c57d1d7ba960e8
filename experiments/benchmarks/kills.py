"""Runs killed with `kill -9` at random instants and resumed: does each end bit-identical to an undisturbed run?

    python experiments/benchmarks/kills.py --kills 200 --jobs 2

A run is killed and resumed repeatedly until it finishes; then its weights, metrics and rollout log are compared with those of
the reference. The rollout log has to be readable after every kill. Exit status 1 if anything differs.
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
    "algo.problems=4",
    "algo.group_size=4",
    "eval.problems=8",
    "eval.every=5",
    "eval.forced_prefix=null",
    "checkpoint.every=1",  # spends as much time as possible on saving
    "tracking=none",
)
TIMED = ("time/", "tokens_per_second", "verify/seconds")
"""Prefixes of metrics that are measured with a clock, so that identical runs differ in them."""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The parts of a run that are compared, as digests."""

    weights: str
    metrics: str
    rollout_log: str

    @classmethod
    def of(cls, run: Path) -> Artifacts:
        return cls(
            weights=_digest((run / "model" / "model.safetensors").read_bytes()),
            metrics=_digest(json.dumps(metrics_of(run)).encode()),
            rollout_log=" ".join(f"{path.name} {_digest(path.read_bytes())}" for path in sorted((run / "rollouts").iterdir())),
        )


def metrics_of(run: Path) -> list[dict[str, float]]:
    """A row a step, without timings."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith(TIMED)} for row in rows]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TRAIN), *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def reference_run(folder: Path, arguments: list[str]) -> tuple[float, float, Artifacts]:
    """The undisturbed run: seconds until its first metrics, seconds in total, and its artifacts."""
    began, process = time.perf_counter(), start([*arguments, f"hydra.run.dir={folder}"])
    metrics, ready = folder / "metrics.jsonl", None
    while process.poll() is None:
        if ready is None and metrics.exists() and metrics.stat().st_size:
            ready = time.perf_counter() - began
        time.sleep(0.05)
    if process.returncode or ready is None:
        error = process.stderr.read().decode() if process.stderr else ""
        raise SystemExit(f"{folder}: ended with {process.returncode}: {error[-2000:]}")
    return ready, time.perf_counter() - began, Artifacts.of(folder)


def chain(
    folder: Path, given: list[str], *, seed: int, kills: int, seconds: tuple[float, float]
) -> tuple[Counter[str], Artifacts]:
    """One run, killed up to `kills` times, each within the interval `seconds` after a start.

    Returns what the run was doing at each kill, counted, and its artifacts.
    """
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
                return where, Artifacts.of(folder)
            raise SystemExit(f"{folder}: ended with {process.returncode}: {error.decode()[-2000:]}")
        arguments = [f"resume={folder}"] if (folder / "config.yaml").exists() else fresh


def _where(folder: Path, known: set[tuple[str, int]]) -> str:
    """What the run was doing when killed. `known`: half-written checkpoints of earlier kills, kept until the run resumes.

    Errors: whatever reading the rollout log raises.
    """
    if not RolloutLog.of(folder).files():
        return "before anything was recorded"
    read_rollout_log(folder).to_pylist()
    unfinished = [path for path in (folder / "checkpoints").glob("*") if not path.name.isdecimal()]
    left = {(path.name, path.stat().st_mtime_ns) for path in unfinished}
    new = bool(left - known)
    known |= left
    return "while saving" if new else "otherwise"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--each", type=int, default=20, help="kills of one run, at most")
    parser.add_argument("--steps", type=int, default=30, help="of a run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    given = parser.parse_args()
    arguments = [*ARGUMENTS, f"steps={given.steps}"]
    with tempfile.TemporaryDirectory(prefix="kills-") as work:
        ready, whole, reference = reference_run(Path(work) / "reference", arguments)
        print(f"an undisturbed run takes {whole:.1f} s, {ready:.1f} s until its first metrics", flush=True)
        where, same, runs = Counter[str](), 0, 0
        # Half of the kills come before the steps begin, so that enough of the run is left for later kills.
        window = (0.5 * ready, ready + 0.2 * (whole - ready))

        def one(number: int) -> tuple[Counter[str], Artifacts]:
            return chain(Path(work) / str(number), arguments, seed=number, kills=given.each, seconds=window)

        with ThreadPoolExecutor(given.jobs) as pool:
            while where.total() < given.kills:
                for kills, artifacts in pool.map(one, range(runs + 1, runs + given.jobs + 1)):
                    where, same, runs = where + kills, same + (artifacts == reference), runs + 1
                    verdict = "identical" if artifacts == reference else f"DIFFERS: {artifacts} instead of {reference}"
                    print(f"run {runs}: {kills.total()} kills, {verdict}; so far {where.total()} {dict(where)}", flush=True)
    print(f"{where.total()} kills, {same} of {runs} runs identical to the reference")
    raise SystemExit(same != runs)


if __name__ == "__main__":
    main()
