"""Policy losses of GRPO and its variants, as pure functions of tensors. Shapes: see `rlvr.types`.

Sources: GRPO, DeepSeekMath (Shao et al. 2024, arXiv:2402.03300); token-level aggregation and separate clips, DAPO (Yu et al.
2025, arXiv:2503.14476); a constant in place of the length, Dr. GRPO (Liu et al. 2025, arXiv:2503.20783); the ratio of a
sequence, GSPO (Zheng et al. 2025, arXiv:2507.18071); CISPO, MiniMax-M1 (2025, arXiv:2506.13585).
"""

from __future__ import annotations

import torch
from torch import Tensor


def policy_loss(
    logprobs_N: Tensor,
    old_logprobs_N: Tensor,
    *,
    advantages_R: Tensor,
    rollout_N: Tensor,
    ratio: str,
    surrogate: str,
    clip_low: float,
    clip_high: float,
) -> tuple[Tensor, Tensor]:
    """Negated surrogate objective of each token, and whether clipping changed its gradient.

    rollout_N: int64, the rollout of each token, as an index into R; all tokens of a rollout that count must be here.
    ratio: new by old probability of each `token` (DeepSeekMath equation 3), or of the `sequence`: the geometric mean over a
    rollout's tokens, used for each of them, gradient included (GSPO equation 7).
    surrogate: `clip`, the smaller of the gains with and without clipping (PPO; GSPO equation 5), or `cispo`, the
    log-probability weighted by the clipped ratio as a constant, so that no token loses its gradient (MiniMax-M1 equation 4).

    Returns loss_N and clipped_N (bool).
    """
    log_ratio_N = logprobs_N - old_logprobs_N
    if ratio == "sequence":
        log_ratio_N = _rollout_mean(log_ratio_N, rollout_N, n_rollouts=len(advantages_R))
    ratio_N, advantages_N = log_ratio_N.exp(), advantages_R[rollout_N]
    clamped_N = ratio_N.clamp(1.0 - clip_low, 1.0 + clip_high)
    match surrogate:
        case "clip":
            gain_N, clamped_gain_N = ratio_N * advantages_N, clamped_N * advantages_N
            return -torch.minimum(gain_N, clamped_gain_N), clamped_gain_N < gain_N
        case "cispo":
            return -clamped_N.detach() * advantages_N * logprobs_N, (clamped_N != ratio_N) & (advantages_N != 0)
    raise AssertionError(surrogate)


def loss_weights(lengths_R: Tensor, *, aggregation: str, n_rollouts: int, n_tokens: int, max_length: int) -> Tensor:
    """weight_R: weight in the loss of each token of a rollout, float64.

    lengths_R: int64, tokens of each rollout that count in the loss; n_rollouts, n_tokens: those of the whole batch, over all
    micro-batches and processes, so that the loss does not depend on how the batch is split; max_length: tokens of a
    completion at most.
    """
    match aggregation:
        case "sequence_mean":  # mean over tokens, then over rollouts (DeepSeekMath equation 3)
            return 1.0 / (lengths_R * n_rollouts).double()
        case "token_mean":  # mean over all tokens (DAPO equation 8)
            return torch.full_like(lengths_R, 1.0 / n_tokens, dtype=torch.float64)
        case "max_length":  # sum over tokens / constant (Dr. GRPO)
            return torch.full_like(lengths_R, 1.0 / (max_length * n_rollouts), dtype=torch.float64)
    raise AssertionError(aggregation)


def _rollout_mean(values_N: Tensor, rollout_N: Tensor, *, n_rollouts: int) -> Tensor:
    """Each token's value replaced by the mean over its rollout."""
    sums_R = values_N.new_zeros(n_rollouts).index_add(0, rollout_N, values_N)
    return (sums_R / torch.bincount(rollout_N, minlength=n_rollouts))[rollout_N]
