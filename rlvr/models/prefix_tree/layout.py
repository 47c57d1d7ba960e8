"""The prefix tree of a batch (shared prefix, prompts, completions), and its forward passes of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """Tokens that follow those of the parent."""

    ids: np.ndarray
    """Integers, at least one."""
    parent: int | None
    """Index in the tree; None for a root."""
    start: int
    """Position of the first token: the number of tokens above it."""

    @property
    def end(self) -> int:
        return self.start + len(self.ids)


Tree = tuple[Node, ...]
"""Nodes in depth-first order: a parent precedes its children, and all descendants of a node follow it without a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Consecutive nodes of a tree that go through the model together, as one packed sequence of N tokens."""

    nodes: tuple[int, ...]
    ancestors: tuple[int, ...]
    """Nodes of earlier passes above these, outermost first: their keys and values are needed."""
    keeps: bool
    """Later passes need the keys and values of these nodes."""


def shared_prefix_length(prompts: Sequence[np.ndarray]) -> int:
    """How many leading tokens all prompts share, short of a whole prompt; 0 for a single prompt."""
    if len(prompts) < 2:
        return 0
    shared = min(map(len, prompts)) - 1
    for prompt in prompts[1:]:
        differing = np.flatnonzero(prompt[:shared] != prompts[0][:shared])
        if len(differing):
            shared = int(differing[0])
    return shared


def build_tree(prompts: Sequence[np.ndarray], completions: Sequence[Sequence[np.ndarray]]) -> Tree:
    """The tree of prompts, each with its completions; the prefix that all prompts share is one node."""
    shared = shared_prefix_length(prompts)
    nodes = [Node(ids=prompts[0][:shared], parent=None, start=0)] if shared else []
    for prompt, leaves in zip(prompts, completions, strict=True):
        nodes.append(Node(ids=prompt[shared:], parent=0 if shared else None, start=shared))
        parent = len(nodes) - 1
        nodes += [Node(ids=ids, parent=parent, start=len(prompt)) for ids in leaves]
    return tuple(nodes)


def schedule_passes(tree: Tree, *, budget: int) -> list[Pass]:
    """Passes of at most `budget` tokens each (a single node may be longer), in tree order and as equal as possible.

    A node is in one pass with its descendants where they fit, else in a separate one. So at any time only one pass and the
    nodes above it are in memory.
    """
    return list(_planned(tree, range(len(tree)), budget, ()))


def _planned(tree: Tree, nodes: range, budget: int, ancestors: tuple[int, ...]) -> Iterator[Pass]:
    """Passes for the nodes below the last of `ancestors`."""
    tops = [i for i in nodes if tree[i].parent == (ancestors[-1] if ancestors else None)]
    fitting: list[range] = []
    for family in (range(a, b) for a, b in pairwise([*tops, nodes.stop])):
        if len(family) == 1 or sum(len(tree[i].ids) for i in family) <= budget:
            fitting.append(family)
            continue
        yield from _packed(tree, fitting, budget, ancestors)
        fitting = []
        yield Pass(nodes=(family[0],), ancestors=ancestors, keeps=True)
        yield from _planned(tree, family[1:], budget, (*ancestors, family[0]))
    yield from _packed(tree, fitting, budget, ancestors)


def _packed(tree: Tree, parts: Sequence[range], budget: int, ancestors: tuple[int, ...]) -> list[Pass]:
    """Consecutive parts in as few passes as the budget allows, and those as equal as possible."""
    totals = [sum(len(tree[i].ids) for i in part) for part in parts]
    fewest = len(_cuts(totals, budget))
    low, high = 1, budget  # the least capacity that needs no more passes
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(_cuts(totals, middle)) <= fewest else (middle + 1, high)
    cuts = _cuts(totals, high)
    return [Pass(nodes=tuple(i for part in parts[a:b] for i in part), ancestors=ancestors, keeps=False) for a, b in cuts]


def _cuts(totals: Sequence[int], capacity: int) -> list[tuple[int, int]]:
    """The fewest ranges that each add up to at most `capacity`; a larger total is a range by itself."""
    cuts: list[tuple[int, int]] = []
    at, filled = 0, 0
    for i, total in enumerate(totals):
        if filled and filled + total > capacity:
            cuts.append((at, i))
            at, filled = i, 0
        filled += total
    return [*cuts, (at, len(totals))] if totals else cuts


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Packed queries [start, end) that all attend to every key of one node above them."""

    start: int
    end: int
    node: int
    """Index in the tree: in the pass, or one of its ancestors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedGroup:
    """Nodes of similar length padded together for causal self-attention."""

    rows_nT: Tensor
    """int64, index of each token in the packed sequence; padding repeats the node's last."""
    real: Tensor
    """int64, indices of the flattened rows that are not padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A pass as one packed sequence of N tokens, and who attends to what."""

    ids_N: Tensor
    """int64, token ids."""
    positions_N: Tensor
    """int64, position of each token in its text."""
    spans: dict[int, tuple[int, int]]
    """By node of the pass: start and end in the packed sequence."""
    blocks: tuple[Block, ...]
    """Attention to the nodes above."""
    padded_groups: tuple[PaddedGroup, ...]
    """Attention within nodes."""
    ancestors: tuple[int, ...]
    """As in `Pass`."""
    longest: int
    """Tokens from the root to the deepest position of the pass."""
    paths: dict[int, tuple[int, ...]]
    """By node of the pass: the nodes above it, outermost first."""
    starts: dict[int, int]
    """By node, ancestors included: position of its first token."""


def build_layout(tree: Tree, nodes: Sequence[int], *, device: torch.device) -> Layout:
    """The layout of consecutive nodes of a tree. Nodes above them may be in earlier passes."""
    spans: dict[int, tuple[int, int]] = {}
    at = 0
    for i in nodes:
        spans[i] = (at, at := at + len(tree[i].ids))
    paths = {i: tuple(reversed(list(_above(tree, i)))) for i in nodes}
    reach: dict[int, tuple[int, int]] = {}
    for i in nodes:
        for above in paths[i]:
            start, _ = reach.get(above, (spans[i][0], 0))
            reach[above] = (start, spans[i][1])
    outside = sorted(above for above in reach if above not in spans)
    ids = np.concatenate([tree[i].ids for i in nodes], dtype=np.int64)
    positions = np.concatenate([np.arange(tree[i].start, tree[i].end) for i in nodes])
    return Layout(
        ids_N=torch.from_numpy(ids).to(device),
        positions_N=torch.from_numpy(positions).to(device),
        spans=spans,
        blocks=tuple(Block(start=a, end=b, node=above) for above, (a, b) in reach.items()),
        padded_groups=tuple(_padded_groups([spans[i] for i in nodes], device)),
        ancestors=tuple(outside),
        longest=max(tree[i].end for i in nodes),
        paths=paths,
        starts={i: tree[i].start for i in [*nodes, *outside]},
    )


def _above(tree: Tree, i: int) -> Iterator[int]:
    while (parent := tree[i].parent) is not None:
        yield parent
        i = parent


def _padded_groups(spans: Sequence[tuple[int, int]], device: torch.device) -> Iterator[PaddedGroup]:
    """Groups of nodes whose lengths differ by at most a quarter, so that little is padding."""
    spans = sorted(spans, key=lambda span: span[0] - span[1])
    while spans:
        T = spans[0][1] - spans[0][0]
        n = sum(4 * (b - a) >= 3 * T for a, b in spans)
        taken, spans = spans[:n], spans[n:]
        starts, ends = torch.tensor(taken).unbind(1)
        rows_nT = starts[:, None] + torch.arange(T)
        real = (rows_nT < ends[:, None]).flatten().nonzero().squeeze(1)
        rows_nT = torch.minimum(rows_nT, ends[:, None] - 1)
        yield PaddedGroup(rows_nT=rows_nT.to(device), real=real.to(device))
