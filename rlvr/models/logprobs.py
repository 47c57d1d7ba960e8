"""Log-probabilities of chosen tokens, and entropies, from hidden states in chunks: a batch's logits are never held at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 2**24
"""Logits held at a time; 64 MiB in float32."""

_LEAST = -1e4
"""Log-probability below which the exponential is 0 anyway; keeps 0 x -inf out of the entropy."""


class _ChosenLogprobs(torch.autograd.Function):
    """Rows go through the output layer in chunks; the backward pass recomputes their logits."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_MW: Tensor,
        weight_VW: Tensor,
        bias_V: Tensor | None,
        targets_M: Tensor,
        scale: float,
        softcap: float | None,
        entropies: bool,
    ) -> tuple[Tensor, Tensor | None]:
        logprobs, denominators, entropy_chunks = [], [], []
        cast_VW, cast_V = _cast(weight_VW, bias_V, hidden_MW.dtype)
        for rows in _chunks(len(hidden_MW), len(weight_VW)):
            logits, _ = _logits(hidden_MW[rows], cast_VW, cast_V, scale, softcap)
            denominators.append(logits.logsumexp(dim=-1))
            logprobs.append(logits.gather(-1, targets_M[rows, None]).squeeze(-1) - denominators[-1])
            if entropies:
                entropy_chunks.append(_entropy(logits, denominators[-1]))
        entropies_M = torch.cat(entropy_chunks) if entropies else None
        ctx.save_for_backward(hidden_MW, weight_VW, bias_V, targets_M, torch.cat(denominators), entropies_M)
        ctx.scale, ctx.softcap = scale, softcap
        return torch.cat(logprobs), entropies_M

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_MW, weight_VW, bias_V, targets_M, denominators_M, entropies_M = ctx.saved_tensors
        d_logprobs_M, d_entropies_M = grads
        cast_VW, cast_V = _cast(weight_VW, bias_V, hidden_MW.dtype)
        d_hidden = torch.empty_like(hidden_MW)
        d_weight = torch.zeros_like(weight_VW) if ctx.needs_input_grad[1] else None
        d_bias = torch.zeros_like(bias_V) if ctx.needs_input_grad[2] else None
        for rows in _chunks(len(hidden_MW), len(weight_VW)):
            logits, squashed = _logits(hidden_MW[rows], cast_VW, cast_V, ctx.scale, ctx.softcap)
            d_logits = logits.sub_(denominators_M[rows, None])  # the log-probabilities of all tokens, so far
            if entropies_M is None:
                d_logits.exp_().mul_(-d_logprobs_M[rows, None])
            else:  # dH/dlogit = -p (log p + H)
                probabilities = d_logits.clamp_(min=_LEAST).exp()
                d_logits.add_(entropies_M[rows, None]).mul_(-d_entropies_M[rows, None]).sub_(d_logprobs_M[rows, None])
                d_logits.mul_(probabilities)
            d_logits.scatter_add_(-1, targets_M[rows, None], d_logprobs_M[rows, None])
            if squashed is not None:
                d_logits *= 1.0 - squashed.square_()
            d_logits = d_logits.mul_(ctx.scale).to(hidden_MW.dtype)
            torch.mm(d_logits, cast_VW, out=d_hidden[rows])
            if d_weight is not None:
                d_weight.addmm_(d_logits.T.to(d_weight.dtype), hidden_MW[rows].to(d_weight.dtype))
            if d_bias is not None:
                d_bias += d_logits.sum(dim=0)
        return d_hidden, d_weight, d_bias, None, None, None, None


def chosen_logprobs(
    hidden_MW: Tensor,
    weight_VW: Tensor,
    bias_V: Tensor | None,
    targets_M: Tensor,
    *,
    scale: float,
    softcap: float | None = None,
    entropies: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """The log-probability of one token for each row, and the entropy of its distribution (None without `entropies`).

    Both in nats, [M], at least float32, of the softmax of `scale` x logits, with exact gradients.

    hidden_MW: last hidden states; weight_VW, bias_V: the output layer; targets_M: int64; softcap: as in Gemma,
    softcap x tanh(logits / softcap) before scaling. Memory beyond the arguments and their gradients: a few times `CHUNK`
    logits, and a copy of the weights where their type is not that of the hidden states.
    """
    result: Any = _ChosenLogprobs.apply(hidden_MW, weight_VW, bias_V, targets_M, scale, softcap, entropies)
    return result


def _entropy(logits: Tensor, denominators: Tensor) -> Tensor:
    """Entropy of each row; overwrites its logits."""
    logprobs = logits.sub_(denominators[:, None]).clamp_(min=_LEAST)
    return -logprobs.mul_(logprobs.exp()).sum(dim=-1)


def _cast(weight_VW: Tensor, bias_V: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    return weight_VW.to(dtype), None if bias_V is None else bias_V.to(dtype)


def _logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: float, softcap: float | None
) -> tuple[Tensor, Tensor | None]:
    """Scaled logits, and tanh(logits / softcap) where there is a soft cap."""
    logits = torch.nn.functional.linear(hidden, weight, bias)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if softcap is None:
        return logits.mul_(scale), None
    squashed = logits.div_(softcap).tanh_()
    return squashed * (softcap * scale), squashed


def _chunks(rows: int, vocabulary: int) -> list[slice]:
    size = max(1, CHUNK // vocabulary)
    return [slice(at, min(at + size, rows)) for at in range(0, rows, size)]
