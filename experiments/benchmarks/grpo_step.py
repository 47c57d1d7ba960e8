"""A step of GRPO, ours against TRL's `GRPOTrainer`, with the same model, prompts and settings. See README.md.

    python experiments/benchmarks/grpo_step.py tiny tiny_8shot half_0shot half_8shot
    python experiments/benchmarks/grpo_step.py sweep-prefix sweep-group sweep-vocabulary

Every measurement runs in a separate process, and the two sides alternate. Needs TRL (`pip install -e '.[dev-slow]'`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from grpo_step_cases import CASES, SIDES, SWEEPS, Case, Side
from grpo_step_child import Job, Measured
from grpo_step_floor import Rates, floor
from grpo_step_models import Workload
from grpo_step_plots import plot_sweep
from grpo_step_report import (
    HEAD,
    QUANTITIES,
    RATIO_HEAD,
    SLOPE_HEAD,
    Compared,
    check_equal_work,
    quantity,
    ratio_row,
    row,
    slope_rows,
)

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("grpo_step_child.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """How cases are measured."""

    work: Path
    """Temporary folder for models and jobs."""
    data: Path
    """Folder of GSM8K."""
    device: str
    threads: int
    rounds: int
    """Processes of each side."""
    sides: tuple[Side, ...] = SIDES
    steps: int | None = None
    """Measured in each process; None: `Case.steps`."""

    def run(self, case: Case) -> Compared:
        """Prepare the case, measure the machine, then let the sides alternate. Errors: `UnequalWork`."""
        case = replace(case, steps=self.steps or case.steps)
        folder = self.work / case.name
        folder.mkdir()
        self._child(case, folder, "prepare")
        rates = Rates(**json.loads(self._child(case, folder, "rates").read_text()))
        rounds: list[dict[Side, Measured]] = []
        for number in range(self.rounds):
            order = self.sides if number % 2 == 0 else self.sides[::-1]
            rounds.append({side: Measured.read(self._child(case, folder, side)) for side in order})
            check_equal_work(case, rounds[-1])
        workload = Workload.read(folder / "workload.json")
        return Compared(case=case, rounds=tuple(rounds), floor=floor(case, workload, rates))

    def _child(self, case: Case, folder: Path, do: str) -> Path:
        """Run a process to its end; returns the file with its result. Errors: `SystemExit` if it fails."""
        output = folder / f"{do}.json"
        job = Job(
            do=do,  # type: ignore[arg-type]
            case=case,
            steps=case.steps,
            data=self.data,
            models=self.work / "models",
            folder=folder,
            output=output,
            device=self.device,
            threads=self.threads,
        )
        job.write(folder / "job.json")
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "TRANSFORMERS_VERBOSITY": "error"}
        done = subprocess.run(
            [sys.executable, CHILD, folder / "job.json"], capture_output=True, text=True, env=environment, check=False
        )
        if done.returncode:
            raise SystemExit(f"{case.name}, {do}: ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return output


def report_cases(found: Sequence[Compared]) -> None:
    """Print both tables, and how much few-shot examples slow our step down."""
    print("\n" + HEAD)
    for each in found:
        for side in each.sides:
            print(row(each, side))
    both = [each for each in found if set(each.sides) == set(SIDES)]
    if both:
        print("\n" + "\n".join([RATIO_HEAD, *map(ratio_row, both)]))
    ours = {each.case.name: each.median("ours", "total") for each in found if "ours" in each.sides}
    for few, none in (("tiny_8shot", "tiny"), ("half_8shot", "half_0shot")):
        if few in ours and none in ours:
            print(f"\nours, {few} over {none}: {ours[few] / ours[none]:.2f}")


def report_sweep(name: str, found: Sequence[tuple[int, Compared]], out: Path) -> None:
    """Print the table of slopes; write a CSV file and a plot."""
    print("\n" + "\n".join([SLOPE_HEAD, *slope_rows(name, found)]))
    stem = "grpo_step_" + name.removeprefix("sweep-")
    with (out / f"{stem}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([SWEEPS[name].axis, "side", *QUANTITIES])
        writer.writerows(
            [x, side, *(f"{quantity(each, side, what):.6g}" for what in QUANTITIES)] for x, each in found for side in each.sides
        )
    plot_sweep(SWEEPS[name].axis, found, out / f"{stem}.png")


def record(found: Sequence[Compared], bench: Bench) -> dict[str, object]:
    """All measurements, with machine and versions."""
    return {
        "machine": f"{platform.processor() or platform.machine()}, {bench.threads} threads, {bench.device}",
        "versions": {name: version(name) for name in ("rlvr", "trl", "torch", "transformers")},
        "cases": [asdict(each) for each in found],
    }


def arguments() -> argparse.Namespace:
    data = os.environ.get("RLVR_DATA", str(ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=[*CASES, *SWEEPS], help="cases and sweeps")
    parser.add_argument("--data", type=Path, default=Path(data), help="folder with gsm8k/")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="for grpo_step.json, tables and plots")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument("--steps", type=int, help="measured in each process; default: as the case says")
    parser.add_argument("--only", choices=SIDES, help="only this side")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def main() -> None:
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="grpo_step-") as work:
        bench = Bench(
            work=Path(work),
            data=(given.data / "gsm8k").resolve(),
            device=given.device,
            threads=given.threads,
            rounds=given.rounds,
            sides=(given.only,) if given.only else SIDES,
            steps=given.steps,
        )
        every: list[Compared] = []
        cases: list[Compared] = []
        for name in given.what:
            points = SWEEPS[name].points if name in SWEEPS else ((0, CASES[name]),)
            found = []
            for x, case in points:
                found.append((x, bench.run(case)))
                every.append(found[-1][1])
                print("\n".join(row(every[-1], side) for side in every[-1].sides), flush=True)
                (given.out / "grpo_step.json").write_text(json.dumps(record(every, bench), indent=1))
            if name in SWEEPS:
                report_sweep(name, found, given.out)
            else:
                cases += [each for _, each in found]
        if cases:
            report_cases(cases)


if __name__ == "__main__":
    main()
