"""Prefix trees, their passes and layouts: properties, against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlvr.models.prefix_tree.cuda import BLOCK, FlexAttention
from rlvr.models.prefix_tree.layout import Layout, Tree, build_layout, build_tree, schedule_passes, shared_prefix_length

CPU = torch.device("cpu")

ids = st.integers(0, 2)  # few tokens, so that prompts often share a prefix
texts = st.lists(ids, min_size=1, max_size=9).map(np.array)
families = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=6)), min_size=1, max_size=5)
trees = families.map(lambda each: build_tree([prompt for prompt, _ in each], [leaves for _, leaves in each]))


def above(tree: Tree, i: int) -> list[int]:
    """Innermost first."""
    parent = tree[i].parent
    return [] if parent is None else [parent, *above(tree, parent)]


def text(tree: Tree, i: int) -> tuple[int, ...]:
    """All tokens from the root to the end of a node."""
    return tuple(token for j in [*reversed(above(tree, i)), i] for token in tree[j].ids)


def size(tree: Tree, nodes: tuple[int, ...]) -> int:
    return sum(len(tree[i].ids) for i in nodes)


@pytest.mark.parametrize(
    ("prompts", "length"),
    [
        ([], 0),
        ([(1, 2, 3)], 0),
        ([(1, 2, 3), (1, 2, 4, 5)], 2),
        ([(1, 2, 3), (1, 2, 3, 4)], 2),
        ([(1, 2, 3), (1, 2, 3)], 2),
        ([(1,), (1, 2)], 0),
        ([(1, 2, 3), (1, 2, 4), (2, 2, 3)], 0),
    ],
)
def test_a_shared_prefix_is_never_a_whole_prompt(prompts: list[tuple[int, ...]], length: int) -> None:
    assert shared_prefix_length([np.array(prompt) for prompt in prompts]) == length


@settings(deadline=None)
@given(families)
def test_a_tree_holds_every_text_once(families: list[tuple[np.ndarray, list[np.ndarray]]]) -> None:
    tree = build_tree([prompt for prompt, _ in families], [leaves for _, leaves in families])
    for i, node in enumerate(tree):
        assert len(node.ids)
        assert node.start == sum(len(tree[j].ids) for j in above(tree, i))
        assert all(j < i for j in above(tree, i))
    parents = {node.parent for node in tree}
    leaves = [text(tree, i) for i in range(len(tree)) if i not in parents]
    assert leaves == [(*prompt, *leaf) for prompt, leaves in families for leaf in leaves]
    prompts = [prompt for prompt, _ in families]
    shared = shared_prefix_length(prompts)
    once = (
        shared + sum(len(prompt) - shared for prompt in prompts) + sum(len(leaf) for _, all_of in families for leaf in all_of)
    )
    assert size(tree, tuple(range(len(tree)))) == once


@settings(deadline=None)
@given(trees, st.integers(1, 60))
def test_passes_take_every_node_once_and_keep_the_budget(tree: Tree, budget: int) -> None:
    passes = schedule_passes(tree, budget=budget)
    assert [i for each in passes for i in each.nodes] == list(range(len(tree)))
    held: list[int] = []  # open nodes when a pass begins
    for each in passes:
        assert each.nodes
        assert size(tree, each.nodes) <= budget or len(each.nodes) == 1
        assert list(each.ancestors) == held[: len(each.ancestors)], "nodes are closed from the last on"
        held = list(each.ancestors)
        for i in each.nodes:
            outside = [j for j in reversed(above(tree, i)) if j not in each.nodes]
            assert outside == held
        if each.keeps:
            held += each.nodes
    needed = {i for each in passes for i in each.ancestors}
    assert needed == {i for each in passes if each.keeps for i in each.nodes}


@settings(deadline=None)
@given(trees)
def test_a_large_budget_gives_one_pass(tree: Tree) -> None:
    (only,) = schedule_passes(tree, budget=size(tree, tuple(range(len(tree)))))
    assert (only.nodes, only.ancestors, only.keeps) == (tuple(range(len(tree))), (), False)


def test_no_pass_for_no_tree() -> None:
    assert schedule_passes((), budget=10) == []


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=7), st.integers(1, 40))
def test_passes_are_as_few_and_as_even_as_can_be(lengths: list[int], budget: int) -> None:
    """Of the completions of a prompt that do not fit in one pass, against all ways to split them."""
    tree = build_tree([np.ones(40, dtype=int)], [[np.ones(n, dtype=int) for n in lengths]])
    first, *passes = schedule_passes(tree, budget=budget)
    assert first.nodes == (0,)
    assert first.keeps
    found = [[lengths[i - 1] for i in each.nodes] for each in passes]
    allowed = [cut for cut in cuts(lengths) if all(sum(part) <= budget or len(part) == 1 for part in cut)]
    fewest = min(map(len, allowed))
    assert len(found) == fewest
    assert fullest(found) == min(fullest(cut) for cut in allowed if len(cut) == fewest)


def cuts(lengths: list[int]) -> list[list[list[int]]]:
    places = range(1, len(lengths))
    chosen = [at for n in range(len(lengths)) for at in combinations(places, n)]
    return [[lengths[a:b] for a, b in zip((0, *at), (*at, len(lengths)), strict=True)] for at in chosen]


def fullest(parts: list[list[int]]) -> int:
    """Of the passes with more than one completion: a long completion by itself cannot be split."""
    return max((sum(part) for part in parts if len(part) > 1), default=0)


def brute_force_mask(tree: Tree, layout: Layout, ancestors: list[int]) -> Tensor:
    """The keys (of ancestors and the pass) that each packed query attends to: those of its text that are not after it."""
    own = [(i, place) for i in layout.spans for place in range(tree[i].start, tree[i].end)]
    outside = [(i, place) for i in ancestors for place in range(tree[i].start, tree[i].end)]
    return torch.tensor(
        [[j in (i, *above(tree, i)) and seen <= place for j, seen in [*outside, *own]] for i, place in own], dtype=torch.bool
    )


@settings(deadline=None)
@given(trees, st.integers(1, 60))
def test_blocks_and_padded_groups_are_the_mask(tree: Tree, budget: int) -> None:
    for each in schedule_passes(tree, budget=budget):
        layout = build_layout(tree, each.nodes, device=CPU)
        assert layout.ids_N.tolist() == [token for i in each.nodes for token in tree[i].ids]
        assert layout.positions_N.tolist() == [place for i in each.nodes for place in range(tree[i].start, tree[i].end)]
        assert layout.longest == max(len(text(tree, i)) for i in each.nodes)
        assert layout.ancestors == each.ancestors
        assert {i: list(path) for i, path in layout.paths.items()} == {i: above(tree, i)[::-1] for i in each.nodes}
        before = size(tree, each.ancestors)
        columns = {i: (a + before, b + before) for i, (a, b) in layout.spans.items()}
        at = 0
        for i in each.ancestors:
            columns[i] = (at, at := at + len(tree[i].ids))
        times_NK = torch.zeros(len(layout.ids_N), before + len(layout.ids_N), dtype=torch.int64)
        for block in layout.blocks:
            times_NK[block.start : block.end, slice(*columns[block.node])] += 1
        for group in layout.padded_groups:
            assert sorted(group.real.tolist()) == group.real.tolist()
            real_nT = (
                torch.zeros(group.rows_nT.numel(), dtype=torch.bool).index_fill(0, group.real, True).view(group.rows_nT.shape)
            )
            for rows_T, kept_T in zip(group.rows_nT, real_nT, strict=True):
                rows = rows_T[kept_T].tolist()
                assert rows_T[~kept_T].tolist() == [rows[-1]] * int((~kept_T).sum())
                for n, row in enumerate(rows):
                    times_NK[row, [before + seen for seen in rows[: n + 1]]] += 1
        assert torch.equal(times_NK, brute_force_mask(tree, layout, list(each.ancestors)).long())


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_little_of_a_group_is_padding(lengths: list[int]) -> None:
    tree = build_tree([np.ones(1, dtype=int)], [[np.ones(n, dtype=int) for n in lengths]])
    for group in build_layout(tree, range(1, len(tree)), device=CPU).padded_groups:
        assert len(group.real) >= 0.75 * group.rows_nT.numel()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 300), st.lists(st.integers(1, 200), min_size=1, max_size=4)), min_size=1, max_size=2),
    st.integers(0, 300),
    st.sampled_from([50, 400, 10_000]),
    st.sampled_from([None, 1, 70, 300]),
)
def test_the_blocks_of_flex_attention_are_the_mask(
    shape: list[tuple[int, list[int]]], shared: int, budget: int, window: int | None
) -> None:
    """Both the mask of single scores, and the blocks of scores that the kernel skips or takes whole."""
    prompts = [np.repeat([0, n + 1], [shared, length]) for n, (length, _) in enumerate(shape)]
    tree = build_tree(prompts, [[np.full(n, 9) for n in leaves] for _, leaves in shape])
    for each in schedule_passes(tree, budget=budget):
        layout = build_layout(tree, each.nodes, device=CPU)
        flex = FlexAttention(layout, [len(tree[i].ids) for i in each.ancestors])
        wanted_NK = mask_by_numbers(tree, layout, each.ancestors)
        if window is not None:
            places_K = torch.cat([torch.arange(tree[i].start, tree[i].end) for i in (*each.ancestors, *each.nodes)])
            wanted_NK &= layout.positions_N[:, None] - places_K < window
        mask = flex.mask(layout.longest if window is None else window)
        N, K = wanted_NK.shape
        assert mask.seq_lengths == (N, K)
        assert torch.equal(mask.mask_mod(None, None, torch.arange(N)[:, None], torch.arange(K)), wanted_NK)
        padded = torch.nn.functional.pad(wanted_NK, (0, -K % BLOCK, 0, -N % BLOCK))
        real = torch.nn.functional.pad(torch.ones_like(wanted_NK), (0, 0, 0, -N % BLOCK))  # rows after the last do not count
        real = torch.nn.functional.pad(real, (0, -K % BLOCK), value=True)
        some_ij, all_ij = blocks(padded).any(-1), (blocks(padded) | ~blocks(real)).all(-1)
        part_ij = marked(mask.kv_num_blocks, mask.kv_indices)
        whole_ij = marked(mask.full_kv_num_blocks, mask.full_kv_indices)
        assert not (part_ij & whole_ij).any()
        assert not (some_ij & ~(part_ij | whole_ij)).any(), "no score that counts is skipped"
        assert torch.equal(whole_ij, all_ij)
        if window is None:
            assert torch.equal(part_ij | whole_ij, some_ij), "and none is computed in vain"


def mask_by_numbers(tree: Tree, layout: Layout, ancestors: tuple[int, ...]) -> Tensor:
    """`brute_force_mask` for longer nodes."""
    own = list(layout.spans)
    node_N = torch.tensor([i for i in own for _ in tree[i].ids])
    node_K = torch.cat([torch.tensor([i for i in ancestors for _ in tree[i].ids], dtype=torch.int64), node_N])
    place_K = torch.cat([torch.arange(tree[i].start, tree[i].end) for i in (*ancestors, *own)])
    sees = torch.zeros(len(tree), len(tree), dtype=torch.bool)
    for i in own:
        sees[i, [i, *above(tree, i)]] = True
    return sees[node_N][:, node_K] & (place_K <= layout.positions_N[:, None])


def blocks(padded_NK: Tensor) -> Tensor:
    """[i, j, scores of the block]."""
    return padded_NK.unflatten(0, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(1, 2).flatten(2)


def marked(counts: Tensor | None, numbers: Tensor | None) -> Tensor:
    """From lists of block indices to a matrix [i, j] of bool."""
    assert counts is not None
    assert numbers is not None
    marked_ij = torch.zeros(numbers.shape[-2:], dtype=torch.bool)
    for i, (n, row) in enumerate(zip(counts[0, 0].tolist(), numbers[0, 0].tolist(), strict=True)):
        marked_ij[i, row[:n]] = True
    return marked_ij
