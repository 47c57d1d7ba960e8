"""One process against two, started by `accelerate launch`: how far do the metrics of the same run come apart?

python experiments/benchmarks/two_processes.py --steps 20
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TRAIN = str(Path(__file__).parents[2] / "train.py")
LAUNCH = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no")
MEASURED = ("time/", "tokens_per_second", "verify/seconds")


def metrics(run: Path, launcher: tuple[str, ...], steps: int) -> list[dict[str, float]]:
    """Of a run on the embedded default, without its times."""
    command = [sys.executable, *launcher, TRAIN, f"steps={steps}", f"hydra.run.dir={run}", "cluster.cpu=true", "tracking=none"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{run.name}: ended with {done.returncode}\n{done.stderr[-2000:]}")
    print(next(line.strip() for line in done.stdout.splitlines() if "device" in line))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith(MEASURED)} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory(prefix="processes-") as work:
        one, two = metrics(Path(work) / "one", (), steps), metrics(Path(work) / "two", LAUNCH, steps)
    if [row.keys() for row in one] != [row.keys() for row in two]:
        raise SystemExit("the two runs do not have the same metrics at the same steps")
    apart = {
        key: max(abs(a[key] - b[key]) for a, b in zip(one, two, strict=True) if a.get(key) is not None)
        for key in dict.fromkeys(key for row in one for key in row)
    }
    for key, difference in sorted(apart.items(), key=lambda item: -item[1]):
        print(f"{key:32} {difference:.2e}")


if __name__ == "__main__":
    main()
