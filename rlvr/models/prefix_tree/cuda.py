"""Attention of a pass on CUDA: torch's flex attention, which skips fully masked blocks of the score matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from rlvr.models.prefix_tree.layout import Layout

BLOCK = 128
"""Queries, and keys, of a block of scores: the size that the kernels are tuned for."""


class FlexAttention:
    """Attention of the packed queries of a pass to K keys: those of its ancestors, outermost first, then its own.

    Nodes are in depth-first order, so each key is attended to by consecutive queries: from its own token (an ancestor's:
    from the first) to the last below its node. Two numbers a key are thus the whole mask, and no N x K matrix is made
    (kernels: Dong et al. 2024, "Flex Attention", arXiv:2412.05496). Shape suffixes here: i blocks of queries, j blocks of keys.
    """

    def __init__(self, layout: Layout, lengths: Sequence[int]) -> None:
        """lengths: tokens of each ancestor, in the order of `layout.ancestors`."""
        reach = {block.node: (block.start, block.end) for block in layout.blocks}
        first, until, positions = [], [], []  # of each key: the queries [first, until) that attend to it, and its position
        for i, length in zip(layout.ancestors, lengths, strict=True):
            start, end = reach[i]
            first += [start] * length
            until += [end] * length
            positions += range(layout.starts[i], layout.starts[i] + length)
        for i, (a, b) in layout.spans.items():
            first += range(a, b)
            until += [reach.get(i, (a, b))[1]] * (b - a)
            positions += range(layout.starts[i], layout.starts[i] + b - a)
        device = layout.positions_N.device
        self._first_K, self._until_K, self._position_K = torch.tensor([first, until, positions], device=device)
        self._position_N = layout.positions_N
        self._longest = layout.longest
        self._masks: dict[int, BlockMask] = {}

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        above: Sequence[tuple[Tensor, Tensor]],
        *,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """query [1, H, N, D]; key, value [1, Hkv, N, D]; above: key and value of each ancestor; returns [1, H, N, D]."""
        window = self._longest if window is None else window
        if window not in self._masks:
            self._masks[window] = self.mask(window)
        attention = _compiled() if query.device.type == "cuda" else flex_attention
        return attention(
            query,
            torch.cat([*(k for k, _ in above), key], dim=2),
            torch.cat([*(v for _, v in above), value], dim=2),
            score_mod=None if softcap is None else _capped(softcap),
            block_mask=self._masks[window],
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )

    def mask(self, window: int) -> BlockMask:
        """The mask of single scores, the blocks that it masks in part, and those that it does not mask at all."""
        first_K, until_K, position_N = self._first_K, self._until_K, self._position_N
        beyond_K = self._position_K + window  # the first position whose window a key is outside of
        N, K = len(position_N), len(first_K)

        def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (first_K[key] <= query) & (query < until_K[key]) & (position_N[query] < beyond_K[key])

        start_i = torch.arange(0, N, BLOCK, device=position_N.device)
        end_i = (start_i + BLOCK).clamp(max=N)
        repeated = torch.cat([position_N, position_N[-1:].expand(-N % BLOCK)]).view(-1, BLOCK)
        nearest_i, farthest_i = repeated.amin(dim=1), repeated.amax(dim=1)
        # Intervals are compared, so a block may count as partial of which the window leaves nothing; `seen` then masks it.
        part_iK = (first_K < end_i[:, None]) & (until_K > start_i[:, None]) & (nearest_i[:, None] < beyond_K)
        whole_iK = (first_K <= start_i[:, None]) & (until_K >= end_i[:, None]) & (farthest_i[:, None] < beyond_K)
        padding = (0, -K % BLOCK)
        part_ij = torch.nn.functional.pad(part_iK, padding).unflatten(1, (-1, BLOCK)).any(dim=2)
        whole_ij = torch.nn.functional.pad(whole_iK, padding).unflatten(1, (-1, BLOCK)).all(dim=2)
        return BlockMask.from_kv_blocks(
            *_ordered(part_ij & ~whole_ij), *_ordered(whole_ij), BLOCK_SIZE=BLOCK, mask_mod=seen, seq_lengths=(N, K)
        )


def _ordered(marked_ij: Tensor) -> tuple[Tensor, Tensor]:
    """The number of marked blocks in each row, and block indices, marked ones first: int32, [1, 1, i] and [1, 1, i, j]."""
    counts = marked_ij.sum(dim=1, dtype=torch.int32)
    order = marked_ij.int().argsort(dim=1, descending=True, stable=True).to(torch.int32)
    return counts[None, None], order[None, None]


def _capped(softcap: float) -> Callable[..., Tensor]:
    def cap(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    return cap


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention)
