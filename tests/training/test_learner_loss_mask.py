"""Tokens that do not count in the loss (`Rollout.loss_mask`), against the loss and its metrics written out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from learning import copy_of, flat_gradient, gradient, groups, moved, update
from random_models import plain_entropies, plain_logprobs
from torch import Tensor

from conftest import choices
from rlvr.config.schema import AlgoConfig
from rlvr.models.policy import Policy
from rlvr.models.prefix_tree.forward import TreeForward
from rlvr.models.prefix_tree.layout import schedule_passes
from rlvr.training.batch import micro_batch, taking_part, training_tree
from rlvr.training.learner import Learner
from rlvr.types import Group, Rollout

CPU = torch.device("cpu")
CLIP_LOW, CLIP_HIGH, BETA, BONUS = 0.02, 0.03, 0.3, 0.2


def masked_with(group: Group, masks: Sequence[np.ndarray]) -> Group:
    """What is recorded of tokens that do not count is NaN."""
    rollouts = []
    for rollout, mask in zip(group.rollouts, masks, strict=True):
        logprobs = np.where(mask, rollout.logprobs, np.nan)
        rollouts.append(replace(rollout, loss_mask=mask, logprobs=logprobs, entropies=np.where(mask, 1.5, np.nan)))
    return replace(group, rollouts=tuple(rollouts))


def masked_groups(policy: Policy) -> list[Group]:
    """Every text twice, with tokens that do not count at the start, in the middle, at the end, everywhere, nowhere."""
    batch = []
    for k, group in enumerate(groups(policy)):
        masks = []
        for r, rollout in enumerate(group.rollouts):
            n = len(rollout.token_ids)
            at = np.arange(n)
            kinds = [at >= n // 2, (3 * at < n) | (3 * at >= 2 * n), 2 * at < n, at % 3 != 1, at >= 0, at == 0, at == n - 1]
            masks.append(kinds[(r + 3 * k) % len(kinds)])
        batch.append(masked_with(group, masks))
    return batch


def written_out(
    batch: Sequence[Group], algo: AlgoConfig, policy: Policy, old: Policy, reference: Policy | None
) -> tuple[Tensor, dict[str, float]]:
    """The loss and the means of metrics; each text separately through the model."""
    n_rollouts = sum(len(group.rollouts) for group in batch)
    n_tokens = sum(int(rollout.loss_mask.sum()) for group in batch for rollout in group.rollouts)
    total, kl, clipped = torch.zeros((), dtype=torch.float64), 0.0, 0.0
    for group in batch:
        for rollout in group.rollouts:
            counts = [t for t, each in enumerate(rollout.loss_mask.tolist()) if each]
            logprobs = plain_logprobs(policy.model, group, rollout, temperature=algo.temperature)[counts]
            with torch.no_grad():
                before = plain_logprobs(old.model, group, rollout, temperature=algo.temperature)[counts]
            log_ratio = logprobs - before
            if algo.ratio == "sequence":
                log_ratio = log_ratio.sum() / len(counts) * torch.ones(len(counts), dtype=torch.float64)
            gain = log_ratio.exp() * rollout.advantage
            bounded = log_ratio.exp().clamp(1 - CLIP_LOW, 1 + CLIP_HIGH) * rollout.advantage
            clipped += float((bounded < gain).sum())
            loss = -torch.minimum(gain, bounded)
            if reference is not None:
                with torch.no_grad():
                    theirs = plain_logprobs(reference.model, group, rollout, temperature=algo.temperature)[counts]
                estimate = (theirs - logprobs).exp() - (theirs - logprobs) - 1
                kl += float(estimate.detach().sum())
                loss = loss + BETA * estimate
            if algo.entropy_bonus:
                entropies = plain_entropies(policy.model, group, rollout, temperature=algo.temperature)[counts]
                loss = loss - BONUS * entropies
            weight = {
                "sequence_mean": 1 / (len(counts) * n_rollouts),
                "token_mean": 1 / n_tokens,
                "max_length": 1 / (50 * n_rollouts),
            }[algo.aggregation]
            total = total + weight * loss.sum()
    return total, {"policy/kl": kl / n_tokens, "policy/clip_fraction": clipped / n_tokens}


@pytest.mark.parametrize("aggregation", choices("aggregation"))
@pytest.mark.parametrize(("ratio", "with_kl", "bonus"), [("token", True, BONUS), ("sequence", False, 0.0)])
def test_loss_gradient_and_metrics_are_of_the_tokens_that_count(
    tiny64: Policy, aggregation: str, ratio: str, with_kl: bool, bonus: float
) -> None:
    """Of two updates on a batch, so that ratios other than 1 are seen as well."""
    batch, reference = masked_groups(tiny64), moved(tiny64, by=0.01) if with_kl else None
    algo = AlgoConfig(
        updates_per_batch=2,
        learning_rate=1e-3,
        warmup_steps=0,
        max_grad_norm=1e9,
        max_new_tokens=50,
        temperature=0.8,
        micro_batch_tokens=60,
        clip_low=CLIP_LOW,
        clip_high=CLIP_HIGH,
        aggregation=aggregation,
        ratio=ratio,
        beta=BETA if with_kl else 0.0,
        entropy_bonus=bonus,
    )
    once = copy_of(tiny64)
    update(once, batch, replace(algo, updates_per_batch=1), reference)
    wanted = []
    gradients = []
    for policy in (copy_of(tiny64), once):
        policy.model.zero_grad()
        loss, means = written_out(batch, algo, policy, tiny64, reference)
        loss.backward()
        wanted.append({"policy/loss": float(loss.detach()), **means})
        gradients.append(flat_gradient(policy))
    metrics, found = update(copy_of(tiny64), batch, algo, reference)
    for ours, theirs in zip(found, gradients, strict=True):
        assert (ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()
    for name in ("policy/loss", "policy/kl", "policy/clip_fraction"):
        assert metrics[name] == pytest.approx((wanted[0][name] + wanted[1][name]) / 2, rel=1e-6), name
    assert metrics["policy/clip_fraction"] > 0.0, "or the ratios show nothing"
    assert all(math.isfinite(value) for value in metrics.values())


def test_mismatch_is_of_the_tokens_that_count(tiny64: Policy) -> None:
    with torch.no_grad():
        batch = [
            replace(g, rollouts=tuple(replace(r, logprobs=plain_logprobs(tiny64.model, g, r) + 0.25) for r in g.rollouts))
            for g in groups(tiny64)
        ]
    batch = [masked_with(g, [r.loss_mask for r in m.rollouts]) for g, m in zip(batch, masked_groups(tiny64), strict=True)]
    metrics = Learner(copy_of(tiny64), AlgoConfig(), Accelerator(cpu=True), None).update(batch)
    assert metrics["rollout/logprob_mismatch"] == pytest.approx(0.25, abs=1e-5)


def test_micro_batches_hold_the_tokens_that_count(tiny64: Policy) -> None:
    """And the tree what they depend on: nothing from the last one on."""
    batch = masked_groups(tiny64)
    rollouts = [rollout for group in batch for rollout in group.rollouts]
    training = training_tree(taking_part(batch))
    for i, rollout in training.rollouts.items():
        needed = max(1, int(np.flatnonzero(rollout.loss_mask)[-1]))
        assert training.tree[i].ids.tolist() == rollout.token_ids[:needed].tolist()
    forward, seen = TreeForward(tiny64.hidden, training.tree, device=CPU), []
    with torch.no_grad():
        for step in schedule_passes(training.tree, budget=60):
            hidden, last = forward.hidden(step)
            part = micro_batch(training, step, last, device=CPU)
            if part is not None:
                assert len(part.rows_N) == len(part.targets_N) == len(part.sampling_logprobs_N) == int(part.lengths_R.sum())
                assert part.rows_N.max() < len(hidden)
                seen += part.targets_N.split(part.lengths_R.tolist())
    assert [each.tolist() for each in seen] == [rollout.token_ids[rollout.loss_mask].tolist() for rollout in rollouts]


def test_tokens_that_do_not_count_are_context_of_those_after_them(tiny64: Policy) -> None:
    """Others in their place change the gradient; after the last that counts they change nothing."""
    (group,) = groups(tiny64, 1)
    masks = [np.arange(len(r.token_ids)) % 2 == 1 for r in group.rollouts]
    inside = masked_with(group, masks)
    assert (gradient(tiny64, [inside]) - gradient(tiny64, [_with_others(inside)])).abs().max() > 1e-3
    trailing = masked_with(group, [np.arange(len(r.token_ids)) == 0 for r in group.rollouts])
    assert torch.equal(gradient(tiny64, [trailing]), gradient(tiny64, [_with_others(trailing, but=1)]))


def _with_others(group: Group, *, but: int = 0) -> Group:
    """Tokens that do not count replaced, except for the first `but`."""

    def other(rollout: Rollout) -> Rollout:
        free = ~rollout.loss_mask & (np.arange(len(rollout.token_ids)) >= but)
        return replace(rollout, token_ids=np.where(free, (rollout.token_ids + 100) % 512, rollout.token_ids))

    return replace(group, rollouts=tuple(map(other, group.rollouts)))


def test_a_mask_of_ones_changes_nothing(tiny64: Policy) -> None:
    batch = groups(tiny64)
    ones = [masked_with(group, [np.ones(len(r.token_ids), dtype=bool) for r in group.rollouts]) for group in batch]
    for options in ({"ratio": "sequence"}, {"aggregation": "token_mean", "entropy_bonus": BONUS}):
        assert torch.equal(gradient(tiny64, batch, **options), gradient(tiny64, ones, **options))


def test_staleness_is_the_mean_over_rollouts_that_count(tiny: Policy) -> None:
    """In updates, before this one."""
    tiny.version = 7
    (group,) = groups(tiny, 1)
    versions, rewards = (7, 7, 5, 1, 0), (1.0, 0.0, 0.5, 1.0, None)
    rollouts = [
        replace(r, policy_version=version, reward=reward)
        for r, version, reward in zip(group.rollouts, versions, rewards, strict=True)
    ]
    learner = Learner(tiny, AlgoConfig(updates_per_batch=2), Accelerator(cpu=True), None)
    metrics = learner.update([replace(group, rollouts=tuple(rollouts))])
    assert metrics["policy/staleness"] == (0 + 0 + 2 + 6) / 4
    assert list(metrics)[-1] == "policy/staleness"
    assert tiny.version == 9
    assert learner.update([replace(group, rollouts=())])["policy/staleness"] == 0.0
