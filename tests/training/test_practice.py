"""Dynamic sampling, curriculum and one-shot training, through the real loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accelerate import Accelerator

from rlvr import Problem, load_rules
from rlvr.config.compose import compose
from rlvr.data.curriculum import enough
from rlvr.models.policy import Policy
from rlvr.rollout.native.engine import NativeEngine
from rlvr.rules.pack import RulePack
from rlvr.runs.rows import Split
from rlvr.scoring.local.supervisor import shared
from rlvr.tracking.observer import Observer
from rlvr.training.trainer import Trainer
from rlvr.types import Group

PROBLEMS = [Problem(id=f"p{n}", prompt=f"What is {n} + 4?\n", truth={"answer": str(n + 4)}) for n in range(200)]


class Kept(Observer):
    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.groups: list[list[Group]] = []

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.rows.append(dict(metrics))

    def rollouts(self, step: int, split: Split, groups: Sequence[Group], pack: RulePack) -> None:
        self.groups.append(list(groups))


def train(policy: Policy, problems: Sequence[Problem], *overrides: str) -> Kept:
    small = ["algo.problems=4", "algo.group_size=2", "algo.max_new_tokens=24", "eval.problems=0", "algo.warmup_steps=1"]
    config, kept = compose([*small, *overrides]), Kept()
    Trainer(
        config,
        policy=policy,
        reference=None,
        engine=NativeEngine(),
        pack=load_rules("r1_format+answer"),
        backend=shared(workers=1, deadline_s=2.0, memory_mb=1024),
        train=problems,
        held_out=[],
        accelerator=Accelerator(cpu=True),
        observers=(kept,),
    ).run()
    return kept


def test_dynamic_sampling_asks_until_enough_groups_differ(tiny: Policy) -> None:
    kept = train(tiny, PROBLEMS, "steps=4", "algo.resample=3")
    assert any(row["rollout/rounds"] > 1 for row in kept.rows[1:])
    for groups, row in zip(kept.groups, kept.rows[1:], strict=True):
        rounds = row["rollout/rounds"]
        assert len(groups) == 4 * rounds
        assert len({group.problem.id for group in groups}) == len(groups), "always others"
        differing = sum(not group.degenerate for group in groups)
        assert differing >= 4 or rounds == 4
        assert sum(not group.degenerate for group in groups[:-4]) < 4, "not once more than needed"
        assert row["group/degenerate"] == 1 - differing / len(groups), "what was sampled is what is shown"


def test_without_it_a_step_asks_once(tiny: Policy) -> None:
    kept = train(tiny, PROBLEMS, "steps=3")
    assert [len(groups) for groups in kept.groups] == [4, 4, 4]
    assert all("rollout/rounds" not in row for row in kept.rows)


def test_one_problem_many_times(tiny: Policy) -> None:
    kept = train(tiny, enough(PROBLEMS[:1], 4), "steps=2")
    for groups in kept.groups:
        assert {group.problem.prompt for group in groups} == {"What is 0 + 4?\n"}
        assert len({rollout.token_ids for group in groups for rollout in group.rollouts}) > 4, "each with noise of its own"


def test_a_curriculum_learns_pass_rates(tiny: Policy) -> None:
    kept = train(tiny, PROBLEMS[:6], "steps=6", "algo.curriculum=true", "algo.group_size=4")
    asked = [group.problem.id for groups in kept.groups for group in groups]
    assert len(asked) == 24
    assert len(set(asked)) == 6
