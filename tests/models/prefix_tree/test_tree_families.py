"""The gradient of every parameter through a tree, against the model's plain forward pass over each text.

In float64, but transformers computes RMSNorm, and the softmax of Gemma2, in float32 whatever the model. Log-probabilities
agree all the same; gradients are rounded to float32 in the norms, before or after those of shared tokens are summed, which
makes a difference of about 1e-7. StarCoder2, whose norms stay in float64, shows that nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import pytest
import torch
from random_models import FAMILIES, plain_logprobs, random_group, random_ids, random_model
from sampled import sampled
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlvr.models.load import as_policy
from rlvr.models.policy import Policy
from rlvr.models.prefix_tree.forward import TreeForward
from rlvr.models.prefix_tree.layout import schedule_passes
from rlvr.training.batch import micro_batch, training_tree
from rlvr.types import Group

CPU = torch.device("cpu")
EXACT = {"starcoder2": 1e-12, "gemma2": 3e-6}
"""Tolerance relative to the largest gradient of a parameter; 1e-6 for other families."""

PREFIX = random_ids(9, seed=1)
WITH_PREFIX = [
    random_group((*PREFIX, *random_ids(4, seed=2)), [6, 1, 9, 2]),
    random_group((*PREFIX, *random_ids(7, seed=3)), [12, 5, 7]),
    random_group((*PREFIX, 5), [3, 3]),
]
WITHOUT = [random_group(random_ids(6, seed=4), [5, 8, 1]), random_group(random_ids(9, seed=5), [4, 10])]
TWICE = [random_group(random_ids(6, seed=6), [5, 4], seed=n) for n in range(2)]
SHAPES = {
    "shared prefix": WITH_PREFIX,
    "no shared prefix": WITHOUT,
    "a prompt twice": TWICE,
    "one problem": WITH_PREFIX[:1],
    "one rollout": [random_group(PREFIX, [7])],
    "one token each": [random_group((*PREFIX, 5), [1, 1]), random_group((*PREFIX, 6), [1])],
    "prompts of one token": [random_group((5,), [3, 4]), random_group((6,), [2])],
}
BUDGETS = {"one pass": 10_000, "many passes": 45, "split groups": 13, "a node a pass": 1}


def weight(group: int, rollout: int, length: int) -> Tensor:
    """A different weight for every token."""
    return torch.sin(torch.arange(length, dtype=torch.float64) + 10 * rollout + 100 * group)


@cache
def plain(family: str, shape: str) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Log-probabilities of every rollout and gradients of their weighted sum, text by text."""
    model = random_model(family)
    found = []
    for g, group in enumerate(SHAPES[shape]):
        for r, rollout in enumerate(group.rollouts):
            logprobs_T = plain_logprobs(model, group, rollout)
            (logprobs_T * weight(g, r, len(logprobs_T))).sum().backward()
            found.append(logprobs_T.detach())
    return found, gradients(model)


def gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def through_a_tree(policy: Policy, groups: Sequence[Group], *, budget: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The same by passes of a tree."""
    training = training_tree([(group, rollout) for group in groups for rollout in group.rollouts])
    weights = {
        id(rollout): weight(g, r, len(rollout.token_ids))
        for g, group in enumerate(groups)
        for r, rollout in enumerate(group.rollouts)
    }
    forward = TreeForward(policy.hidden, training.tree, device=CPU)
    found: list[Tensor] = []
    for step in schedule_passes(training.tree, budget=budget):
        hidden, last = forward.hidden(step)
        batch = micro_batch(training, step, last, device=CPU)
        if batch is None:
            continue
        logprobs_N, _ = policy.logprobs_and_entropies(hidden[batch.rows_N], batch.targets_N, temperature=1.0)
        weight_N = torch.cat([weights[id(training.rollouts[i])] for i in step.nodes if i in training.rollouts])
        (logprobs_N * weight_N).sum().backward()
        found += logprobs_N.detach().split(batch.lengths_R.tolist())
    forward.close()
    return found, gradients(policy.model)


def assert_same(
    family: str, ours: tuple[list[Tensor], dict[str, Tensor]], wanted: tuple[list[Tensor], dict[str, Tensor]]
) -> None:
    for mine, theirs in zip(ours[0], wanted[0], strict=True):
        assert (mine - theirs).abs().max() <= (1e-6 if family == "gemma2" else 1e-12)
    assert ours[1].keys() == wanted[1].keys()
    for name, theirs in wanted[1].items():
        assert theirs.abs().max() > 0.0, name
        assert (ours[1][name] - theirs).abs().max() <= EXACT.get(family, 1e-6) * theirs.abs().max(), name


@pytest.fixture(scope="session")
def policy_of(tiny64: Policy) -> Callable[[str], Policy]:
    tokenizer: PreTrainedTokenizerBase = tiny64.tokenizer
    return lambda family: as_policy(random_model(family), tokenizer)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("family", sampled(FAMILIES, every=3))
def test_gradients_of_every_family(family: str, budget: str, policy_of: Callable[[str], Policy]) -> None:
    assert_same(family, through_a_tree(policy_of(family), WITH_PREFIX, budget=BUDGETS[budget]), plain(family, "shared prefix"))


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("shape", sampled([each for each in SHAPES if each != "shared prefix"], every=3))
@pytest.mark.parametrize("family", ["qwen2.5", "gemma2", "starcoder2"])
def test_gradients_of_trees_of_every_shape(family: str, shape: str, budget: str, policy_of: Callable[[str], Policy]) -> None:
    assert_same(family, through_a_tree(policy_of(family), SHAPES[shape], budget=BUDGETS[budget]), plain(family, shape))


@pytest.mark.parametrize("budget", ["one pass", "split groups"])
@pytest.mark.parametrize("family", ["qwen3", "gemma2", "starcoder2"])
def test_gradient_checkpointing_changes_nothing(family: str, budget: str, policy_of: Callable[[str], Policy]) -> None:
    policy = policy_of(family)
    policy.model.activation_checkpointing_enable({"use_reentrant": False})
    policy.model.train()
    calls = []
    policy.model.base_model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    ours = through_a_tree(policy, WITH_PREFIX, budget=BUDGETS[budget])
    training = training_tree([(group, rollout) for group in WITH_PREFIX for rollout in group.rollouts])
    assert len(calls) == 2 * len(schedule_passes(training.tree, budget=BUDGETS[budget])), "every layer is recomputed"
    assert_same(family, ours, plain(family, "shared prefix"))


def test_only_what_requires_a_gradient_gets_one(policy_of: Callable[[str], Policy]) -> None:
    """As with adapters: in the first layer values have a gradient here, and keys have none."""
    policy = policy_of("qwen2")
    chosen = ("layers.0.self_attn.v_proj.weight", "layers.1.mlp.up_proj.weight")
    for name, parameter in policy.model.named_parameters():
        parameter.requires_grad_(name.endswith(chosen))
    logprobs, wanted = plain("qwen2", "shared prefix")
    wanted = {name: gradient for name, gradient in wanted.items() if name.endswith(chosen)}
    for budget in BUDGETS.values():
        policy.model.zero_grad()
        assert_same("qwen2", through_a_tree(policy, WITH_PREFIX, budget=budget), (logprobs, wanted))


def test_without_gradients_nothing_is_kept_for_them(policy_of: Callable[[str], Policy]) -> None:
    with torch.no_grad():
        training = training_tree([(group, rollout) for group in WITH_PREFIX for rollout in group.rollouts])
        policy = policy_of("qwen2")
        forward = TreeForward(policy.hidden, training.tree, device=CPU)
        for step in schedule_passes(training.tree, budget=BUDGETS["split groups"]):
            hidden, _ = forward.hidden(step)
            assert not hidden.requires_grad
        forward.close()
    assert gradients(policy.model) == {}
