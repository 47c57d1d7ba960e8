"""The cost of passes over a tree: each token once, and memory that does not grow with the number of rollouts."""

from __future__ import annotations

import weakref

import pytest
import torch
from random_models import random_group, random_ids, random_model
from torch import Tensor

from rlvr.models.load import as_policy
from rlvr.models.policy import Policy
from rlvr.models.prefix_tree.forward import TreeForward
from rlvr.models.prefix_tree.layout import schedule_passes
from rlvr.training.batch import TrainingTree, micro_batch, training_tree
from rlvr.types import Group

CPU = torch.device("cpu")
PREFIX = random_ids(30, seed=0)


@pytest.fixture
def policy(tiny64: Policy) -> Policy:
    return as_policy(random_model("qwen2"), tiny64.tokenizer)


def problems(n: int, *, rollouts: int) -> list[Group]:
    """Prompts of 40 tokens, 30 of them a shared prefix, with completions of 8."""
    return [random_group((*PREFIX, *random_ids(10, seed=1 + k)), [8] * rollouts) for k in range(n)]


def tree_of(groups: list[Group]) -> TrainingTree:
    return training_tree([(group, rollout) for group in groups for rollout in group.rollouts])


def train(policy: Policy, training: TrainingTree, *, budget: int) -> None:
    forward = TreeForward(policy.hidden, training.tree, device=CPU)
    for step in schedule_passes(training.tree, budget=budget):
        hidden, last = forward.hidden(step)
        batch = micro_batch(training, step, last, device=CPU)
        if batch is not None:
            logprobs_N, _ = policy.logprobs_and_entropies(hidden[batch.rows_N], batch.targets_N, temperature=1.0)
            logprobs_N.sum().backward()
    forward.close()


@pytest.mark.parametrize("budget", [10_000, 100, 35])
def test_each_token_goes_through_the_model_once(policy: Policy, budget: int) -> None:
    seen: list[Tensor] = []
    policy.model.get_input_embeddings().register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    training = tree_of(problems(3, rollouts=6))
    train(policy, training, budget=budget)
    assert max(map(len, seen)) <= budget
    assert len(seen) == len(schedule_passes(training.tree, budget=budget))
    assert torch.cat(seen).tolist() == [token for node in training.tree for token in node.ids]
    assert sum(map(len, seen)) == 30 + 3 * 10 + 3 * 6 * 7, "the last token of a completion predicts nothing"


class _Saved:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def most_saved(policy: Policy, groups: list[Group], *, budget: int) -> int:
    """The most numbers that autograd graphs hold at a time."""
    alive: weakref.WeakSet[_Saved] = weakref.WeakSet()
    most = 0

    def pack(tensor: Tensor) -> _Saved:
        nonlocal most
        saved = _Saved(tensor)
        alive.add(saved)
        most = max(most, sum(each.tensor.numel() for each in alive if not isinstance(each.tensor, torch.nn.Parameter)))
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        train(policy, tree_of(groups), budget=budget)
    return most


def test_memory_does_not_grow_with_rollouts_or_problems(policy: Policy) -> None:
    budget = 60
    few = most_saved(policy, problems(2, rollouts=16), budget=budget)
    assert most_saved(policy, problems(2, rollouts=32), budget=budget) == few
    assert most_saved(policy, problems(4, rollouts=16), budget=budget) == few
    assert most_saved(policy, problems(2, rollouts=16), budget=10_000) > 2 * few
