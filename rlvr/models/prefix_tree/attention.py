"""Attention over a tree: the function that transformers calls in every layer, and three exact ways to compute it."""

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
"""Under which the attention is registered: `model.set_attn_implementation(NAME)`."""


class Attending(Protocol):
    """What a forward call hands down to the attention of every layer, as its argument `tree`."""

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
    if tree is None:  # a plain call, by whoever else uses the model
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, sliding_window=sliding_window, softcap=softcap, **others
        )
    if torch.is_autocast_enabled(query.device.type):  # as torch's own attention does; norms and rotations may give float32
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = tree.attend(module.layer_idx, query, key, value, scale=scale, window=sliding_window, softcap=softcap)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _forward)
AttentionMaskInterface.register(NAME, sdpa_mask)


class DetachedKV:
    """Keys and values of one node, by layer, as later passes see them: cut off from the graph they came from."""

    def __init__(self) -> None:
        self.origin: dict[int, tuple[Tensor, Tensor]] = {}
        """In the graph of the pass that made them. [1, Hkv, length, D] each."""
        self.seen: dict[int, tuple[Tensor, Tensor]] = {}
        """What later passes attend to; gradients gather here."""

    def put(self, layer: int, key: Tensor, value: Tensor) -> None:
        if layer in self.origin:  # a layer that is recomputed in the backward pass comes here twice
            return
        self.origin[layer] = key, value
        self.seen[layer] = key.detach().requires_grad_(key.requires_grad), value.detach().requires_grad_(value.requires_grad)


class TreeAttention:
    """Attention of the packed tokens of a pass: each sees itself, what precedes it in its node, and the nodes above."""

    def __init__(self, layout: Layout, above: dict[int, DetachedKV], *, keep: Sequence[int] = ()) -> None:
        """above: the kept nodes of earlier passes that `layout` goes on from; keep: nodes of this pass to be kept."""
        self._layout, self._above = layout, above
        self._flex: FlexAttention | None = None
        self.kept = {i: DetachedKV() for i in keep}

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scale: float, window: int | None, softcap: float | None
    ) -> Tensor:
        for i, kept in self.kept.items():
            a, b = self._layout.spans[i]
            kept.put(layer, key[:, :, a:b], value[:, :, a:b])
        above = [self._above[i].seen[layer] for i in self._layout.ancestors]
        window = None if window is not None and window >= self._layout.longest else window
        if query.device.type == "cpu" and window is None and softcap is None:
            flat = [tensor for pair in above for tensor in pair]
            out: Any = BlockwiseAttention.apply(self._layout, scale, query, key, value, *flat)
            return out
        if query.device.type == "cuda":
            if self._flex is None:  # one for all layers: its masks are made once
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
    """Node by node, with the scores written out: on any device, for windows and soft caps."""
    heads = query.shape[1] // key.shape[1]
    found = {i: (key[:, :, a:b], value[:, :, a:b]) for i, (a, b) in layout.spans.items()}
    found |= dict(zip(layout.ancestors, above, strict=True))
    outs: list[Tensor] = []
    for i, (a, b) in layout.spans.items():
        first = 0 if window is None else max(0, layout.starts[i] - window + 1)  # what no query of the node sees stays out
        path = [found[j] for j in (*layout.paths[i], i)]
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
