"""Edits rules.yaml of a running experiment half way, and compares with an unedited run and with a declared schedule.

python experiments/mid_run_weight_change/live_edit.py --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HALF = 20
BEFORE, AFTER = "weight: 0.1", "weight: 0.05"


def train(folder: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Starts a run."""
    command = [sys.executable, "train.py", "+experiment=mid_run_weight_change", f"hydra.run.dir={folder}", *overrides]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def finish(run: subprocess.Popen[bytes]) -> None:
    if run.wait():
        raise SystemExit(f"{run.args}: ended with {run.returncode}")


def edit(folder: Path, run: subprocess.Popen[bytes]) -> int:
    """Waits for the metrics of step `HALF`, then halves the weight as a user would; returns the first step it counts in."""
    metrics, rules = folder / "metrics.jsonl", folder / "rules.yaml"
    while not metrics.exists() or f'"step": {HALF},' not in metrics.read_text():
        if run.poll() is not None:
            raise SystemExit(f"{folder}: the run ended before step {HALF}")
        time.sleep(0.02)
    text = rules.read_text()
    assert text.count(BEFORE) == 1
    rules.write_text(text.replace(BEFORE, AFTER))
    finish(run)
    return next(row["step"] for row in rows(folder) if row.get("rules/changes"))


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def table_row(folder: Path) -> str:
    """A row of the table."""
    last, late = rows(folder)[-1], rows(folder)[-5:]
    shares = [last["eval/accuracy"], last["eval/format"]]
    shares += [sum(row[f"rule/{rule}/score"] for row in late) / len(late) for rule in ("answer", "format")]
    digest = hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()
    return " | ".join([*(f"{share:.1%}" for share in shares), f"`{digest[:12]}`"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "mid_run_weight_change")
    given = parser.parse_args()
    print("| seed | weight of format | accuracy | format | answer, sampled | format, sampled | weights of the model |")
    print("|---|---|---|---|---|---|---|")
    for seed in given.seeds:
        unchanged, edited, declared = (given.out / f"{name}-{seed}" for name in ("unchanged", "edited", "declared"))
        finish(train(unchanged, f"seed={seed}"))
        step = edit(edited, train(edited, f"seed={seed}"))
        finish(train(declared, f"seed={seed}", f"rules.format.weight={{0: 0.1, {step}: 0.05}}"))
        print(f"| {seed} | 0.1 | {table_row(unchanged)} |")
        print(f"| {seed} | edited after step {HALF}, in force from {step} | {table_row(edited)} |")
        print(f"| {seed} | declared: `{{0: 0.1, {step}: 0.05}}` | {table_row(declared)} |", flush=True)


if __name__ == "__main__":
    main()
