"""Updates on a batch: their forward passes, clipping, and metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from learning import as_sampled, copy_of, gradient, groups, moved, tokens_seen, tree_tokens
from random_models import plain_logprobs
from sampled import sampled

from rlvr.config.schema import AlgoConfig
from rlvr.models.policy import Policy
from rlvr.models.prefix_tree.layout import schedule_passes
from rlvr.training.batch import taking_part, training_tree
from rlvr.training.learner import Learner


@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("budget", [10_000, 60])
@pytest.mark.parametrize("beta", sampled([0.1, 0.0]))
def test_no_forward_is_wasted(tiny: Policy, updates: int, budget: int, beta: float) -> None:
    """One pass of the policy in each update, old log-probabilities from the first; one of the reference in each batch."""
    batch, reference = groups(tiny), moved(tiny)
    passes = len(schedule_passes(training_tree(taking_part(batch)).tree, budget=budget))
    seen, seen_by_reference = tokens_seen(tiny), tokens_seen(reference)
    algo = AlgoConfig(updates_per_batch=updates, micro_batch_tokens=budget, beta=beta)
    Learner(tiny, algo, Accelerator(cpu=True), reference if beta else None).update(batch)
    assert (len(seen), sum(seen)) == (updates * passes, updates * tree_tokens(batch))
    assert len(seen_by_reference) == (passes if beta else 0)
    assert tiny.version == updates


def test_old_logprobs_are_those_before_the_first_update(tiny64: Policy) -> None:
    """The second of two updates against its loss written out: the ratio is to the policy that sampled, and is clipped."""
    batch = groups(tiny64)
    algo = AlgoConfig(
        updates_per_batch=2,
        learning_rate=1e-3,
        warmup_steps=0,
        max_grad_norm=1e9,
        clip_low=0.05,
        clip_high=0.1,
        aggregation="token_mean",
        micro_batch_tokens=60,
    )
    first = copy_of(tiny64)
    Learner(first, replace(algo, updates_per_batch=1), Accelerator(cpu=True), None).update(batch)
    losses, clipped = [], []
    for group in batch:
        for rollout in group.rollouts:
            with torch.no_grad():
                old_T = plain_logprobs(tiny64.model, group, rollout)
            ratio_T = (plain_logprobs(first.model, group, rollout) - old_T).exp()
            clamped_T = ratio_T.clamp(0.95, 1.1)
            losses.append(-torch.minimum(ratio_T * rollout.advantage, clamped_T * rollout.advantage))
            clipped.append(clamped_T * rollout.advantage < ratio_T * rollout.advantage)
    first.model.zero_grad()
    torch.cat(losses).mean().backward()
    wanted = torch.cat([p.grad.flatten() for p in first.model.parameters() if p.grad is not None])
    both = copy_of(tiny64)
    metrics = Learner(both, algo, Accelerator(cpu=True), None).update(batch)
    assert metrics["policy/grad_norm"] == pytest.approx(float(wanted.norm()), rel=1e-6)
    share = float(torch.cat(clipped).double().mean())
    assert share > 0.0
    assert metrics["policy/clip_fraction"] == pytest.approx(share / 2), "of both updates, and nothing is clipped in the first"


def test_metrics(tiny64: Policy) -> None:
    policy, reference = copy_of(tiny64), moved(tiny64)
    batch = as_sampled(policy, groups(policy))
    algo = AlgoConfig(beta=0.3, aggregation="token_mean", micro_batch_tokens=60, max_grad_norm=1e9)
    advantages, differences = [], []
    with torch.no_grad():
        for group in batch:
            for rollout in group.rollouts:
                differences.append(
                    plain_logprobs(reference.model, group, rollout) - plain_logprobs(policy.model, group, rollout)
                )
                advantages += [rollout.advantage] * len(rollout.token_ids)
    difference_N = torch.cat(differences)
    kl = float((difference_N.exp() - difference_N - 1).mean())
    assert kl > 0.0
    norm = gradient(policy, batch, None, aggregation="token_mean").norm()
    metrics = Learner(policy, algo, Accelerator(cpu=True), reference).update(batch)
    assert metrics["policy/kl"] == pytest.approx(kl, rel=1e-6)
    assert metrics["policy/loss"] == pytest.approx(0.3 * kl - sum(advantages) / len(advantages), rel=1e-6)
    assert metrics["policy/clip_fraction"] == 0.0
    assert metrics["rollout/logprob_mismatch"] <= 1e-6
    without = Learner(copy_of(tiny64), replace(algo, beta=0.0), Accelerator(cpu=True), None).update(batch)
    assert without["policy/grad_norm"] == pytest.approx(float(norm), rel=1e-6)
    assert without["policy/kl"] == 0.0


@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_mismatch_is_between_sampler_and_trainer(tiny: Policy, updates: int, temperature: float) -> None:
    """Whatever later updates have changed."""
    algo = AlgoConfig(updates_per_batch=updates, learning_rate=1e-3, warmup_steps=0, temperature=temperature)
    for off in (0.0, 0.25):
        policy = copy_of(tiny)
        batch = as_sampled(policy, groups(policy), off=off, temperature=temperature)
        metrics = Learner(policy, algo, Accelerator(cpu=True), None).update(batch)
        assert metrics["rollout/logprob_mismatch"] == pytest.approx(off, abs=1e-5)


def test_kl_holds_the_policy_back(tiny: Policy) -> None:
    reference = copy_of(tiny)
    distance = {}
    for beta in (0.0, 10.0):
        policy = copy_of(tiny)
        algo = AlgoConfig(beta=beta, learning_rate=3e-4, warmup_steps=0)
        learner = Learner(policy, algo, Accelerator(cpu=True), reference if beta else None)
        first = learner.update(groups(policy))
        for _ in range(2):
            last = learner.update(groups(policy))
        assert first["policy/kl"] == 0.0
        assert (last["policy/kl"] > 0.0) == (beta > 0)
        pairs = zip(policy.model.parameters(), reference.model.parameters(), strict=True)
        with torch.no_grad():
            distance[beta] = sum(float((p - q).square().sum()) for p, q in pairs)
    assert distance[10.0] < distance[0.0]


def test_learning_rate_warms_up(tiny: Policy) -> None:
    learner = Learner(tiny, AlgoConfig(learning_rate=1.0e-5, warmup_steps=4), Accelerator(cpu=True), None)
    rates = []
    for _ in range(6):
        rates.append(learner.learning_rate)
        learner.update(groups(tiny, 1))
    assert rates == pytest.approx([0.25e-5, 0.5e-5, 0.75e-5, 1e-5, 1e-5, 1e-5])
