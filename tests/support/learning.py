"""Helpers for tests of the learner: a scored batch, policies that differ, an update's gradient, a count of forward passes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from accelerate import Accelerator
from random_models import plain_logprobs
from torch import Tensor

from conftest import group_of
from rlvr import Problem, load_rules
from rlvr.config.schema import AlgoConfig
from rlvr.models.policy import Policy
from rlvr.rules.pack import RulePack
from rlvr.training.batch import taking_part, training_tree
from rlvr.training.learner import Learner
from rlvr.types import Group

WORDS = [
    "\\boxed{1}",
    "I guess \\boxed{22}",
    "<think>3+4=7 so it is 7</think><answer>\\boxed{7}</answer>",
    "no idea at all",
    "7",
]


@cache
def _pack() -> RulePack:
    return load_rules("r1_format+answer")


def groups(policy: Policy, n: int = 2) -> list[Group]:
    """Of `n` problems, a rollout for each of WORDS; not degenerate."""
    problems = [
        Problem(id=f"p{i}", prompt=f"What is {i} + {7 - i}?" + " Please." * i + "\n", truth={"answer": "7"}) for i in range(n)
    ]
    return [group_of(policy, problem, WORDS, _pack()) for problem in problems]


def as_sampled(policy: Policy, batch: Sequence[Group], *, off: float = 0.0, temperature: float = 1.0) -> list[Group]:
    """With the log-probabilities that the policy gives (plus `off`)."""
    with torch.no_grad():
        return [
            replace(
                group,
                rollouts=tuple(
                    replace(r, logprobs=plain_logprobs(policy.model, group, r, temperature=temperature) + off)
                    for r in group.rollouts
                ),
            )
            for group in batch
        ]


def copy_of(policy: Policy) -> Policy:
    return replace(policy, model=copy.deepcopy(policy.model))


def moved(policy: Policy, by: float = 0.02) -> Policy:
    """A copy with different weights."""
    other = copy_of(policy)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in other.model.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return other


def gradient(policy: Policy, batch: Sequence[Group], reference: Policy | None = None, **options: Any) -> Tensor:
    """The gradient of one update, recorded by a learner that clips nothing, with a learning rate near 0."""
    algo = AlgoConfig(max_grad_norm=1e9, learning_rate=1e-30, beta=0.1 if reference else 0.0, **options)
    return update(copy_of(policy), batch, algo, reference)[1][0]


def update(
    policy: Policy, batch: Sequence[Group], algo: AlgoConfig, reference: Policy | None = None
) -> tuple[dict[str, float], list[Tensor]]:
    """Metrics of a new learner's update, and the gradient of each of its `updates_per_batch`."""
    learner = Learner(policy, algo, Accelerator(cpu=True), reference)
    seen: list[Tensor] = []
    step = learner._step

    def keep_gradient_then_step() -> float:
        seen.append(flat_gradient(policy).clone())
        return step()

    learner._step = keep_gradient_then_step  # type: ignore[method-assign]
    return learner.update(batch), seen


def flat_gradient(policy: Policy) -> Tensor:
    """What is in the parameters' `grad`, as one vector."""
    parameters = policy.model.parameters()
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])


def tokens_seen(policy: Policy) -> list[int]:
    """The number of tokens of each forward pass of the model, filled in as it runs."""
    counts: list[int] = []
    policy.model.get_input_embeddings().register_forward_pre_hook(lambda _, given: counts.append(given[0].numel()))
    return counts


def tree_tokens(batch: Sequence[Group]) -> int:
    return sum(len(node.ids) for node in training_tree(taking_part(batch)).tree)
