"""Surrogates and estimators of the KL divergence: numbers worked out by hand, and properties."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlvr.config.compose import compose
from rlvr.config.schema import AlgoConfig
from rlvr.errors import ConfigError
from rlvr.runs.plan import plan
from rlvr.training import losses
from rlvr.training.kl import kl_estimate

VARIANTS = [(ratio, surrogate) for ratio in ("token", "sequence") for surrogate in ("clip", "cispo")]
variants = pytest.mark.parametrize(("ratio", "surrogate"), VARIANTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Packed tokens of a few rollouts, in float64."""

    logprobs_N: Tensor
    old_logprobs_N: Tensor
    advantages_R: Tensor
    rollout_N: Tensor

    def loss(self, **options: object) -> tuple[list[float], list[float], list[bool]]:
        """Loss, gradient by log-probability, and whether clipped, of every token."""
        logprobs_N = self.logprobs_N.clone().requires_grad_()
        loss_N, clipped_N = losses.policy_loss(
            logprobs_N,
            self.old_logprobs_N,
            advantages_R=self.advantages_R,
            rollout_N=self.rollout_N,
            **{"ratio": "token", "surrogate": "clip", "clip_low": 0.2, "clip_high": 0.3, **options},  # type: ignore[arg-type]
        )
        (slope_N,) = torch.autograd.grad(loss_N.sum(), logprobs_N)
        return loss_N.tolist(), slope_N.tolist(), clipped_N.tolist()


def tokens(ratios: list[list[float]], advantages: list[float], old: float = -1.0) -> Tokens:
    """Rollouts by the ratios of their tokens, all of which had log-probability `old`."""
    old_logprobs_N = torch.full((sum(map(len, ratios)),), old, dtype=torch.float64)
    log_ratio_N = torch.tensor([math.log(each) for rollout in ratios for each in rollout], dtype=torch.float64)
    return Tokens(
        logprobs_N=old_logprobs_N + log_ratio_N,
        old_logprobs_N=old_logprobs_N,
        advantages_R=torch.tensor(advantages, dtype=torch.float64),
        rollout_N=torch.arange(len(ratios)).repeat_interleave(torch.tensor([len(rollout) for rollout in ratios])),
    )


# Two rollouts of two tokens; the clip is at 0.8 and 1.3. The ratio of a sequence is the geometric mean.
EXAMPLE = tokens([[1.5, 0.9], [0.5, 1.1]], [2.0, -1.0])
UP, DOWN = math.sqrt(1.5 * 0.9), math.sqrt(0.5 * 1.1)  # 1.162 and 0.742


@pytest.mark.parametrize(
    ("ratio", "surrogate", "loss", "slope", "clipped"),
    [
        # good and already too likely: no more push; bad and already too rare: no more push; else -ratio x advantage
        ("token", "clip", [-2.6, -1.8, 0.8, 1.1], [0.0, -1.8, 0.0, 1.1], [True, False, True, False]),
        ("sequence", "clip", [-2 * UP, -2 * UP, 0.8, 0.8], [-2 * UP, -2 * UP, 0.0, 0.0], [False, False, True, True]),
        (
            "token",
            "cispo",
            [-2.6 * (math.log(1.5) - 1), -1.8 * (math.log(0.9) - 1), 0.8 * (math.log(0.5) - 1), 1.1 * (math.log(1.1) - 1)],
            [-2.6, -1.8, 0.8, 1.1],
            [True, False, True, False],
        ),
        (
            "sequence",
            "cispo",
            [
                -2 * UP * (math.log(1.5) - 1),
                -2 * UP * (math.log(0.9) - 1),
                0.8 * (math.log(0.5) - 1),
                0.8 * (math.log(1.1) - 1),
            ],
            [-2 * UP, -2 * UP, 0.8, 0.8],
            [False, False, True, True],
        ),
    ],
)
def test_worked_numbers(ratio: str, surrogate: str, loss: list[float], slope: list[float], clipped: list[bool]) -> None:
    got = EXAMPLE.loss(ratio=ratio, surrogate=surrogate)
    assert got[0] == pytest.approx(loss)
    assert got[1] == pytest.approx(slope)
    assert got[2] == clipped


def test_what_was_pushed_the_wrong_way_is_pushed_back_in_full() -> None:
    assert tokens([[1.5]], [-1.0]).loss()[1:] == ([pytest.approx(1.5)], [False])  # bad but likelier
    assert tokens([[0.5]], [1.0]).loss()[1:] == ([pytest.approx(-0.5)], [False])  # good but rarer


@variants
def test_a_rollout_without_advantage_is_neither_pushed_nor_counted_as_clipped(ratio: str, surrogate: str) -> None:
    loss, slope, clipped = tokens([[1.5, 9.0], [0.1]], [0.0, 0.0]).loss(ratio=ratio, surrogate=surrogate)
    assert loss == slope == [0.0] * 3
    assert clipped == [False] * 3


def batch_loss(algo: AlgoConfig, example: Tokens) -> float:
    """As an update adds it up: every token weighs what `loss_weights` says of its rollout."""
    lengths_R = torch.bincount(example.rollout_N)
    loss_N, _ = losses.policy_loss(
        example.logprobs_N,
        example.old_logprobs_N,
        advantages_R=example.advantages_R,
        rollout_N=example.rollout_N,
        ratio=algo.ratio,
        surrogate=algo.surrogate,
        clip_low=algo.clip_low,
        clip_high=algo.clip_high,
    )
    weight_R = losses.loss_weights(
        lengths_R,
        aggregation=algo.aggregation,
        n_rollouts=len(lengths_R),
        n_tokens=int(lengths_R.sum()),
        max_length=algo.max_new_tokens,
    )
    return float((loss_N * weight_R[example.rollout_N]).sum())


@pytest.mark.parametrize(
    ("algo", "expected"),
    [
        ("grpo", ((1.2 + 0.9) / 2 - 1.1) / -2),  # mean over tokens, then over rollouts
        ("dr_grpo", (1.2 + 0.9 - 1.1) / -(2 * 64)),  # sum over tokens, by rollouts and the longest there may be
        ("dapo", (1.28 + 0.9 - 1.1) / -3),  # mean over all tokens; clips higher
        ("gspo", (1.0004 - 1.1) / -2),  # one ratio a rollout: sqrt(1.5 x 0.9), clipped, and 1.1
        ("cispo", (1.5 * (math.log(1.5) - 1) + 0.9 * (math.log(0.9) - 1) - 1.1 * (math.log(1.1) - 1)) / -3),  # caps at 5
    ],
)
def test_the_loss_of_each_named_algorithm(algo: str, expected: float) -> None:
    """Ratios 1.5, 0.9 with advantage 1 and 1.1 with advantage -1."""
    options = compose([f"algo={algo}", "algo.max_new_tokens=64"]).algo
    assert batch_loss(options, tokens([[1.5, 0.9], [1.1]], [1.0, -1.0])) == pytest.approx(expected)


@st.composite
def any_tokens(draw: st.DrawFn, max_length: int = 4) -> Tokens:
    """Rollouts of ratios well below and above the clips."""
    ratios = draw(st.lists(st.lists(st.floats(0.2, 5.0), min_size=1, max_size=max_length), min_size=1, max_size=4))
    advantage = st.integers(-300, 300).map(lambda hundredths: hundredths / 100)
    advantages = draw(st.lists(advantage, min_size=len(ratios), max_size=len(ratios)))
    return tokens(ratios, advantages, old=draw(st.floats(-8, -0.1)))


@variants
def test_on_policy_every_variant_is_the_policy_gradient(ratio: str, surrogate: str) -> None:
    """Ratios of 1: the gradient is -A for every token of a rollout, whichever its length, and nothing is clipped."""
    _, slope, clipped = tokens([[1.0], [1.0, 1.0, 1.0]], [0.7, -0.4]).loss(ratio=ratio, surrogate=surrogate)
    assert slope == pytest.approx([-0.7, 0.4, 0.4, 0.4])
    assert clipped == [False] * 4


@variants
@given(example=any_tokens())
def test_a_batch_is_the_sum_of_its_parts(ratio: str, surrogate: str, example: Tokens) -> None:
    """Loss, gradient and clips of a rollout are the same alone and among others."""
    loss, slope, clipped = example.loss(ratio=ratio, surrogate=surrogate)
    for rollout in range(len(example.advantages_R)):
        at = (example.rollout_N == rollout).nonzero().flatten()
        alone = Tokens(
            logprobs_N=example.logprobs_N[at],
            old_logprobs_N=example.old_logprobs_N[at],
            advantages_R=example.advantages_R[rollout : rollout + 1],
            rollout_N=torch.zeros_like(at),
        ).loss(ratio=ratio, surrogate=surrogate)
        assert alone[0] == pytest.approx([loss[i] for i in at])
        assert alone[1] == pytest.approx([slope[i] for i in at])
        assert alone[2] == [clipped[i] for i in at]


@pytest.mark.parametrize("surrogate", ["clip", "cispo"])
@given(example=any_tokens(max_length=1))
def test_a_sequence_of_one_token_has_the_ratio_of_the_token(surrogate: str, example: Tokens) -> None:
    assert example.loss(ratio="sequence", surrogate=surrogate) == example.loss(ratio="token", surrogate=surrogate)


@given(example=any_tokens())
def test_the_tokens_of_a_sequence_share_its_ratio(example: Tokens) -> None:
    for values in example.loss(ratio="sequence"):
        for rollout in range(len(example.advantages_R)):
            assert len({values[i] for i in (example.rollout_N == rollout).nonzero().flatten()}) == 1


@pytest.mark.parametrize("ratio", ["token", "sequence"])
@given(example=any_tokens())
def test_clipping_takes_the_whole_gradient_or_none_of_it(ratio: str, example: Tokens) -> None:
    loss, slope, clipped = example.loss(ratio=ratio, surrogate="clip")
    unbounded = example.loss(ratio=ratio, surrogate="clip", clip_low=1.0, clip_high=math.inf)
    assert not any(unbounded[2])
    for i, took in enumerate(clipped):
        assert slope[i] == (0.0 if took else pytest.approx(unbounded[1][i]))
        assert loss[i] > unbounded[0][i] if took else loss[i] == unbounded[0][i]  # never better than without clipping


@pytest.mark.parametrize("ratio", ["token", "sequence"])
@given(example=any_tokens())
def test_cispo_bounds_every_gradient_and_loses_none(ratio: str, example: Tokens) -> None:
    _, slope, clipped = example.loss(ratio=ratio, surrogate="cispo")
    _, unbounded, _ = example.loss(ratio=ratio, surrogate="cispo", clip_low=1.0, clip_high=math.inf)
    for i, advantage in enumerate(example.advantages_R[example.rollout_N].tolist()):
        assert slope[i] * advantage <= 0
        assert 0.8 * abs(advantage) - 1e-12 <= abs(slope[i]) <= 1.3 * abs(advantage) + 1e-12
        assert clipped[i] or slope[i] == unbounded[i]


POLICY, REFERENCE = [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]


def kl_and_slope(estimator: str) -> tuple[float, Tensor]:
    """On average over samples of the policy, and the gradient of that average by the logits with the samples fixed."""
    logits_V = torch.tensor(POLICY, dtype=torch.float64).log().requires_grad_()
    logprobs_V = logits_V.log_softmax(dim=0)
    kl_V = kl_estimate(logprobs_V, torch.tensor(REFERENCE, dtype=torch.float64).log(), estimator=estimator)
    mean = (torch.tensor(POLICY, dtype=torch.float64) * kl_V).sum()
    (slope_V,) = torch.autograd.grad(mean, logits_V)
    return float(mean.detach()), slope_V


def divergence_and_slope(*, reverse: bool) -> tuple[float, Tensor]:
    """KL(policy || reference) if reverse, else KL(reference || policy), and its gradient by the policy's logits."""
    logits_V = torch.tensor(POLICY, dtype=torch.float64).log().requires_grad_()
    logprobs_V, reference_V = logits_V.log_softmax(dim=0), torch.tensor(REFERENCE, dtype=torch.float64)
    difference_V = logprobs_V - reference_V.log()
    divergence = (logprobs_V.exp() * difference_V).sum() if reverse else -(reference_V * difference_V).sum()
    (slope_V,) = torch.autograd.grad(divergence, logits_V)
    return float(divergence.detach()), slope_V


def test_kl_estimates_by_hand() -> None:
    """The policy gives a token twice the reference's probability, then half of it, then the same."""
    logprobs_N = torch.tensor([0.5, 0.25, 0.3], dtype=torch.float64).log()
    reference_logprobs_N = torch.tensor([0.25, 0.5, 0.3], dtype=torch.float64).log()
    log2 = math.log(2)
    for estimator, expected in {
        "k1": [log2, -log2, 0.0],
        "k2": [log2**2 / 2, log2**2 / 2, 0.0],
        "k3": [0.5 - 1 + log2, 2 - 1 - log2, 0.0],
    }.items():
        assert kl_estimate(logprobs_N, reference_logprobs_N, estimator=estimator).tolist() == pytest.approx(expected)


def test_which_kl_estimates_are_unbiased() -> None:
    divergence, _ = divergence_and_slope(reverse=True)
    assert kl_and_slope("k1")[0] == pytest.approx(divergence)
    assert kl_and_slope("k3")[0] == pytest.approx(divergence)
    assert kl_and_slope("k2")[0] != pytest.approx(divergence, rel=0.01)


def test_what_the_kl_estimates_push_towards() -> None:
    """The docstring's claims: k1 nowhere, k2 down KL(policy || reference), k3 down KL(reference || policy)."""
    assert kl_and_slope("k1")[1].tolist() == pytest.approx([0.0] * 3)
    assert kl_and_slope("k2")[1].tolist() == pytest.approx(divergence_and_slope(reverse=True)[1].tolist())
    assert kl_and_slope("k3")[1].tolist() == pytest.approx(divergence_and_slope(reverse=False)[1].tolist())


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k2_and_k3_are_never_negative_and_agree_near_zero(logprob: float, reference: float) -> None:
    pair = torch.tensor([logprob], dtype=torch.float64), torch.tensor([reference], dtype=torch.float64)
    k2, k3 = (float(kl_estimate(*pair, estimator=estimator)) for estimator in ("k2", "k3"))
    assert k2 >= 0
    assert k3 >= -1e-15  # rounding of 1 - 1
    if abs(logprob - reference) < 0.01:
        assert k3 == pytest.approx(k2, rel=0.01, abs=1e-12)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("algo.ratio=tokn", "algo.ratio=tokn: there is no such choice; did you mean token? (allowed: token, sequence)"),
        ("algo.surrogate=ppo", "algo.surrogate=ppo: there is no such choice; did you mean cispo? (allowed: clip, cispo)"),
        ("algo.kl=k4", "algo.kl=k4: there is no such choice"),
        ("algo.deviation=smple", "algo.deviation=smple: there is no such choice; did you mean sample?"),
        ("algo.micro_batch_tokens=0", "algo.micro_batch_tokens=0: must be at least 1"),
        ("algo.mask_truncated=maybe", "algo.mask_truncated=maybe: Value 'maybe' is not a valid bool"),
        ("algo=gpso", "algo=gpso: there is no such choice; did you mean gspo?"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(compose([override]))
    assert message in str(caught.value)
