"""Advantages and the weights of tokens, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import choices
from rlvr.training import losses
from rlvr.training.advantages import group_advantages

NAN = float("nan")


def advantages(*rewards: float, scaling: str = "group", deviation: str = "population") -> list[float]:
    rewards_PG = torch.tensor([rewards], dtype=torch.float64)
    return group_advantages(rewards_PG, scaling=scaling, deviation=deviation)[0].tolist()


def test_worked_example() -> None:
    assert [f"{a:+.3f}" for a in advantages(1.1, 0.1, 0.0, 1.1)] == ["+0.998", "-0.903", "-1.093", "+0.998"]


@pytest.mark.parametrize("reward", [0.0, 1.1, 0.1, -3.0, 1e9])
@pytest.mark.parametrize("scaling", choices("scaling"))
@pytest.mark.parametrize("deviation", choices("deviation"))
def test_equal_rewards_give_exactly_zero(reward: float, scaling: str, deviation: str) -> None:
    assert advantages(*[reward] * 7, scaling=scaling, deviation=deviation) == [0.0] * 7


@pytest.mark.parametrize("scaling", choices("scaling"))
@pytest.mark.parametrize("deviation", choices("deviation"))
def test_masked_rollouts_take_no_part(scaling: str, deviation: str) -> None:
    masked = advantages(1.0, NAN, 0.0, NAN, 1.0, scaling=scaling, deviation=deviation)
    assert masked[1] == masked[3] == 0.0
    assert [masked[0], masked[2], masked[4]] == advantages(1.0, 0.0, 1.0, scaling=scaling, deviation=deviation)
    assert advantages(NAN, NAN, scaling=scaling, deviation=deviation) == [0.0, 0.0]
    assert advantages(NAN, 5.0, scaling=scaling, deviation=deviation) == [0.0, 0.0]


def test_scalings() -> None:
    rewards = torch.tensor([[1.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    std = float(torch.tensor([1.0, 0.0, 4.0, 0.0]).double().std(correction=0))
    assert group_advantages(rewards, scaling="none").tolist() == [[0.5, -0.5], [2.0, -2.0]]
    assert group_advantages(rewards, scaling="group").flatten().tolist() == pytest.approx([1, -1, 1, -1], abs=1e-5)
    by_batch = group_advantages(rewards, scaling="batch").flatten().tolist()
    assert by_batch == pytest.approx([0.5 / std, -0.5 / std, 2 / std, -2 / std], abs=1e-5)


def test_deviations() -> None:
    """Of 0, 0, 3: squares 1 + 1 + 4 = 6, by n = 3 or n - 1 = 2."""
    assert advantages(0.0, 0.0, 3.0) == pytest.approx([-1 / math.sqrt(2), -1 / math.sqrt(2), math.sqrt(2)], abs=1e-5)
    sample = [-1 / math.sqrt(3), -1 / math.sqrt(3), 2 / math.sqrt(3)]
    assert advantages(0.0, 0.0, 3.0, deviation="sample") == pytest.approx(sample, abs=1e-5)
    # One group is the whole batch here; the mask counts for neither n.
    assert advantages(0.0, NAN, 0.0, 3.0, scaling="batch", deviation="sample") == pytest.approx(
        [sample[0], 0.0, *sample[1:]], abs=1e-5
    )


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
    for aggregation, wanted in (
        ("sequence_mean", [1 / 6, 1 / 10]),
        ("token_mean", [1 / 8, 1 / 8]),
        ("max_length", [1 / 20, 1 / 20]),
    ):
        found_R = losses.loss_weights(torch.tensor([3, 5]), aggregation=aggregation, n_rollouts=2, n_tokens=8, max_length=10)
        assert found_R.tolist() == wanted
