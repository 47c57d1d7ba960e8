"""One process against two started by `torchrun`: by how much do the metrics of the same run differ?

python experiments/benchmarks/two_processes.py --steps 20
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from kills import TRAIN, metrics_of

LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
"""Not `accelerate launch --cpu --num_processes 2`, which silently starts a single process."""
TOLERANCE = 1e-6


def metrics(run: Path, launcher: tuple[str, ...], overrides: list[str]) -> list[dict[str, float]]:
    """Of a run of the embedded default, without timings."""
    command = [sys.executable, *launcher, str(TRAIN), f"hydra.run.dir={run}", "cluster.cpu=true", "tracking=none", *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{run.name}: ended with {done.returncode}\n{done.stderr[-2000:]}")
    device = next(line.strip() for line in done.stdout.splitlines() if "device" in line)
    if ("2 processes" in device) != bool(launcher):
        raise SystemExit(f"{run.name}: wrong number of processes: {device}")
    print(device)
    return metrics_of(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("overrides", nargs="*", help="of the configuration")
    given = parser.parse_args()
    overrides = [f"steps={given.steps}", *given.overrides]
    with tempfile.TemporaryDirectory(prefix="processes-") as work:
        one, two = metrics(Path(work) / "one", (), overrides), metrics(Path(work) / "two", LAUNCH, overrides)
    if [row.keys() for row in one] != [row.keys() for row in two]:
        raise SystemExit("the two runs do not have the same metrics at the same steps")
    print(f"{'metric':32} largest difference, first step with one above {TOLERANCE:g}")
    for key in dict.fromkeys(key for row in one for key in row):
        apart = {a["step"]: abs(a[key] - b[key]) for a, b in zip(one, two, strict=True) if a.get(key) is not None}
        first = next((step for step, difference in apart.items() if difference > TOLERANCE), None)
        print(f"{key:32} {max(apart.values()):.2e} {'' if first is None else first}")


if __name__ == "__main__":
    main()
