"""Attention of a pass on CPU, block by block: the keys of a node are read once for all queries below it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlvr.models.prefix_tree.layout import Layout, PaddedGroup

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

PADDING = 1e30
"""Log-sum-exp of padding rows in the backward pass, which makes their attention weights 0."""


class BlockwiseAttention(torch.autograd.Function):
    """Softmax attention over the union of what a query attends to: its own node, and a block for each node above.

    Each block goes through torch's flash kernel for CPU, which also returns the log-sum-exp of the scores; blocks are
    combined by it (Rabe and Staats 2021, arXiv:2112.05682; Dao et al. 2022, arXiv:2205.14135). Given the output and the
    log-sum-exp of the whole, the kernel's backward pass of one block is that block's exact share of the gradient (as in
    ring attention, Liu et al. 2023, arXiv:2310.01889).
    """

    @staticmethod
    def forward(ctx: Any, layout: Layout, scale: float, query: Tensor, key: Tensor, value: Tensor, *above: Tensor) -> Tensor:
        """query [1, H, N, D]; key, value [1, Hkv, N, D]; above: key and value [1, Hkv, length, D] of each ancestor in turn."""
        heads = query.shape[1] // key.shape[1]
        out = torch.empty(query.shape, dtype=torch.promote_types(query.dtype, torch.float32))
        lse = torch.empty(query.shape[:-1], dtype=out.dtype)
        for group in layout.padded_groups:
            rows = group.rows_nT.flatten()[group.real]
            out_group, lse_group = _forward(
                _gather(query, group),
                _expand(_gather(key, group), heads),
                _expand(_gather(value, group), heads),
                0.0,
                True,
                scale=scale,
            )
            out[0, :, rows] = _packed(out_group, group).to(out.dtype)
            lse[0, :, rows] = _packed(lse_group[..., None], group).squeeze(-1)
        for block, (keys, values) in zip(layout.blocks, _sources(layout, key, value, above), strict=True):
            at = slice(block.start, block.end)
            out_block, lse_block = _forward(
                query[:, :, at], _expand(keys, heads), _expand(values, heads), 0.0, False, scale=scale
            )
            total = torch.logaddexp(lse[:, :, at], lse_block)
            out[:, :, at] *= torch.exp(lse[:, :, at] - total)[..., None]
            out[:, :, at] += out_block * torch.exp(lse_block - total)[..., None]
            lse[:, :, at] = total
        out = out.to(query.dtype)
        ctx.layout, ctx.scale = layout, scale
        ctx.save_for_backward(query, key, value, out, lse, *above)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad_out,), layout = grads, ctx.layout
        query, key, value, out, lse, *above = ctx.saved_tensors
        heads = query.shape[1] // key.shape[1]
        grad_out = grad_out.contiguous()
        d_query, d_key, d_value = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
        d_above = [torch.zeros_like(each) for each in above]
        for group in layout.padded_groups:
            rows = group.rows_nT.flatten()[group.real]
            padded = torch.ones(group.rows_nT.numel(), dtype=torch.bool)
            padded[group.real] = False
            padded = padded.view(group.rows_nT.shape)[:, None]
            d_q, d_k, d_v = _backward(
                _gather(grad_out, group),
                _gather(query, group),
                _expand(_gather(key, group), heads),
                _expand(_gather(value, group), heads),
                _gather(out, group),
                _gather(lse[..., None], group).squeeze(-1).masked_fill(padded, PADDING),
                0.0,
                True,
                scale=ctx.scale,
            )
            d_query[0, :, rows] = _packed(d_q, group)
            d_key[0, :, rows] = _packed(_collapse(d_k, heads), group)
            d_value[0, :, rows] = _packed(_collapse(d_v, heads), group)
        sources = _sources(layout, key, value, above)
        sinks = _sources(layout, d_key, d_value, d_above)
        for block, (keys, values), (d_keys, d_values) in zip(layout.blocks, sources, sinks, strict=True):
            at = slice(block.start, block.end)
            d_q, d_k, d_v = _backward(
                grad_out[:, :, at],
                query[:, :, at],
                _expand(keys, heads),
                _expand(values, heads),
                out[:, :, at],
                lse[:, :, at],
                0.0,
                False,
                scale=ctx.scale,
            )
            d_query[:, :, at] += d_q
            d_keys.add_(_collapse(d_k, heads))
            d_values.add_(_collapse(d_v, heads))
        return None, None, d_query, d_key, d_value, *d_above


def _sources(layout: Layout, key: Tensor, value: Tensor, above: Any) -> list[tuple[Tensor, Tensor]]:
    """Views of the keys and values of each block, which belong to a node of the pass or to an ancestor."""
    outside = dict(zip(layout.ancestors, zip(above[::2], above[1::2], strict=True), strict=True))
    pairs: list[tuple[Tensor, Tensor]] = []
    for block in layout.blocks:
        if block.node in outside:
            pairs.append(outside[block.node])
        else:
            a, b = layout.spans[block.node]
            pairs.append((key[:, :, a:b], value[:, :, a:b]))
    return pairs


def _gather(packed: Tensor, group: PaddedGroup) -> Tensor:
    """[1, H, N, D] to [n, H, T, D]."""
    n, T = group.rows_nT.shape
    if n == 1:
        first = int(group.rows_nT[0, 0])
        return packed[:, :, first : first + T]
    return packed[0].index_select(1, group.rows_nT.flatten()).unflatten(1, (n, T)).transpose(0, 1)


def _packed(padded: Tensor, group: PaddedGroup) -> Tensor:
    """[n, H, T, D] to [H, real rows, D]."""
    flat = padded.transpose(0, 1).flatten(1, 2)
    return flat if group.real.numel() == flat.shape[1] else flat[:, group.real]


def _expand(tensor: Tensor, heads: int) -> Tensor:
    """Repeats each key-value head for the query heads that use it: [n, Hkv, T, D] to [n, Hkv x heads, T, D]."""
    return tensor if heads == 1 else tensor.repeat_interleave(heads, dim=1)


def _collapse(tensor: Tensor, heads: int) -> Tensor:
    """The gradient of `_expand`."""
    return tensor if heads == 1 else tensor.unflatten(1, (-1, heads)).sum(dim=2)


def flash_forward(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of one block, without gradients: query [n, Hkv, m, D], key and value [n, Hkv, length, D], mask added to the
    scores (broadcast to [n, 1, m, length]). Returns the output and the log-sum-exp of the scores [n, Hkv, m].
    """
    if mask is not None:
        mask = mask.expand(query.shape[0], 1, query.shape[2], key.shape[2])
    return _forward(query, key, value, 0.0, False, attn_mask=mask, scale=scale)
