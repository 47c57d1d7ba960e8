"""Dynamic sampling, curriculum and training on one problem, in the real loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from parts import live_rules, parts_of

from rlvr import Problem
from rlvr.config.compose import compose
from rlvr.data.curriculum import enough
from rlvr.models.policy import Policy
from rlvr.rules.pack import RulePack
from rlvr.scoring.local.supervisor import shared
from rlvr.tracking.observer import Observer
from rlvr.training.trainer import Trainer
from rlvr.types import Group, Split

PROBLEMS = [Problem(id=f"p{n}", prompt=f"What is {n} + 4?\n", truth={"answer": str(n + 4)}) for n in range(200)]


class Recorder(Observer):
    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.groups: list[list[Group]] = []

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.rows.append(dict(metrics))

    def rollouts(self, step: int, split: Split, groups: Sequence[Group], pack: RulePack) -> None:
        self.groups.append(list(groups))


def train(policy: Policy, problems: Sequence[Problem], *overrides: str) -> Recorder:
    small = ["algo.problems=4", "algo.group_size=2", "algo.max_new_tokens=16", "eval.problems=0", "algo.warmup_steps=1"]
    config, recorded = compose(["rules=r1_format+answer", *small, *overrides]), Recorder()
    backend = shared(workers=1, deadline_s=2.0, memory_mb=1024)
    with TemporaryDirectory() as folder:
        Trainer(parts_of(config, policy, backend, train=problems), live_rules(config, Path(folder)), observers=[recorded]).run()
    return recorded


def test_dynamic_sampling_goes_on_until_enough_groups_differ(tiny: Policy) -> None:
    recorded = train(tiny, PROBLEMS, "steps=2", "algo.resample=3")
    assert any(row["rollout/rounds"] > 1 for row in recorded.rows[1:])
    for groups, row in zip(recorded.groups, recorded.rows[1:], strict=True):
        rounds = row["rollout/rounds"]
        assert len(groups) == 4 * rounds
        assert len({group.problem.id for group in groups}) == len(groups), "each problem once"
        differing = sum(not group.degenerate for group in groups)
        assert differing >= 4 or rounds == 4
        assert sum(not group.degenerate for group in groups[:-4]) < 4, "no round more than needed"
        assert row["group/degenerate"] == 1 - differing / len(groups), "metrics are of all that was sampled"


def test_without_it_a_step_samples_once(tiny: Policy) -> None:
    recorded = train(tiny, PROBLEMS, "steps=2")
    assert [len(groups) for groups in recorded.groups] == [4, 4]
    assert all("rollout/rounds" not in row for row in recorded.rows)


def test_one_problem_many_times(tiny: Policy) -> None:
    recorded = train(tiny, enough(PROBLEMS[:1], 4), "steps=2")
    for groups in recorded.groups:
        assert {group.problem.prompt for group in groups} == {"What is 0 + 4?\n"}
        assert len({tuple(rollout.token_ids) for group in groups for rollout in group.rollouts}) > 4, (
            "each with different noise"
        )


def test_a_curriculum_learns_pass_rates(tiny: Policy) -> None:
    recorded = train(tiny, PROBLEMS[:6], "steps=4", "algo.curriculum=true", "algo.group_size=4")
    sampled = [group.problem.id for groups in recorded.groups for group in groups]
    assert len(sampled) == 16
    assert len(set(sampled)) == 6
