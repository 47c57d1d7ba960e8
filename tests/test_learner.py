"""Updates: what must not change the gradient, and what must not change the weights."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from conftest import group_of, with_rewards
from rlvr import Problem, load_rules
from rlvr.config import AlgoConfig
from rlvr.learner import Learner
from rlvr.policy import Policy
from rlvr.types import Group

WORDS = [
    "\\boxed{1}",
    "I guess \\boxed{22}",
    "<think>3+4=7 so it is 7</think><answer>\\boxed{7}</answer>",
    "no idea at all",
    "7",
]


def groups(policy: Policy) -> list[Group]:
    pack = load_rules("r1_format+answer")
    problems = [
        Problem(id=f"p{i}", prompt=f"What is {i} + {7 - i}?" + " Please." * i + "\n", truth={"answer": "7"}) for i in range(3)
    ]
    return [group_of(policy, problem, WORDS, pack) for problem in problems]


def gradient(policy: Policy, batch: list[Group], **options: object) -> torch.Tensor:
    """The gradient of one update, read off by letting a plain learner clip nothing and step nowhere."""
    copied = replace(policy, model=copy.deepcopy(policy.model))
    learner = Learner(copied, AlgoConfig(max_grad_norm=1e9, learning_rate=1e-30, **options), Accelerator(cpu=True), None)  # type: ignore[arg-type]
    seen: list[torch.Tensor] = []
    step = learner._step

    def keep_gradient_then_step() -> float:
        seen.append(torch.cat([p.grad.flatten() for p in copied.model.parameters() if p.grad is not None]).clone())
        return step()

    learner._step = keep_gradient_then_step  # type: ignore[method-assign]
    learner.update(batch)
    return seen[0]


@pytest.mark.parametrize("aggregation", ["sequence_mean", "token_mean", "max_length"])
def test_micro_batch_size_does_not_change_the_gradient(tiny64: Policy, aggregation: str) -> None:
    batch = groups(tiny64)
    whole = gradient(tiny64, batch, aggregation=aggregation, micro_batch=64)
    assert whole.abs().max() > 1e-4
    for size in (1, 2, 7):
        split = gradient(tiny64, batch, aggregation=aggregation, micro_batch=size)
        assert (split - whole).abs().max() <= 1e-6 * whole.abs().max()


def test_masked_rollouts_change_nothing(tiny64: Policy) -> None:
    """A rollout without a reward is as if it had not been sampled."""
    batch = groups(tiny64)
    masked = [with_rewards(group, [1.0, None, 0.0, None, 0.5]) for group in batch]
    left_out = [replace(g, rollouts=tuple(r for r in g.rollouts if r.reward is not None)) for g in masked]
    assert torch.equal(gradient(tiny64, masked), gradient(tiny64, left_out))


@pytest.mark.parametrize("reward", [0.0, 1.1, None])
def test_all_wrong_all_right_all_masked_leave_the_weights(tiny: Policy, reward: float | None) -> None:
    batch = [with_rewards(group, [reward] * len(WORDS)) for group in groups(tiny)]
    learner = Learner(tiny, AlgoConfig(learning_rate=1e-2, warmup_steps=0, weight_decay=0.1), Accelerator(cpu=True), None)
    learner.update(groups(tiny))  # leaves momentum behind
    before = copy.deepcopy(tiny.model.state_dict())
    metrics = learner.update(batch)
    assert all(torch.equal(before[name], value) for name, value in tiny.model.state_dict().items())
    assert metrics["policy/grad_norm"] == 0.0
    assert all(math.isfinite(value) for value in metrics.values())


def test_kl_holds_the_policy_back(tiny: Policy) -> None:
    reference = replace(tiny, model=copy.deepcopy(tiny.model))
    moved = {}
    for beta in (0.0, 10.0):
        policy = replace(tiny, model=copy.deepcopy(tiny.model))
        algo = AlgoConfig(beta=beta, learning_rate=3e-4, warmup_steps=0)
        learner = Learner(policy, algo, Accelerator(cpu=True), reference if beta else None)
        first = learner.update(groups(policy))
        for _ in range(4):
            last = learner.update(groups(policy))
        assert first["policy/kl"] == 0.0
        assert (last["policy/kl"] > 0.0) == (beta > 0)
        with torch.no_grad():
            moved[beta] = sum(float((p - q).square().sum()) for p, q in _pairs(policy, reference))
    assert moved[10.0] < moved[0.0]


def _pairs(policy: Policy, other: Policy) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(policy.model.parameters(), other.model.parameters(), strict=True))


def test_several_updates_use_the_clip(tiny: Policy) -> None:
    algo = AlgoConfig(updates_per_batch=4, learning_rate=3e-3, warmup_steps=0, clip_low=0.01, clip_high=0.01)
    metrics = Learner(tiny, algo, Accelerator(cpu=True), None).update(groups(tiny))
    assert 0.0 < metrics["policy/clip_fraction"] < 1.0
    on_policy = Learner(tiny, AlgoConfig(), Accelerator(cpu=True), None).update(groups(tiny))
    assert on_policy["policy/clip_fraction"] == 0.0


def test_learning_rate_warms_up(tiny: Policy) -> None:
    learner = Learner(tiny, AlgoConfig(learning_rate=1.0e-5, warmup_steps=4), Accelerator(cpu=True), None)
    rates = []
    for _ in range(6):
        rates.append(learner.learning_rate)
        learner.update(groups(tiny))
    assert rates == pytest.approx([0.25e-5, 0.5e-5, 0.75e-5, 1e-5, 1e-5, 1e-5])
