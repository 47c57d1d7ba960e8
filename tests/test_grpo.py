"""The mathematics, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr import grpo

NAN = float("nan")


def advantages(*rewards: float, scaling: str = "group") -> list[float]:
    return grpo.group_advantages(torch.tensor([rewards], dtype=torch.float64), scaling=scaling)[0].tolist()


def test_worked_example() -> None:
    assert [f"{a:+.3f}" for a in advantages(1.1, 0.1, 0.0, 1.1)] == ["+0.998", "-0.903", "-1.093", "+0.998"]


@pytest.mark.parametrize("reward", [0.0, 1.1, 0.1, -3.0, 1e9])
@pytest.mark.parametrize("scaling", ["group", "batch", "none"])
def test_equal_rewards_give_exactly_zero(reward: float, scaling: str) -> None:
    assert advantages(*[reward] * 7, scaling=scaling) == [0.0] * 7


def test_masked_rollouts_take_no_part() -> None:
    masked = advantages(1.0, NAN, 0.0, NAN, 1.0)
    assert masked[1] == masked[3] == 0.0
    assert [masked[0], masked[2], masked[4]] == advantages(1.0, 0.0, 1.0)
    assert advantages(NAN, NAN) == [0.0, 0.0]
    assert advantages(NAN, 5.0, scaling="batch") == [0.0, 0.0]


def test_scalings() -> None:
    rewards = torch.tensor([[1.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    std = float(torch.tensor([1.0, 0.0, 4.0, 0.0]).double().std(correction=0))
    assert grpo.group_advantages(rewards, scaling="none").tolist() == [[0.5, -0.5], [2.0, -2.0]]
    assert grpo.group_advantages(rewards, scaling="group").flatten().tolist() == pytest.approx([1, -1, 1, -1], abs=1e-5)
    by_batch = grpo.group_advantages(rewards, scaling="batch").flatten().tolist()
    assert by_batch == pytest.approx([0.5 / std, -0.5 / std, 2 / std, -2 / std], abs=1e-5)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8), st.floats(0.1, 5), st.floats(-5, 5))
def test_advantages_are_centred_bounded_and_keep_the_order(rewards: list[float], scale: float, shift: float) -> None:
    result = advantages(*rewards)
    assert sum(result) == pytest.approx(0, abs=1e-6)
    assert max(map(abs, result)) <= math.sqrt(len(rewards)) + 1e-6  # the most a standardised value of n can be
    assert all(a <= b for a, b in zip(*[[result[i] for i in order] for order in _neighbours(rewards)], strict=True))
    if max(rewards) - min(rewards) > 0.1:  # where epsilon is negligible, scale and shift of the reward do not matter
        assert advantages(*[scale * r + shift for r in rewards]) == pytest.approx(result, abs=1e-3)


def _neighbours(rewards: list[float]) -> tuple[list[int], list[int]]:
    order = sorted(range(len(rewards)), key=rewards.__getitem__)
    return order[:-1], order[1:]


def test_loss_weights_add_up() -> None:
    lengths = [3, 5]
    common = {"n_rollouts": 2, "n_tokens": 8, "max_length": 10}
    by_sequence = [grpo.loss_weight(length=n, aggregation="sequence_mean", **common) for n in lengths]
    by_token = [grpo.loss_weight(length=n, aggregation="token_mean", **common) for n in lengths]
    by_constant = [grpo.loss_weight(length=n, aggregation="max_length", **common) for n in lengths]
    assert by_sequence == [1 / 6, 1 / 10]
    assert by_token == [1 / 8, 1 / 8]
    assert by_constant == [1 / 20, 1 / 20]


def loss_and_slope(log_ratio: float, advantage: float) -> tuple[float, float, bool]:
    logprobs = torch.tensor([[log_ratio - 1.0]], dtype=torch.float64, requires_grad=True)
    old, adv = torch.tensor([[-1.0]], dtype=torch.float64), torch.tensor([advantage], dtype=torch.float64)
    loss, clipped = grpo.policy_loss(logprobs, old, adv, clip_low=0.2, clip_high=0.3)
    loss.sum().backward()
    assert logprobs.grad is not None
    return loss.item(), logprobs.grad.item(), bool(clipped.item())


def test_surrogate_on_policy_is_the_policy_gradient() -> None:
    assert loss_and_slope(0.0, 0.7) == (-0.7, -0.7, False)
    assert loss_and_slope(0.0, -0.7) == (0.7, 0.7, False)


def test_surrogate_clips_only_what_goes_too_far() -> None:
    far_up, far_down = math.log(1.5), math.log(0.5)
    assert loss_and_slope(far_up, 1.0) == (-1.3, 0.0, True)  # good and already likelier: no more push
    assert loss_and_slope(far_down, -1.0) == (0.8, 0.0, True)  # bad and already rarer: no more push
    assert loss_and_slope(far_up, -1.0)[1:] == (pytest.approx(1.5), False)  # bad but likelier: full push back
    assert loss_and_slope(far_down, 1.0)[1:] == (pytest.approx(-0.5), False)


def test_k3_is_non_negative_and_unbiased() -> None:
    policy = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    reference = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    k3 = grpo.kl_k3(policy.log()[None], reference.log()[None])[0]
    assert (k3 >= 0).all()
    assert float((policy * k3).sum()) == pytest.approx(float((policy * (policy / reference).log()).sum()))
    assert grpo.kl_k3(policy.log()[None], policy.log()[None]).tolist() == [[0.0, 0.0, 0.0]]
