"""Sampling by inversion of the cumulative distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.rollout.sampling import BLOCK, choose


def naive(logits: np.ndarray, uniform: float) -> int:
    weights = np.exp((logits - logits.max()).astype(np.float64))
    return int(np.searchsorted(np.cumsum(weights), uniform * weights.sum(), side="right"))


@pytest.mark.parametrize("V", [2, 255, 256, 257, 5000])
def test_inversion_finds_the_token_whose_share_holds_the_uniform(V: int) -> None:
    generator = torch.Generator().manual_seed(V)
    logits = 3 * torch.randn(200, V, generator=generator, dtype=torch.float64)
    uniforms = torch.rand(200, generator=generator, dtype=torch.float64)
    choice = choose(logits, uniforms, temperature=1.0)
    expected = [naive(row.numpy(), float(u)) for row, u in zip(logits, uniforms, strict=True)]
    assert choice.tokens_b.tolist() == expected
    logprobs = logits.log_softmax(-1)
    assert torch.allclose(choice.logprobs_b, logprobs.gather(1, choice.tokens_b[:, None]).squeeze(1))
    assert torch.allclose(choice.entropies_b, -(logprobs.exp() * logprobs).sum(-1))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.floats(-50, 50), st.just(float("-inf"))), min_size=1, max_size=2 * BLOCK + 3),
    st.one_of(st.just(0.0), st.just(1.0 - 2**-53), st.floats(0, 1, exclude_max=True)),
)
def test_a_token_of_probability_0_is_never_chosen(row: list[float], uniform: float) -> None:
    logits = torch.tensor([row], dtype=torch.float32)
    if not torch.isfinite(logits).any():
        return
    choice = choose(logits, torch.tensor([uniform], dtype=torch.float64), temperature=1.0)
    assert logits.softmax(-1)[0, choice.tokens_b[0]] > 0
    assert torch.isfinite(choice.logprobs_b).all()
    assert 0 <= choice.entropies_b[0] <= np.log(len(row)) + 1e-4


def test_greedy_is_the_likeliest_and_temperature_sharpens() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    greedy = choose(logits, None, temperature=0.0)
    assert greedy.tokens_b.tolist() == [1]
    assert greedy.logprobs_b[0] == pytest.approx(float(logits.log_softmax(-1)[0, 1]), abs=1e-6)
    sharp = choose(logits, torch.tensor([0.5], dtype=torch.float64), temperature=0.1)
    assert sharp.logprobs_b[0] == pytest.approx(float((logits / 0.1).log_softmax(-1)[0, 1]), abs=1e-6)
