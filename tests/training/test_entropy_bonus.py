"""The entropy bonus: its gradient, the weights of tokens, its cost, and its effect."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from accelerate import Accelerator
from learning import copy_of, gradient, groups, moved, tokens_seen, tree_tokens
from random_models import plain_entropies
from sampled import sampled
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from conftest import choices, with_rewards
from rlvr.config.compose import compose
from rlvr.config.schema import AlgoConfig
from rlvr.errors import ConfigError
from rlvr.models import logprobs
from rlvr.models.policy import Policy
from rlvr.runs.plan import plan
from rlvr.training.learner import Learner
from rlvr.types import Group

BONUS = 0.3


def all_entropies(policy: Policy, batch: Sequence[Group], *, temperature: float = 1.0) -> list[Tensor]:
    plain = copy_of(policy)
    return [plain_entropies(plain.model, group, r, temperature=temperature) for group in batch for r in group.rollouts]


def gradient_of(policy: Policy, loss: Tensor) -> Tensor:
    grads = torch.autograd.grad(loss, list(policy.model.parameters()), allow_unused=True)
    return torch.cat([grad.flatten() for grad in grads if grad is not None])


@pytest.mark.parametrize("temperature", sampled([0.6, 1.0]))
@pytest.mark.parametrize("aggregation", choices("aggregation"))
def test_the_gradient_is_the_loss_less_the_mean_entropy(tiny64: Policy, aggregation: str, temperature: float) -> None:
    """Tokens count in the mean as they do in the loss."""
    batch, plain = groups(tiny64, 2), copy_of(tiny64)
    rows = [plain_entropies(plain.model, group, r, temperature=temperature) for group in batch for r in group.rollouts]
    mean = {
        "sequence_mean": sum(row.mean() for row in rows) / len(rows),
        "token_mean": torch.cat(rows).mean(),
        "max_length": torch.cat(rows).sum() / (len(rows) * 50),
    }[aggregation]
    assert isinstance(mean, Tensor)
    options = {"aggregation": aggregation, "temperature": temperature, "max_new_tokens": 50, "micro_batch_tokens": 60}
    without = gradient(tiny64, batch, **options)
    wanted = without - BONUS * gradient_of(plain, mean)
    found = gradient(tiny64, batch, entropy_bonus=BONUS, **options)
    assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()
    assert (found - without).abs().max() >= 1e-3 * without.abs().max(), "or this measures nothing"


@pytest.mark.parametrize("logits_at_a_time", [1, 5000])
def test_neither_passes_nor_chunks_change_the_gradient(
    tiny64: Policy, logits_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = groups(tiny64)
    whole = gradient(tiny64, batch, moved(tiny64), entropy_bonus=BONUS, micro_batch_tokens=10_000)
    monkeypatch.setattr(logprobs, "CHUNK", logits_at_a_time)
    for budget in (1, 60):
        split = gradient(tiny64, batch, moved(tiny64), entropy_bonus=BONUS, micro_batch_tokens=budget)
        assert (split - whole).abs().max() <= 1e-6 * whole.abs().max()


def test_rollouts_without_an_advantage_have_an_entropy_too(tiny: Policy) -> None:
    """So they go through the model, unlike without the bonus."""
    batch = [with_rewards(group, [0.5] * 5) for group in groups(tiny)]
    seen = tokens_seen(tiny)
    Learner(tiny, AlgoConfig(), Accelerator(cpu=True), None).update(batch)
    assert not seen
    metrics = Learner(tiny, AlgoConfig(entropy_bonus=BONUS), Accelerator(cpu=True), None).update(batch)
    assert sum(seen) == tree_tokens(batch)
    assert metrics["policy/grad_norm"] > 0.0
    entropy = float(torch.stack([row.detach().mean() for row in all_entropies(tiny, batch)]).mean())
    assert metrics["policy/loss"] == pytest.approx(-BONUS * entropy, rel=1e-2), "of the weights before the update"


def test_masked_rollouts_have_no_part_in_it(tiny: Policy) -> None:
    batch = [with_rewards(group, [None] * 5) for group in groups(tiny)]
    seen = tokens_seen(tiny)
    metrics = Learner(tiny, AlgoConfig(entropy_bonus=BONUS), Accelerator(cpu=True), None).update(batch)
    assert not seen
    assert metrics["policy/grad_norm"] == 0.0


def test_it_adds_no_matrix_product(tiny: Policy) -> None:
    """Neither in the layers below nor in the output layer, forward or backward."""
    flops = {}
    for bonus in (0.0, BONUS):
        policy = copy_of(tiny)
        batch = groups(policy)
        with FlopCounterMode(display=False) as counter:
            Learner(policy, AlgoConfig(entropy_bonus=bonus), Accelerator(cpu=True), None).update(batch)
        flops[bonus] = counter.get_total_flops()
    assert flops[0.0] == flops[BONUS]
    output_layer = (
        2
        * tiny.model.get_output_embeddings().weight.numel()
        * sum(len(rollout.token_ids) for group in batch for rollout in group.rollouts)
    )
    assert flops[0.0] > 3 * output_layer, "or it counts too little to notice one more"


def test_it_raises_the_entropy(tiny: Policy) -> None:
    """Where all rewards are equal, it alone moves the weights."""
    batch = [with_rewards(group, [0.5] * 5) for group in groups(tiny)]
    before = float(torch.cat(all_entropies(tiny, batch)).detach().mean())
    learner = Learner(tiny, AlgoConfig(entropy_bonus=1.0, learning_rate=3e-4, warmup_steps=0), Accelerator(cpu=True), None)
    losses = [learner.update(batch)["policy/loss"] for _ in range(3)]
    after = float(torch.cat(all_entropies(tiny, batch)).detach().mean())
    assert after > before
    assert losses == sorted(losses, reverse=True)


def test_without_it_nothing_changes(tiny: Policy) -> None:
    """To the bit, and no entropy is computed."""
    hidden_MW = torch.randn(3, tiny.model.config.hidden_size)
    targets_M = torch.tensor([1, 2, 3])
    logprobs_M, none = tiny.logprobs_and_entropies(hidden_MW, targets_M, temperature=0.7, entropies=False)
    assert none is None
    also_M, entropies_M = tiny.logprobs_and_entropies(hidden_MW, targets_M, temperature=0.7)
    assert torch.equal(logprobs_M, also_M)
    assert entropies_M is not None
    assert torch.allclose(entropies_M, torch.distributions.Categorical(logits=tiny.logits(hidden_MW) / 0.7).entropy())


def test_it_cannot_be_negative() -> None:
    with pytest.raises(ConfigError, match=r"algo.entropy_bonus=-0.1: must be at least 0"):
        plan(compose(["algo.entropy_bonus=-0.1"]))
