"""From judged groups to padded tensors, in micro-batches that together are the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.types import Group, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Rollouts side by side: prompts padded on the left to S, completions on the right to T, so that both meet at S."""

    input_ids_BL: Tensor
    """int64, L = S + T."""
    attention_mask_BL: Tensor
    """int64, 1 on tokens, 0 on padding."""
    completion_mask_BT: Tensor
    """bool, True on completion tokens."""
    sampling_logprobs_BT: Tensor
    """float, as recorded by the rollout engine; 0 on padding."""
    advantages_B: Tensor
    """float."""
    lengths_B: Tensor
    """int64, completion tokens of each rollout."""

    @property
    def completion_ids_BT(self) -> Tensor:
        return self.input_ids_BL[:, -self.completion_mask_BT.shape[1] :]


def judged(groups: Sequence[Group]) -> list[tuple[Group, Rollout]]:
    """The rollouts that take part in training: those with a reward (and at least one token, as every engine gives)."""
    return [(group, rollout) for group in groups for rollout in group.rollouts if rollout.reward is not None]


def micro_batches(groups: Sequence[Group], *, size: int, pad_id: int, device: torch.device) -> list[MicroBatch]:
    """All judged rollouts in micro-batches of at most `size`, like lengths together so that little is padded."""
    members = sorted(judged(groups), key=lambda member: len(member[0].prompt_ids) + len(member[1].token_ids))
    return [_collate(members[at : at + size], pad_id, device) for at in range(0, len(members), size)]


def _collate(members: Sequence[tuple[Group, Rollout]], pad_id: int, device: torch.device) -> MicroBatch:
    S = max(len(group.prompt_ids) for group, _ in members)
    T = max(len(rollout.token_ids) for _, rollout in members)
    ids_BL = torch.full((len(members), S + T), pad_id)
    attention_mask_BL = torch.zeros((len(members), S + T), dtype=torch.int64)
    logprobs_BT = torch.zeros((len(members), T))
    for row, (group, rollout) in enumerate(members):
        start, end = S - len(group.prompt_ids), S + len(rollout.token_ids)
        ids_BL[row, start:end] = torch.tensor(group.prompt_ids + rollout.token_ids)
        attention_mask_BL[row, start:end] = 1
        logprobs_BT[row, : end - S] = torch.tensor(rollout.logprobs)
    return MicroBatch(
        input_ids_BL=ids_BL.to(device),
        attention_mask_BL=attention_mask_BL.to(device),
        completion_mask_BT=attention_mask_BL[:, S:].bool().to(device),
        sampling_logprobs_BT=logprobs_BT.to(device),
        advantages_B=torch.tensor([rollout.advantage for _, rollout in members]).to(device),
        lengths_B=torch.tensor([len(rollout.token_ids) for _, rollout in members]).to(device),
    )


def rewards_of(groups: Sequence[Group]) -> Tensor:
    """rewards_PG in float64, NaN where masked."""
    nan = float("nan")
    rows = [[nan if r.reward is None else r.reward for r in group.rollouts] for group in groups]
    return torch.tensor(rows, dtype=torch.float64)
