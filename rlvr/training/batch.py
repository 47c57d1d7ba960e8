"""From scored groups to the prefix tree of a batch, and the tensors of each micro-batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlvr.models.prefix_tree.layout import Node, Pass, Tree, build_tree
from rlvr.types import Group, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTree:
    """The prefix tree of the prompts and completions that are trained on."""

    tree: Tree
    """The leaf of a rollout holds its tokens before the last that counts in the loss; later ones predict none that does
    (a leaf keeps at least one token)."""
    rollouts: Mapping[int, Rollout]
    """By leaf: its index in the tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """The completion tokens of a pass that count in the loss (`Rollout.loss_mask`), packed: N tokens of R rollouts."""

    rows_N: Tensor
    """int64, row of the hidden state that predicts each token."""
    targets_N: Tensor
    """int64, the token ids."""
    rollout_N: Tensor
    """int64, the rollout that each token belongs to, as an index into R."""
    sampling_logprobs_N: Tensor
    """float32, nats, as recorded by the rollout engine."""
    advantages_R: Tensor
    """float."""
    lengths_R: Tensor
    """int64, tokens of each rollout among these N."""


def taking_part(groups: Sequence[Group], *, mask_truncated: bool = False) -> list[tuple[Group, Rollout]]:
    """The rollouts that count in the loss: those with a reward; with `mask_truncated` without those cut at the token limit."""
    return [
        (group, rollout)
        for group in groups
        for rollout in group.rollouts
        if rollout.reward is not None and not (mask_truncated and rollout.finish_reason == "length")
    ]


def training_tree(members: Sequence[tuple[Group, Rollout]]) -> TrainingTree:
    """The prefix tree of some rollouts, grouped by prompt."""
    families: dict[int, tuple[Group, list[Rollout]]] = {}
    for group, rollout in members:
        families.setdefault(id(group), (group, []))[1].append(rollout)
    trained = list(families.values())
    tree = build_tree(
        [group.prompt_ids for group, _ in trained],
        [[_leaf(rollout) for rollout in rollouts] for _, rollouts in trained],
    )
    parents = {node.parent for node in tree}
    leaves = [i for i in range(len(tree)) if i not in parents]
    by_leaf = [rollout for _, rollouts in trained for rollout in rollouts]
    return TrainingTree(tree=tree, rollouts=dict(zip(leaves, by_leaf, strict=True)))


def micro_batch(training: TrainingTree, step: Pass, last: Mapping[int, int], *, device: torch.device) -> MicroBatch | None:
    """The rollouts whose leaves are in a pass; None without any.

    last: row of the last token of every node (`TreeForward.hidden`).
    """
    leaves = [i for i in step.nodes if i in training.rollouts]
    if not leaves:
        return None
    rollouts = [training.rollouts[i] for i in leaves]
    rows = [_rows(training.tree[i], r, last[i], last) for i, r in zip(leaves, rollouts, strict=True)]
    targets = [rollout.token_ids[rollout.loss_mask] for rollout in rollouts]
    logprobs = [rollout.logprobs[rollout.loss_mask] for rollout in rollouts]
    lengths_R = torch.tensor([rollout.n_trained for rollout in rollouts])
    return MicroBatch(
        rows_N=torch.from_numpy(np.concatenate(rows)).to(device),
        targets_N=torch.from_numpy(np.concatenate(targets, dtype=np.int64)).to(device),
        rollout_N=torch.arange(len(rollouts)).repeat_interleave(lengths_R).to(device),
        sampling_logprobs_N=torch.from_numpy(np.concatenate(logprobs, dtype=np.float32)).to(device),
        advantages_R=torch.tensor([rollout.advantage for rollout in rollouts]).to(device),
        lengths_R=lengths_R.to(device),
    )


def _leaf(rollout: Rollout) -> np.ndarray:
    last = int(np.flatnonzero(rollout.loss_mask)[-1])
    return rollout.token_ids[: max(1, last)]


def _rows(leaf: Node, rollout: Rollout, end: int, last: Mapping[int, int]) -> np.ndarray:
    """The row that predicts each token that counts: the prompt's last token predicts the first token of a completion, each
    token of the leaf the next one."""
    assert leaf.parent is not None
    first = end + 1 - len(leaf.ids)
    tokens = np.flatnonzero(rollout.loss_mask)
    return np.where(tokens == 0, last[leaf.parent], first + tokens - 1)
