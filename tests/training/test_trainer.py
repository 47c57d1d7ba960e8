"""The training loop with slow rules: rollouts are scored while others are sampled, by any number of workers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from parts import live_rules, parts_of

from conftest import SUPPORT
from rlvr import Problem
from rlvr.config.compose import compose
from rlvr.config.schema import ModelConfig, RuleConfig
from rlvr.models.load import load_policy
from rlvr.models.policy import Policy
from rlvr.rollout.base import OnFinished, Sampling
from rlvr.rollout.native.engine import NativeEngine
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.tracking.observer import Observer
from rlvr.training.result import TrainResult
from rlvr.training.trainer import Trainer
from rlvr.types import Group, Rollout

PROBLEMS = [Problem(id=f"p{n}", prompt=f"What is {n} + 4?\n", truth={"answer": str(n + 4)}) for n in range(8)]


@dataclass(kw_only=True)
class Watched(NativeEngine):
    """Records when sampling ends, and waits for the first rollout's verdict before it samples on."""

    path: Path

    def sample(self, problems: Sequence[Problem], sampling: Sampling, *, on_finished: OnFinished | None = None) -> list[Group]:
        before = len(lines(self.path))
        finished: list[int] = []

        def wait(problem: Problem, at: int, rollout: Rollout) -> None:
            assert on_finished is not None
            on_finished(problem, at, rollout)
            finished.append(at)
            end = time.monotonic() + 30
            while len(finished) == 1 and len(lines(self.path)) == before:
                assert time.monotonic() < end, "no verdict during sampling"
                time.sleep(0.01)

        # Not super(): a dataclass with slots is a second class, and super() refers to the first.
        groups = NativeEngine.sample(self, problems, sampling, on_finished=wait)
        with self.path.open("a") as file:
            file.write("sampled\n")
        return groups


class Recorder(Observer):
    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.rows.append(dict(metrics))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def train(policy: Policy, path: Path, *, workers: int, seconds: float = 0.0) -> tuple[TrainResult, list[dict[str, float]]]:
    verifier = {"_target_": "slow_verifiers.Programs", "path": str(path), "seconds": seconds}
    small = ["algo.problems=2", "algo.group_size=4", "algo.max_new_tokens=24", "eval.every=0", "eval.forced_prefix=null"]
    config = compose(["steps=2", "rules_from=[slow_verifiers]", *small])
    config = replace(config, rules={"recorded": RuleConfig(weight=1.0, verifier=verifier)})
    recorder = Recorder()
    with Supervisor(workers=workers) as backend:
        parts = parts_of(config, policy, backend, engine=Watched(path=path), train=PROBLEMS[:4], held_out=PROBLEMS[4:])
        return Trainer(parts, live_rules(config, path.parent), observers=[recorder]).run(), recorder.rows


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUPPORT))


def test_verdicts_come_during_sampling(tiny: Policy, tmp_path: Path) -> None:
    result, rows = train(tiny, tmp_path / "notes", workers=2, seconds=0.05)
    events = lines(tmp_path / "notes")
    assert events.count("sampled") == 4, "two evaluations and two steps"
    assert events[0] != "sampled"
    for at, event in enumerate(events[:-1]):
        assert event != "sampled" or events[at + 1] != "sampled", "some verdicts came first each time"
    assert result.steps == 2
    assert result.before is not None
    assert result.before.problems == 4
    for row in rows[1:]:
        assert row["verify/error"] == row["group/masked"] == 0
        assert row["time/rollout"] > 0


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing_but_times(tiny: Policy, tmp_path: Path) -> None:
    again = load_policy(ModelConfig(name="tiny", package="rlvr.assets.tiny"))
    (one, rows), (four, others) = (
        train(policy, tmp_path / f"{n}", workers=n, seconds=0.02) for policy, n in ((tiny, 1), (again, 4))
    )
    timed = ("time/", "verify/seconds", "tokens_per_second")
    stripped = [[{k: v for k, v in row.items() if not k.startswith(timed)} for row in each] for each in (rows, others)]
    assert stripped[0] == stripped[1]
    assert one.after == four.after
    assert len({row["reward/mean"] for row in rows[1:]}) > 1
