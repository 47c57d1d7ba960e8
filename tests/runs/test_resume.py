"""resume=RUN: a stopped run ends with the same bits as an uninterrupted one; what may change on resume, and what may not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import forked
import pytest

from rlvr.errors import ConfigError
from rlvr.runs.resume import Resume
from rlvr.runs.rollout_log import read_rollout_log

SMALL = ["steps=4", "eval.every=2", "eval.problems=6", "eval.forced_prefix=null", "checkpoint.every=2", "tracking=none"]
SMALL += ["algo.problems=3", "algo.group_size=4", "dataset.train_problems=40"]


def train(*arguments: str, status: int = 0) -> str:
    done = forked.run("train", *arguments)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def started(*arguments: str, until: Path) -> forked.Command:
    """A run that has just written the file `until`."""
    process = forked.start("train", *arguments)
    end = time.monotonic() + 120
    while not until.exists():
        assert process.poll() is None, process.stderr
        assert time.monotonic() < end
        time.sleep(0.002)
    return process


def kill(process: forked.Command) -> None:
    process.kill()
    process.wait()


def rows(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = ("time/", "verify/seconds", "tokens_per_second")
    return [{name: value for name, value in row.items() if not name.startswith(timed)} for row in lines]


def bits(run: Path) -> tuple[list[dict[str, Any]], dict[str, str], str]:
    rollout_log = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((run / "rollouts").iterdir())}
    return rows(run), rollout_log, hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of four steps."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(*SMALL, f"hydra.run.dir={run}")
    return run


def test_a_run_that_is_stopped_again_and_again_ends_with_the_same_bits(whole: Path, tmp_path: Path) -> None:
    """Killed before the first checkpoint, told to stop, killed after a checkpoint."""
    run = tmp_path / "run"
    kill(started(*SMALL, f"hydra.run.dir={run}", until=run / "rollouts/00000001-train.parquet"))
    process = started(f"resume={run}", until=run / "rollouts/00000002-train.parquet")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) in (130, 0)
    if (done := len(rows(run)) - 1) < 4:
        assert str(done) in os.listdir(run / "checkpoints"), "the steps done are saved, wherever it stops"
    kill(started(f"resume={run}", until=run / "rollouts/00000004-train.parquet"))
    assert "resumes after step" in train(f"resume={run}")
    assert bits(run) == bits(whole)


@pytest.mark.slow
@pytest.mark.parametrize("after", ["rules.yaml", *(f"rollouts/0000000{step}-train.parquet" for step in (1, 2, 3, 4)), "model"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_run_ends_with_the_same_bits(whole: Path, tmp_path: Path, after: str, number: signal.Signals) -> None:
    run = tmp_path / "run"
    process = started(*SMALL, f"hydra.run.dir={run}", until=run / after)
    process.send_signal(number)
    process.wait()
    train(f"resume={run}")
    assert bits(run) == bits(whole)


@pytest.mark.slow
def test_more_steps_and_other_weights(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    said = train(f"resume={run}", "steps=5", "rules.format.weight=0.05", "+rules.short.weight=0.2",
                 "+rules.short.verifier._target_=rlvr.verifiers.style.Overlong", "+rules.short.verifier.max_chars=40",
                 "+rules.short.verifier.buffer_chars=10")  # fmt: skip
    assert "changed: steps 4 -> 5" in said
    assert "rules.format.weight 0.1 -> 0.05" in said
    assert rows(run)[:5] == rows(whole), "the steps done stay"
    last = rows(run)[5]
    assert (last["step"], last["rule/format/weight"], last["rule/short/weight"]) == (5, 0.05, 0.2)
    assert last["rules/changes"] >= 2
    hashes = read_rollout_log(run, splits=["train"], columns=["step", "rules_hash"]).to_pydict()
    by_step = dict(zip(hashes["step"], hashes["rules_hash"], strict=True))
    assert by_step[4] == by_step[1] != by_step[5]
    again = train(f"resume={run}", "steps=6")
    assert "resumes after step 5" in again
    assert rows(run)[6]["rule/format/weight"] == 0.05, "the active rules stay"


def test_what_cannot_change_is_refused_before_anything_is_touched(whole: Path) -> None:
    before = bits(whole), (whole / "config.yaml").read_bytes(), (whole / "rules.yaml").read_bytes()
    for override, message in (
        ("seed=1", "seed=1: cannot change on resume (the run began with 0); begin a new run"),
        ("model.dtype=bfloat16", "model.dtype=bfloat16: cannot change on resume"),
        ("rules.stile.weight=1", "rules.stile.weight=1: there is no such rule"),
        ("-m", "resumes a single run; leave out -m"),
    ):
        said = train(f"resume={whole}", override, status=2)
        assert said.count("\n") <= 2, said
        assert message in said
    assert (bits(whole), (whole / "config.yaml").read_bytes(), (whole / "rules.yaml").read_bytes()) == before


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be the folder of a run \(it has no config.yaml\)"):
        Resume.of([f"resume={tmp_path}"])
    assert Resume.of(["steps=3"]) is None
