"""Group-relative advantages from rewards. Shapes: see `rlvr.types`.

Sources: GRPO, DeepSeekMath (Shao et al. 2024, arXiv:2402.03300, section 4.1.2); no division by the standard deviation,
Dr. GRPO (Liu et al. 2025, arXiv:2503.20783).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rlvr.types import Group

EPS = 1e-6
"""Added to the standard deviation. A degenerate group gets exactly 0 whatever it is."""


def with_advantages(groups: Sequence[Group], *, scaling: str, deviation: str = "population") -> list[Group]:
    """The groups with the advantage of every rollout filled in."""
    nan = float("nan")
    rows = [[nan if r.reward is None else r.reward for r in group.rollouts] for group in groups]
    rewards_PG = torch.tensor(rows, dtype=torch.float64)
    advantages_PG = group_advantages(rewards_PG, scaling=scaling, deviation=deviation).tolist()
    return [
        replace(group, rollouts=tuple(replace(r, advantage=a) for r, a in zip(group.rollouts, row, strict=True)))
        for group, row in zip(groups, advantages_PG, strict=True)
    ]


def group_advantages(rewards_PG: Tensor, *, scaling: str = "group", deviation: str = "population") -> Tensor:
    """(reward - group mean) / standard deviation, for each rollout.

    rewards_PG: float, NaN where a rollout is masked; it counts in no mean and its advantage is 0.
    scaling: divide by the standard deviation of the `group` (GRPO), of the `batch`, or by nothing (`none`, Dr. GRPO).
    deviation: `population` (mean square) or `sample` (sum of squares by n - 1).
    """
    scored_PG = ~torch.isnan(rewards_PG)
    mean_P1 = torch.nan_to_num(rewards_PG.nanmean(dim=1, keepdim=True))
    centred_PG = torch.where(scored_PG, rewards_PG - mean_P1, 0.0)
    # Equal rewards may differ from their mean by a rounding error, which the division would amplify.
    highest_P1 = torch.where(scored_PG, rewards_PG, -torch.inf).amax(dim=1, keepdim=True)
    lowest_P1 = torch.where(scored_PG, rewards_PG, torch.inf).amin(dim=1, keepdim=True)
    centred_PG = torch.where(highest_P1 > lowest_P1, centred_PG, 0.0)
    match scaling:
        case "none":
            return centred_PG
        case "group":
            return centred_PG / (_deviation(centred_PG, scored_PG, deviation, dim=(1,)) + EPS)
        case "batch":
            from_all_PG = torch.where(scored_PG, rewards_PG - rewards_PG.nanmean(), 0.0)
            return centred_PG / (_deviation(from_all_PG, scored_PG, deviation, dim=(0, 1)) + EPS)
    raise AssertionError(scaling)


def _deviation(centred_PG: Tensor, scored_PG: Tensor, deviation: str, dim: tuple[int, ...]) -> Tensor:
    """Standard deviation over `dim` of values with mean 0 there, which are 0 where not scored; 0 where there are too few."""
    n = scored_PG.sum(dim=dim, keepdim=True) - {"population": 0, "sample": 1}[deviation]
    return (centred_PG.square().sum(dim=dim, keepdim=True) / n.clamp(min=1)).sqrt()
