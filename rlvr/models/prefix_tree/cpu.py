"""Attention of many queries to shared keys, block by block: the keys of a node are read once for all that is below it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlvr.models.prefix_tree.layout import Layout, PaddedGroup

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

PADDING = 1e30
"""Log-sum-exp given to padding in the backward pass: no weight is left of it."""


class BlockwiseAttention(torch.autograd.Function):
    """Softmax attention over the union of the blocks that a query sees (its run, and each node above).

    Each block goes through torch's flash kernel for CPU, which also gives the log of the softmax's denominator; blocks are
    put together by it (Rabe and Staats 2021, arXiv:2112.05682; Dao et al. 2022, arXiv:2205.14135). Given the output and
    the denominator of the whole, the kernel's backward pass of one block is that block's exact share of the gradient (as in
    ring attention, Liu et al. 2023, arXiv:2310.01889).
    """

    @staticmethod
    def forward(ctx: Any, layout: Layout, scale: float, query: Tensor, key: Tensor, value: Tensor, *above: Tensor) -> Tensor:
        """query [1, H, N, D]; key, value [1, Hkv, N, D]; above: key and value [1, Hkv, length, D] of each ancestor in turn."""
        heads = query.shape[1] // key.shape[1]
        out = torch.empty(query.shape, dtype=torch.promote_types(query.dtype, torch.float32))
        lse = torch.empty(query.shape[:-1], dtype=out.dtype)
        for run in layout.runs:
            rows = run.rows_nT.flatten()[run.real]
            out_run, lse_run = _forward(
                _gather(query, run),
                _expand(_gather(key, run), heads),
                _expand(_gather(value, run), heads),
                0.0,
                True,
                scale=scale,
            )
            out[0, :, rows] = _packed(out_run, run).to(out.dtype)
            lse[0, :, rows] = _packed(lse_run[..., None], run).squeeze(-1)
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
        for run in layout.runs:
            rows = run.rows_nT.flatten()[run.real]
            padded = torch.ones(run.rows_nT.numel(), dtype=torch.bool)
            padded[run.real] = False
            padded = padded.view(run.rows_nT.shape)[:, None]
            d_q, d_k, d_v = _backward(
                _gather(grad_out, run),
                *(
                    _gather(query, run),
                    _expand(_gather(key, run), heads),
                    _expand(_gather(value, run), heads),
                    _gather(out, run),
                ),
                _gather(lse[..., None], run).squeeze(-1).masked_fill(padded, PADDING),
                *(0.0, True),
                scale=ctx.scale,
            )
            d_query[0, :, rows] = _packed(d_q, run)
            d_key[0, :, rows] = _packed(_collapse(d_k, heads), run)
            d_value[0, :, rows] = _packed(_collapse(d_v, heads), run)
        sources = _sources(layout, key, value, above)
        sinks = _sources(layout, d_key, d_value, d_above)
        for block, (keys, values), (d_keys, d_values) in zip(layout.blocks, sources, sinks, strict=True):
            at = slice(block.start, block.end)
            d_q, d_k, d_v = _backward(
                *(
                    grad_out[:, :, at],
                    query[:, :, at],
                    _expand(keys, heads),
                    _expand(values, heads),
                    out[:, :, at],
                    lse[:, :, at],
                ),
                *(0.0, False),
                scale=ctx.scale,
            )
            d_query[:, :, at] += d_q
            d_keys.add_(_collapse(d_k, heads))
            d_values.add_(_collapse(d_v, heads))
        return None, None, d_query, d_key, d_value, *d_above


def _sources(layout: Layout, key: Tensor, value: Tensor, above: Any) -> list[tuple[Tensor, Tensor]]:
    """Views of the keys and values of each block: of a node in the pass, or of an ancestor."""
    outside = dict(zip(layout.ancestors, zip(above[::2], above[1::2], strict=True), strict=True))
    found: list[tuple[Tensor, Tensor]] = []
    for block in layout.blocks:
        if block.node in outside:
            found.append(outside[block.node])
        else:
            a, b = layout.spans[block.node]
            found.append((key[:, :, a:b], value[:, :, a:b]))
    return found


def _gather(packed: Tensor, run: PaddedGroup) -> Tensor:
    """[1, H, N, D] to [n, H, T, D]."""
    n, T = run.rows_nT.shape
    if n == 1:
        first = int(run.rows_nT[0, 0])
        return packed[:, :, first : first + T]
    return packed[0].index_select(1, run.rows_nT.flatten()).unflatten(1, (n, T)).transpose(0, 1)


def _packed(padded: Tensor, run: PaddedGroup) -> Tensor:
    """[n, H, T, D] to [H, real rows, D]."""
    flat = padded.transpose(0, 1).flatten(1, 2)
    return flat if run.real.numel() == flat.shape[1] else flat[:, run.real]


def _expand(tensor: Tensor, heads: int) -> Tensor:
    """Key-value heads shared out to the query heads that use them: [n, Hkv, T, D] to [n, Hkv x heads, T, D]."""
    return tensor if heads == 1 else tensor.repeat_interleave(heads, dim=1)


def _collapse(tensor: Tensor, heads: int) -> Tensor:
    """The gradient of `_expand`."""
    return tensor if heads == 1 else tensor.unflatten(1, (-1, heads)).sum(dim=2)


def flash_forward(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of one block, no gradients: query [n, Hkv, m, D], key and value [n, Hkv, length, D], mask added to the scores
    (broadcast to [n, 1, m, length]). Returns the output and the log of the softmax's denominator [n, Hkv, m].
    """
    if mask is not None:
        mask = mask.expand(query.shape[0], 1, query.shape[2], key.shape[2])
    return _forward(query, key, value, 0.0, False, attn_mask=mask, scale=scale)
