"""Attention over a prefix tree: the function that transformers calls in every layer, and three exact ways to compute it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rlvr.models.prefix_tree.cpu import BlockwiseAttention
from rlvr.models.prefix_tree.cuda import FlexAttention
from rlvr.models.prefix_tree.layout import Layout

NAME = "rlvr_tree"
"""The name it is registered under: `model.set_attn_implementation(NAME)`."""


class Attending(Protocol):
    """The argument `tree` of a forward call, which computes the attention of every layer."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scale: float, window: int | None, softcap: float | None
    ) -> Tensor:
        """query [1, H, N, D], key and value [1, Hkv, N, D] of the packed tokens, rotated; returns [1, H, N, D]."""
        ...


def _forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    tree: Attending | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    if tree is None:  # a plain forward pass
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, sliding_window=sliding_window, softcap=softcap, **others
        )
    if torch.is_autocast_enabled(query.device.type):  # as torch's attention does; norms and rotary embeddings may give float32
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = tree.attend(module.layer_idx, query, key, value, scale=scale, window=sliding_window, softcap=softcap)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _forward)
AttentionMaskInterface.register(NAME, sdpa_mask)


class DetachedKV:
    """KV cache of a node, detached from its autograd graph."""

    def __init__(self) -> None:
        self.origin: dict[int, tuple[Tensor, Tensor]] = {}
        """By layer: keys and values [1, Hkv, length, D] in the graph of the pass that computed them."""
        self.detached: dict[int, tuple[Tensor, Tensor]] = {}
        """The same, detached: later passes attend to these, and their gradients accumulate here."""

    def put(self, layer: int, key: Tensor, value: Tensor) -> None:
        if layer in self.origin:  # activation checkpointing recomputes layers in the backward pass
            return
        self.origin[layer] = key, value
        self.detached[layer] = (
            key.detach().requires_grad_(key.requires_grad),
            value.detach().requires_grad_(value.requires_grad),
        )


class TreeAttention:
    """Attention of a pass's packed tokens: each attends to itself, what precedes it in its node, and the nodes above."""

    def __init__(self, layout: Layout, above: dict[int, DetachedKV], *, keep: Sequence[int] = ()) -> None:
        """above: KV of the ancestors of `layout`, by node; keep: nodes of this pass whose KV later passes need."""
        self._layout, self._above = layout, above
        self._flex: FlexAttention | None = None
        self.kv = {i: DetachedKV() for i in keep}

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scale: float, window: int | None, softcap: float | None
    ) -> Tensor:
        for i, kv in self.kv.items():
            a, b = self._layout.spans[i]
            kv.put(layer, key[:, :, a:b], value[:, :, a:b])
        above = [self._above[i].detached[layer] for i in self._layout.ancestors]
        window = None if window is not None and window >= self._layout.longest else window
        if query.device.type == "cpu" and window is None and softcap is None:
            flat = [tensor for pair in above for tensor in pair]
            out: Any = BlockwiseAttention.apply(self._layout, scale, query, key, value, *flat)
            return out
        if query.device.type == "cuda":
            if self._flex is None:  # one for all layers, since its masks are the same
                self._flex = FlexAttention(self._layout, [k.shape[2] for k, _ in above])
            return self._flex.attend(query, key, value, above, scale=scale, window=window, softcap=softcap)
        return _explicit(self._layout, query, key, value, above, scale=scale, window=window, softcap=softcap)


def _explicit(
    layout: Layout,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    above: Sequence[tuple[Tensor, Tensor]],
    *,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Node by node, with explicit scores: for any device, sliding windows and soft caps."""
    heads = query.shape[1] // key.shape[1]
    pairs = {i: (key[:, :, a:b], value[:, :, a:b]) for i, (a, b) in layout.spans.items()}
    pairs |= dict(zip(layout.ancestors, above, strict=True))
    outs: list[Tensor] = []
    for i, (a, b) in layout.spans.items():
        first = 0 if window is None else max(0, layout.starts[i] - window + 1)  # earlier keys are outside every query's window
        path = [pairs[j] for j in (*layout.paths[i], i)]
        keys = torch.cat([k for k, _ in path], dim=2)[:, :, first:].repeat_interleave(heads, dim=1)
        values = torch.cat([v for _, v in path], dim=2)[:, :, first:].repeat_interleave(heads, dim=1)
        scores = (query[:, :, a:b] @ keys.transpose(-1, -2)) * scale
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        at = layout.starts[i] + torch.arange(b - a, device=query.device)[:, None]
        seen = first + torch.arange(keys.shape[2], device=query.device)
        hidden = (seen > at) if window is None else (seen > at) | (seen <= at - window)
        weights = scores.masked_fill(hidden, float("-inf")).softmax(
            dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)
        )
        outs.append(weights.to(query.dtype) @ values)
    return torch.cat(outs, dim=2)
