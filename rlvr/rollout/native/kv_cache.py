"""KV cache of the rollouts being sampled: the shared prefix once, each prompt once, a row for each completion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlvr.models.prefix_tree.attention import DetachedKV
from rlvr.models.prefix_tree.cpu import flash_forward


@dataclass(frozen=True, slots=True, kw_only=True)
class _Members:
    """The active rows: b completions of p prompts. Changes only when rollouts are admitted or retired."""

    prompt_b: Tensor
    """int64, the prompt slot of each row."""
    start_b: Tensor
    """int64, tokens of the whole prompt of each row."""
    grid_pg: Tensor
    """int64, the rows of each prompt, padded with 0 to the largest number g."""
    place_b: Tensor
    """int64, index of each row in the flattened grid."""
    length_p: Tensor
    """int64, tokens of each prompt after the shared prefix."""


class Slots:
    """Preallocated caches that attention reads and writes (an `Attending`): of R completions of T tokens each, and of prompts.

    Active rows are the first b, prompts in use the first p: the last one takes the place of one that is retired, so that
    nothing is gathered or reallocated from token to token.
    """

    def __init__(
        self,
        *,
        rows: int,
        tokens: int,
        prompts: int,
        prompt_tokens: int,
        shared_prefix: DetachedKV | None,
        device: torch.device,
    ):
        self._shape_own, self._shape_prompt = (rows, tokens), (prompts, prompt_tokens)
        self._shared_prefix, self._device = shared_prefix, device
        self._shared_prefix_length = next(iter(shared_prefix.detached.values()))[0].shape[2] if shared_prefix is not None else 0
        self._own: dict[int, tuple[Tensor, Tensor]] = {}
        """By layer: keys and values [R, Hkv, T, D]."""
        self._prompts: dict[int, tuple[Tensor, Tensor]] = {}
        """By layer: keys and values [prompts, Hkv, prompt tokens, D]."""
        self._at_b = torch.zeros(0, dtype=torch.int64)
        self._members: _Members | None = None
        self._own_mask: Tensor | None = None
        self._longest = 0

    def put_prompt(self, slot: int, kv: DetachedKV) -> None:
        """Copy the keys and values of an encoded prompt into a slot."""
        for layer, (key, value) in kv.detached.items():
            if layer not in self._prompts:
                n, length = self._shape_prompt
                self._prompts[layer] = _zeros(key, n, length), _zeros(key, n, length)
            for cache, new in zip(self._prompts[layer], (key, value), strict=True):
                cache[slot, :, : new.shape[2]] = new[0]

    def move_prompt(self, to: int, source: int) -> None:
        for caches in self._prompts.values():
            for cache in caches:
                cache[to] = cache[source]

    def move_rows(self, to: np.ndarray, source: np.ndarray, *, length: int) -> None:
        """Copy the first `length` tokens of some rows to other rows."""
        if not len(to):
            return
        into, out = torch.from_numpy(to).to(self._device), torch.from_numpy(source).to(self._device)
        for caches in self._own.values():
            for cache in caches:
                cache[into, :, :length] = cache[out, :, :length]

    def assign_rows(self, prompt_b: np.ndarray, prompt_lengths: Sequence[int]) -> None:
        """Set the active rows. prompt_b: prompt slot of each; prompt_lengths: tokens after the shared prefix, by slot."""
        b, p = len(prompt_b), len(prompt_lengths)
        order = np.argsort(prompt_b, kind="stable")
        counts = np.bincount(prompt_b, minlength=p)
        rank_b = np.empty(b, dtype=np.int64)
        rank_b[order] = np.arange(b) - np.repeat(np.cumsum(counts) - counts, counts)
        g = int(counts.max())
        grid_pg = np.zeros((p, g), dtype=np.int64)
        grid_pg[prompt_b, rank_b] = np.arange(b)
        lengths = np.asarray(prompt_lengths, dtype=np.int64)

        def tensor(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(self._device)

        self._members = _Members(
            prompt_b=tensor(prompt_b),
            start_b=tensor(self._shared_prefix_length + lengths[prompt_b]),
            grid_pg=tensor(grid_pg),
            place_b=tensor(prompt_b * g + rank_b),
            length_p=tensor(lengths),
        )

    def next_token(self, at_b: np.ndarray) -> Tensor:
        """Set the index in its completion of each row's next token; returns its position in the whole text."""
        assert self._members is not None
        self._at_b = torch.from_numpy(at_b).to(self._device)
        self._longest = int(at_b.max()) + 1
        seen = torch.arange(self._longest, device=self._device)
        self._own_mask = None
        if at_b.min() != at_b.max():
            self._own_mask = seen[None] > self._at_b[:, None]
        return self._members.start_b + self._at_b

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scale: float, window: int | None, softcap: float | None
    ) -> Tensor:
        """Attention of each row's next token: query [1, H, b, D], key and value [1, Hkv, b, D]; returns [1, H, b, D]."""
        assert self._members is not None
        b, kv_heads = query.shape[2], key.shape[1]
        if layer not in self._own:
            rows, tokens = self._shape_own
            self._own[layer] = _zeros(key, rows, tokens), _zeros(key, rows, tokens)
        for cache, new in zip(self._own[layer], (key, value), strict=True):
            cache[torch.arange(b, device=query.device), :, self._at_b] = new[0].transpose(0, 1)
        query = query[0].transpose(0, 1).unflatten(1, (kv_heads, -1))  # [b, Hkv, query heads of each, D]
        if window is not None and window >= int(self._members.start_b.max()) + self._longest:
            window = None
        attend = self._blocks if query.device.type == "cpu" and window is None and softcap is None else self._explicit
        out = attend(layer, query, scale=scale, window=window, softcap=softcap)
        return out.flatten(1, 2).transpose(0, 1)[None]

    def _blocks(self, layer: int, query: Tensor, *, scale: float, window: int | None, softcap: float | None) -> Tensor:
        """Each shared part once for all rows that attend to it, combined by log-sum-exp (see `BlockwiseAttention`)."""
        del window, softcap
        assert self._members is not None
        b, kv_heads, heads, D = query.shape
        keys, values = (cache[:b, :, : self._longest] for cache in self._own[layer])
        parts = [flash_forward(query, keys, values, _additive(self._own_mask, query), scale)]
        keys, values = (cache[: len(self._members.length_p)] for cache in self._prompts[layer])
        p, g = self._members.grid_pg.shape
        grid = query[self._members.grid_pg.flatten()].view(p, g, kv_heads, heads, D).transpose(1, 2).flatten(2, 3)
        padding = torch.arange(keys.shape[2], device=query.device)[None] >= self._members.length_p[:, None]
        out, lse = flash_forward(grid, keys, values, _additive(padding, query), scale)
        out = out.view(p, kv_heads, g, heads, D).transpose(1, 2).flatten(0, 1)[self._members.place_b]
        parts.append((out, lse.view(p, kv_heads, g, heads).transpose(1, 2).flatten(0, 1)[self._members.place_b]))
        if self._shared_prefix is not None:
            keys, values = self._shared_prefix.detached[layer]
            out, lse = flash_forward(query.transpose(0, 1).reshape(1, kv_heads, b * heads, D), keys, values, None, scale)
            out, lse = out.view(kv_heads, b, heads, D).transpose(0, 1), lse.view(kv_heads, b, heads).transpose(0, 1)
            parts.append((out, lse))
        shares = torch.stack([lse for _, lse in parts]).softmax(dim=0).to(query.dtype)[..., None]
        return torch.stack([out for out, _ in parts]).mul_(shares).sum(dim=0)

    def _explicit(self, layer: int, query: Tensor, *, scale: float, window: int | None, softcap: float | None) -> Tensor:
        """With explicit scores: for any device, sliding windows and soft caps."""
        assert self._members is not None
        at, start, b = self._at_b, self._members.start_b, len(query)
        device, before = query.device, self._shared_prefix_length
        places = [torch.arange(self._longest, device=device)[None] + start[:, None]]
        hidden = [places[0] > (start + at)[:, None]]
        parts = [tuple(cache[:b, :, : self._longest] for cache in self._own[layer])]
        parts.append(tuple(cache[self._members.prompt_b] for cache in self._prompts[layer]))
        places.append((before + torch.arange(parts[1][0].shape[2], device=device))[None].expand(b, -1))
        hidden.append(places[1] >= start[:, None])
        if self._shared_prefix is not None:
            parts.append(tuple(each.expand(b, -1, -1, -1) for each in self._shared_prefix.detached[layer]))
            places.append(torch.arange(before, device=device)[None].expand(b, -1))
            hidden.append(torch.zeros_like(places[2], dtype=torch.bool))
        scores = torch.cat([query @ keys.transpose(-1, -2) for keys, _ in parts], dim=-1) * scale
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        unseen = torch.cat(hidden, dim=-1)
        if window is not None:
            unseen |= torch.cat(places, dim=-1) <= (start + at)[:, None] - window
        scores = scores.masked_fill(unseen[:, None, None], float("-inf"))
        weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)
        split = weights.split([keys.shape[2] for keys, _ in parts], dim=-1)
        return torch.stack([each @ values for each, (_, values) in zip(split, parts, strict=True)]).sum(dim=0)


def _zeros(like: Tensor, rows: int, length: int) -> Tensor:
    """[rows, Hkv, length, D] for keys or values like [1, Hkv, ..., D]. Zeros, since padding is multiplied by weights of 0."""
    return like.new_zeros((rows, like.shape[1], length, like.shape[3]))


def _additive(hidden: Tensor | None, query: Tensor) -> Tensor | None:
    """The additive mask of the kernel, [n, 1, 1, keys] with -inf where hidden, from bool [n, keys]."""
    if hidden is None:
        return None
    return torch.zeros(hidden.shape, dtype=query.dtype, device=query.device).masked_fill_(hidden, float("-inf"))[:, None, None]
