"""Sweeps with each launcher and sweeper, with failing jobs among them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import forked
import pytest
import yaml

from conftest import ROOT, needs

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1"}
TINY = ["steps=1", "algo.group_size=2", "algo.max_new_tokens=16", "tracking=none", "dataset.train_problems=40"]
TOO_MANY = "algo.problems=3000: the data set has 40 training problems"


def installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


needs_joblib = needs(installed("hydra-joblib-launcher"), "pip install 'rlvr[sweeps]'")
needs_optuna = needs(installed("hydra-optuna-sweeper"), "pip install 'rlvr[sweeps]'")


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    arguments = ("-m", f"hydra.sweep.dir={folder}", *TINY, *arguments)
    if not any(argument.startswith("hydra/") for argument in arguments):
        return forked.run("train", *arguments, env=ENVIRONMENT)
    # joblib starts processes itself, which does not work in a fork.
    command = [sys.executable, "train.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)


def accuracies(folder: Path) -> dict[str, float | None]:
    """Of the jobs that did not fail, by their folder's name; None without an evaluation."""
    summaries = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/summary.json")}
    return {job: summary["after"] and summary["after"]["accuracy"] for job, summary in summaries.items()}


JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


@pytest.mark.parametrize("more", [[], pytest.param(JOBLIB, marks=[pytest.mark.slow, needs_joblib])], ids=["basic", "joblib"])
def test_a_failed_job_does_not_stop_the_others(more: list[str], tmp_path: Path) -> None:
    result = sweep(tmp_path, "algo.problems=3000,2", "rules=answer,r1_format+answer", "eval.problems=4", *more)
    assert result.returncode == 1
    assert set(accuracies(tmp_path)) == {"2", "3"}, "after jobs 0 and 1, which fail"
    assert {path.parent.name: path.read_text() for path in tmp_path.glob("*/error.txt")} == dict.fromkeys("01", f"{TOO_MANY}\n")
    for job in "01":
        assert f"error: job {job}: {TOO_MANY}\n" in result.stderr
    last = f"error: 2 jobs of the sweep failed:\n  {tmp_path / '0' / 'error.txt'}\n  {tmp_path / '1' / 'error.txt'}\n"
    assert result.stderr.endswith(last)
    assert "Traceback" not in result.stderr
    rules = [json.loads((tmp_path / job / "summary.json").read_text())["rules"] for job in "23"]
    assert rules == [{"answer": 1.0}, {"format": 0.1, "answer": 1.0}]


@pytest.mark.slow
def test_a_sweep_that_is_run_again_forgets_its_failures(tmp_path: Path) -> None:
    (tmp_path / "9").mkdir()
    (tmp_path / "9" / "error.txt").write_text("of another sweep")
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "error.txt").write_text("of before")
    result = sweep(tmp_path, "seed=0", "algo.problems=2", "eval.problems=1")
    assert result.returncode == 0, result.stderr
    assert [path.parent.name for path in tmp_path.glob("*/error.txt")] == ["9"]


@pytest.mark.slow
@needs_optuna
def test_optuna_looks_for_the_highest_accuracy(tmp_path: Path) -> None:
    """Trials that fail, or have nothing to measure, count as failed; the best of the rest is the one with most right."""
    search = ["hydra/sweeper=best", "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=4", "hydra.sweeper.n_trials=4"]
    result = sweep(tmp_path, *search, "algo.problems=choice(2,3000)", "eval.problems=choice(0,1,4)")
    assert result.returncode == 1, result.stderr
    assert [path.parent.name for path in tmp_path.glob("*/error.txt")] == ["1"]
    assert "error: 1 job of the sweep failed" in result.stderr
    best = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    found = {job: accuracy for job, accuracy in accuracies(tmp_path).items() if accuracy is not None}
    assert len(set(found.values())) == 2
    assert best["best_value"] == max(found.values())
    assert best["best_params"]["algo.problems"] == 2


@pytest.mark.slow
@needs_optuna
def test_optuna_says_when_every_trial_failed(tmp_path: Path) -> None:
    result = sweep(tmp_path, "hydra/sweeper=best", "hydra.sweeper.n_trials=1", "algo.problems=3000", "seed=range(0,9)")
    assert result.returncode == 1
    assert f"error: job 0: {TOO_MANY}\n" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: the sweep cannot go on: ValueError: No trials are completed yet")
    assert "Traceback" not in result.stderr
