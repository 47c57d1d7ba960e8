"""Log-probabilities of chosen tokens and entropies in chunks, against those of all logits at once."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rlvr.models import logprobs
from rlvr.models.logprobs import chosen_logprobs


def inputs(M: int = 11, V: int = 13, W: int = 5, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """hidden, weight, bias, targets."""
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(M, W), torch.randn(V, W), torch.randn(V)
    floats = [each.to(dtype).requires_grad_() for each in (hidden, weight, bias)]
    return floats[0], floats[1], floats[2], torch.randint(V, (M,))


def plain(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, *, scale: float, softcap: float | None
) -> tuple[Tensor, Tensor]:
    logits = torch.nn.functional.linear(hidden, weight, bias)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    logprobs = (scale * logits).log_softmax(dim=-1)
    return logprobs.gather(1, targets[:, None]).squeeze(1), torch.distributions.Categorical(logits=scale * logits).entropy()


@pytest.fixture(params=[False, True], ids=["logprobs", "entropies"])
def entropies(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def asked_for(pair: tuple[Tensor, Tensor | None], entropies: bool) -> Tensor:
    assert (pair[1] is not None) == entropies
    return torch.stack([each for each in pair if each is not None])


@pytest.mark.parametrize("logits_at_a_time", [1, 3 * 13, 4 * 13 + 5, 10**6])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_values_and_gradients(
    logits_at_a_time: int, softcap: float | None, biased: bool, scale: float, entropies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logprobs, "CHUNK", logits_at_a_time)
    hidden, weight, bias, targets = inputs()
    tensors = (hidden, weight, bias) if biased else (hidden, weight)
    given = (hidden, weight, bias if biased else None, targets)
    found = asked_for(chosen_logprobs(*given, scale=scale, softcap=softcap, entropies=entropies), entropies)
    wanted = torch.stack(plain(*given, scale=scale, softcap=softcap)[: len(found)])
    assert torch.allclose(found, wanted, rtol=0, atol=1e-13)
    upstream = torch.randn_like(found)
    for mine, theirs in zip(
        torch.autograd.grad(found, tensors, upstream), torch.autograd.grad(wanted, tensors, upstream), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_gradients_by_differences(softcap: float | None, entropies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "CHUNK", 30)
    hidden, weight, bias, targets = inputs(M=4, V=7, W=3)
    torch.autograd.gradcheck(
        lambda *given: asked_for(chosen_logprobs(*given, targets, scale=0.7, softcap=softcap, entropies=entropies), entropies),
        (hidden, weight, bias),
    )


def test_a_gradient_of_the_entropy_alone() -> None:
    hidden, weight, bias, targets = inputs()
    _, found = chosen_logprobs(hidden, weight, bias, targets, scale=0.4, entropies=True)
    assert found is not None
    _, wanted = plain(hidden, weight, bias, targets, scale=0.4, softcap=None)
    for mine, theirs in zip(
        torch.autograd.grad(found.sum(), (hidden, weight, bias)),
        torch.autograd.grad(wanted.sum(), (hidden, weight, bias)),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("gap", [50.0, 1e6, float("inf")])
def test_a_certain_token_has_no_entropy(gap: float) -> None:
    """However far the others are below it; their gradient is 0, and a number."""
    hidden = torch.ones(1, 1, requires_grad=True)
    bias = torch.tensor([0.0, -gap, -gap], requires_grad=True)
    logprobs, entropies = chosen_logprobs(hidden, torch.zeros(3, 1), bias, torch.tensor([0]), scale=1.0, entropies=True)
    assert entropies is not None
    assert logprobs.tolist() == pytest.approx([0.0], abs=1e-20)
    assert entropies.tolist() == pytest.approx([0.0], abs=1e-18)
    (logprobs + entropies).sum().backward()
    assert bias.grad is not None
    assert bias.grad.abs().max() <= 1e-18


@pytest.mark.parametrize("V", [2, 1000])
def test_the_entropy_of_equal_logits_is_that_of_a_fair_draw(V: int) -> None:
    hidden = torch.randn(3, 4, requires_grad=True)
    _, entropies = chosen_logprobs(hidden, torch.ones(V, 4), None, torch.zeros(3, dtype=torch.int64), scale=1.0, entropies=True)
    assert entropies is not None
    assert entropies.tolist() == pytest.approx([math.log(V)] * 3, rel=1e-5)
    (grad,) = torch.autograd.grad(entropies.sum(), hidden)
    assert grad.abs().max() <= 1e-5, "it is at its maximum"


@pytest.mark.parametrize("trained", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_what_is_trained_gets_a_gradient(trained: tuple[bool, bool, bool], entropies: bool) -> None:
    *tensors, targets = inputs()
    for tensor, wanted in zip(tensors, trained, strict=True):
        tensor.requires_grad_(wanted)
    asked_for(chosen_logprobs(*tensors, targets, scale=1.0, entropies=entropies), entropies).sum().backward()
    assert tuple(tensor.grad is not None for tensor in tensors) == trained


def test_sums_in_float32_where_the_model_computes_in_bfloat16(entropies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under autocast: hidden states in bfloat16, weights (and so their gradients) in float32."""
    monkeypatch.setattr(logprobs, "CHUNK", 1000)
    hidden, weight, _, targets = inputs(M=64, V=500, W=32, dtype=torch.float32)
    low = hidden.detach().bfloat16().requires_grad_()
    found = asked_for(chosen_logprobs(low, weight, None, targets, scale=1.0, entropies=entropies), entropies)
    assert found.dtype == torch.float32
    rounded = weight.detach().bfloat16()
    exact = torch.stack(plain(low.double(), rounded.double(), None, targets, scale=1.0, softcap=None)[: len(found)])
    # Logits themselves are rounded to 8 bits, in any bfloat16 model; sums of exponentials are not.
    assert (found - exact).abs().max() <= 2**-8 * torch.nn.functional.linear(low, rounded).abs().max()
    found.sum().backward()
    assert low.grad is not None
    assert weight.grad is not None
    assert (low.grad.dtype, weight.grad.dtype) == (torch.bfloat16, torch.float32)
    plainly = torch.stack(plain(hidden, weight, None, targets, scale=1.0, softcap=None)[: len(found)])
    (wanted,) = torch.autograd.grad(plainly.sum(), weight)
    assert (weight.grad - wanted).norm() <= 0.02 * wanted.norm()


class LargestTensor(TorchDispatchMode):
    """Notes the most numbers that a tensor made meanwhile has, of views as of others."""

    most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.most = max([self.most, *(each.numel() for each in tree_leaves(out) if isinstance(each, Tensor))])
        return out


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_memory_does_not_grow_with_rows_times_vocabulary(
    softcap: float | None, entropies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    M, V, W = 500, 300, 4
    monkeypatch.setattr(logprobs, "CHUNK", 10 * V)
    hidden, weight, bias, targets = inputs(M, V, W)
    with LargestTensor() as ours:
        found = chosen_logprobs(hidden, weight, bias, targets, scale=0.5, softcap=softcap, entropies=entropies)
        asked_for(found, entropies).sum().backward()
    assert ours.most <= 10 * V
    with LargestTensor() as all_at_once:
        torch.stack(plain(hidden, weight, bias, targets, scale=0.5, softcap=softcap)).sum().backward()
    assert all_at_once.most == M * V, "or this measures nothing"
