"""Attention of a pass on CUDA: torch's flex attention, which skips the blocks of the score matrix that nobody sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from rlvr.models.prefix_tree.layout import Layout

BLOCK = 128
"""Queries and keys of a block of scores: the size that the kernels are tuned for."""


class FlexAttention:
    """The packed queries of a pass against K keys: those of its ancestors, outermost first, then its own.

    Nodes lie depth first, so each key is seen by consecutive queries: from the token it belongs to (an ancestor's: from the
    first) to the last below its node. Two numbers a key are thus the whole mask, and no N x K matrix is made
    (Dong et al. 2024, "Flex Attention", arXiv:2412.05496, for the kernels).
    """

    def __init__(self, layout: Layout, lengths: Sequence[int]) -> None:
        """lengths: tokens of each ancestor."""
        reach = {block.node: (block.start, block.end) for block in layout.blocks}
        first, until, places = [], [], []
        for i, length in zip(layout.ancestors, lengths, strict=True):
            start, end = reach[i]
            first += [start] * length
            until += [end] * length
            places += range(layout.starts[i], layout.starts[i] + length)
        for i, (a, b) in layout.spans.items():
            first += range(a, b)
            until += [reach.get(i, (a, b))[1]] * (b - a)
            places += range(layout.starts[i], layout.starts[i] + b - a)
        device = layout.positions_N.device
        self._first_K, self._until_K, self._places_K = torch.tensor([first, until, places], device=device)
        self._positions_N = layout.positions_N
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
        """query [1, H, N, D]; key, value [1, Hkv, N, D]; above: those of each ancestor in turn; returns [1, H, N, D]."""
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
        """Which blocks somebody sees a part of, which all of its queries see all of, and the mask within the former."""
        first_K, until_K, positions_N = self._first_K, self._until_K, self._positions_N
        beyond_K = self._places_K + window  # the first position that looks past a key
        N, K = len(positions_N), len(first_K)

        def seen(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (first_K[k] <= q) & (q < until_K[k]) & (positions_N[q] < beyond_K[k])

        start_q = torch.arange(0, N, BLOCK, device=positions_N.device)
        end_q = (start_q + BLOCK).clamp(max=N)
        repeated = torch.cat([positions_N, positions_N[-1:].expand(-N % BLOCK)]).view(-1, BLOCK)
        nearest_q, farthest_q = repeated.amin(dim=1), repeated.amax(dim=1)
        # An interval against an interval each: may count a block in that the window leaves nothing of, which `seen` empties.
        part_qK = (first_K < end_q[:, None]) & (until_K > start_q[:, None]) & (nearest_q[:, None] < beyond_K)
        whole_qK = (first_K <= start_q[:, None]) & (until_K >= end_q[:, None]) & (farthest_q[:, None] < beyond_K)
        padding = (0, -K % BLOCK)
        part_qk = torch.nn.functional.pad(part_qK, padding).unflatten(1, (-1, BLOCK)).any(dim=2)
        whole_qk = torch.nn.functional.pad(whole_qK, padding).unflatten(1, (-1, BLOCK)).all(dim=2)
        return BlockMask.from_kv_blocks(
            *_ordered(part_qk & ~whole_qk), *_ordered(whole_qk), BLOCK_SIZE=BLOCK, mask_mod=seen, seq_lengths=(N, K)
        )


def _ordered(blocks_qk: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of each row are marked, and their numbers, those first: int32, [1, 1, q] and [1, 1, q, k]."""
    counts = blocks_qk.sum(dim=1, dtype=torch.int32)
    order = blocks_qk.int().argsort(dim=1, descending=True, stable=True).to(torch.int32)
    return counts[None, None], order[None, None]


def _capped(softcap: float) -> Callable[..., Tensor]:
    def cap(score: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    return cap


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention)
