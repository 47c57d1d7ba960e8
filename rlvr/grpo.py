"""Everything numerical between rewards and loss: pure functions of tensors. Shapes: see `rlvr.types`.

Sources: GRPO, DeepSeekMath (Shao et al. 2024, arXiv:2402.03300); token-level aggregation and separate clips, DAPO (Yu et al.
2025, arXiv:2503.14476); no division by length or deviation, Dr. GRPO (Liu et al. 2025, arXiv:2503.20783); k3, Schulman
(2020, "Approximating KL divergence").
"""

from __future__ import annotations

import torch
from torch import Tensor


def group_advantages(rewards_PG: Tensor, *, scaling: str = "group", eps: float = 1e-6) -> Tensor:
    """Advantages of rollouts within their groups: (reward - group mean) / population standard deviation.

    rewards_PG: float, NaN where a rollout is masked; it then takes no part in any mean and its advantage is 0.
    scaling: divide by the deviation of the `group` (DeepSeekMath section 4.1.2), of all rewards (`batch`), or by nothing
    (`none`, Dr. GRPO). A group of equal rewards gets exactly 0; `eps` guards the division otherwise.
    """
    judged_PG = ~torch.isnan(rewards_PG)
    mean_P1 = torch.nan_to_num(rewards_PG.nanmean(dim=1, keepdim=True))
    centred_PG = torch.where(judged_PG, rewards_PG - mean_P1, 0.0)
    # Equal rewards may differ from their mean by a rounding error, which the division would blow up.
    highest_P1 = torch.where(judged_PG, rewards_PG, -torch.inf).amax(dim=1, keepdim=True)
    lowest_P1 = torch.where(judged_PG, rewards_PG, torch.inf).amin(dim=1, keepdim=True)
    centred_PG = torch.where(highest_P1 > lowest_P1, centred_PG, 0.0)
    if scaling == "none":
        return centred_PG
    if scaling == "batch":
        return centred_PG / (_population_std(rewards_PG[judged_PG], dim=0) + eps)
    n_P1 = judged_PG.sum(dim=1, keepdim=True).clamp(min=1)
    return centred_PG / ((centred_PG.square().sum(dim=1, keepdim=True) / n_P1).sqrt() + eps)


def _population_std(values: Tensor, dim: int) -> Tensor:
    return values.std(dim=dim, correction=0) if values.numel() else values.new_zeros(())


def loss_weight(*, length: int, aggregation: str, n_rollouts: int, n_tokens: int, max_length: int) -> float:
    """What one completion token of a rollout counts in the loss; every token of a rollout counts the same.

    n_rollouts, n_tokens: rollouts and completion tokens of the whole batch, over all micro-batches and processes, so that
    the sum over any split of it is the same loss.
    """
    match aggregation:
        case "sequence_mean":  # mean over tokens, then over rollouts (DeepSeekMath equation 3)
            return 1.0 / (length * n_rollouts)
        case "token_mean":  # mean over all tokens (DAPO equation 8)
            return 1.0 / n_tokens
        case "max_length":  # sum over tokens by a constant (Dr. GRPO)
            return 1.0 / (max_length * n_rollouts)
    raise AssertionError(aggregation)


def policy_loss(
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_B: Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> tuple[Tensor, Tensor]:
    """Clipped surrogate of each token, negated, and whether the clip took the gradient of it (PPO; DeepSeekMath equation 3).

    Returns loss_BT and clipped_BT (bool).
    """
    advantages_B1 = advantages_B[:, None]
    ratio_BT = torch.exp(logprobs_BT - old_logprobs_BT)
    clamped_BT = ratio_BT.clamp(1.0 - clip_low, 1.0 + clip_high)
    gain_BT, clamped_gain_BT = ratio_BT * advantages_B1, clamped_BT * advantages_B1
    return -torch.minimum(gain_BT, clamped_gain_BT), clamped_gain_BT < gain_BT


def kl_k3(logprobs_BT: Tensor, reference_logprobs_BT: Tensor) -> Tensor:
    """Unbiased, non-negative estimate of KL(policy || reference) for each sampled token (DeepSeekMath equation 4)."""
    delta_BT = reference_logprobs_BT - logprobs_BT
    return torch.exp(delta_BT) - delta_BT - 1.0
