"""Sampling of one token by inversion of the cumulative distribution at a given uniform number."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 256
"""Tokens of the vocabulary that are summed up together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One token for each of b rollouts."""

    tokens_b: Tensor
    """int64, token ids."""
    logprobs_b: Tensor
    """Log-probability of each token (nats), after temperature."""
    entropies_b: Tensor
    """Entropy of the distribution it was drawn from (nats)."""


def choose(logits_bV: Tensor, uniforms_b: Tensor | None, *, temperature: float) -> Choice:
    """Tokens from softmax(logits / temperature), or without uniforms the likeliest, with log-probabilities at temperature 1.

    uniforms_b: float64 in [0, 1). A token of probability 0 is never chosen.
    """
    logits_bV = logits_bV.to(torch.promote_types(logits_bV.dtype, torch.float32))
    if uniforms_b is not None and temperature != 1.0:
        logits_bV = logits_bV / temperature
    # Below the clamp the exponential is 0 anyway; clamping avoids 0 x -inf in the entropy.
    below_bV = (logits_bV - logits_bV.amax(dim=-1, keepdim=True)).clamp_(min=-1e4)
    weights_bV = below_bV.exp()
    total_b = weights_bV.sum(dim=-1)
    tokens_b = logits_bV.argmax(dim=-1) if uniforms_b is None else _invert(weights_bV, uniforms_b)
    log_total_b = total_b.log()
    return Choice(
        tokens_b=tokens_b,
        logprobs_b=below_bV.gather(-1, tokens_b[:, None]).squeeze(1) - log_total_b,
        entropies_b=log_total_b - (weights_bV * below_bV).sum(dim=-1) / total_b,
    )


def _invert(weights_bV: Tensor, uniforms_b: Tensor) -> Tensor:
    """The first token whose cumulative weight exceeds uniform x total.

    Sums are in float64: over a large vocabulary, rounding errors of float32 sums exceed the weights of rare tokens. First the
    block of tokens is found, then the token in it, so that only one block in each row is summed up token by token.
    """
    b, V = weights_bV.shape
    padded_bV = torch.nn.functional.pad(weights_bV, (0, -V % BLOCK))
    blocks_bnB = padded_bV.view(b, -1, BLOCK)
    cumulative_bn = blocks_bnB.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    threshold_b1 = (uniforms_b * cumulative_bn[:, -1])[:, None]
    block_b1 = _first_above(cumulative_bn, threshold_b1)
    before_b1 = torch.where(block_b1 > 0, cumulative_bn.gather(1, (block_b1 - 1).clamp(min=0)), 0.0)
    chosen_bB = blocks_bnB[torch.arange(b, device=weights_bV.device), block_b1.squeeze(1)].double().cumsum(dim=-1)
    return (block_b1 * BLOCK + _first_above(chosen_bB, threshold_b1 - before_b1)).squeeze(1)


def _first_above(cumulative: Tensor, threshold_b1: Tensor) -> Tensor:
    """Index of the first sum above the threshold, which is kept below the last sum (by rounding it may reach it)."""
    last = cumulative[:, -1:]
    below_last = torch.minimum(threshold_b1, torch.nextafter(last, torch.zeros_like(last)))
    return torch.searchsorted(cumulative, below_last, right=True)
