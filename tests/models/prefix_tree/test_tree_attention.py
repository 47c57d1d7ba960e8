"""The ways to compute attention over a tree, against softmax over a brute-force mask."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from sampled import sampled
from torch import Tensor
from torch.nn.attention import flex_attention as torch_flex

from rlvr.models.prefix_tree.attention import DetachedKV, TreeAttention
from rlvr.models.prefix_tree.cuda import FlexAttention
from rlvr.models.prefix_tree.layout import Layout, Tree, build_layout, build_tree

CPU = torch.device("cpu")
SCALE = 0.3

# Ragged: padded groups of several and of one, completions of one token, a prompt longer and one shorter than its completions.
TREE: Tree = build_tree(
    [np.repeat([0, 1], [20, 9]), np.repeat([0, 2], [20, 1])],
    [[np.full(n, 3) for n in (7, 1, 8, 8, 30, 6)], [np.full(n, 3) for n in (1, 12)]],
)
WHOLE = tuple(range(len(TREE)))
PASSES = {
    "whole": WHOLE,
    "below a shared prefix": WHOLE[1:],
    "leaves of a prompt": (2, 3, 4, 5, 6, 7),
    "one leaf": (6,),
    "two prompts": (8, 9, 10),
}


class Inputs:
    """Random queries, keys and values of a pass, and the keys and values of what is above it."""

    def __init__(self, nodes: tuple[int, ...], *, heads: tuple[int, int], dtype: torch.dtype, width: int = 16) -> None:
        torch.manual_seed(0)
        self.layout: Layout = build_layout(TREE, nodes, device=CPU)
        N, (H, Hkv) = len(self.layout.ids_N), heads

        def random(h: int, n: int) -> Tensor:  # as from the layers of transformers: heads are the third dimension in memory
            return torch.randn(1, n, h, width, dtype=torch.float64).to(dtype).transpose(1, 2).requires_grad_()

        self.query, self.key, self.value = random(H, N), random(Hkv, N), random(Hkv, N)
        self.above = [(random(Hkv, len(TREE[i].ids)), random(Hkv, len(TREE[i].ids))) for i in self.layout.ancestors]
        self.grad = torch.randn(1, H, N, width, dtype=torch.float64).to(dtype)

    @property
    def leaves(self) -> list[Tensor]:
        return [self.query, self.key, self.value, *(each for pair in self.above for each in pair)]

    def gradients(self, out: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(out, self.leaves, self.grad))


def ours(given: Inputs, *, window: int | None = None, softcap: float | None = None) -> Tensor:
    above = {}
    for i, pair in zip(given.layout.ancestors, given.above, strict=True):
        above[i] = DetachedKV()
        above[i].detached[0] = pair
    attention = TreeAttention(given.layout, above)
    return attention.attend(0, given.query, given.key, given.value, scale=SCALE, window=window, softcap=softcap)


def reference(given: Inputs, *, window: int | None = None, softcap: float | None = None) -> Tensor:
    """All scores of all packed queries, in float64, masked by whose text a key is part of."""
    nodes = [i for i in given.layout.spans for _ in TREE[i].ids]
    keys = [(i, place) for i in given.layout.ancestors for place in range(TREE[i].start, TREE[i].end)]
    keys += [(i, place) for i in given.layout.spans for place in range(TREE[i].start, TREE[i].end)]
    queries = list(zip(nodes, given.layout.positions_N.tolist(), strict=True))
    seen = [
        [j in family(i) and there <= here and (window is None or here - there < window) for j, there in keys]
        for i, here in queries
    ]
    heads = given.query.shape[1] // given.key.shape[1]
    key = torch.cat([*(k for k, _ in given.above), given.key], dim=2).double().repeat_interleave(heads, dim=1)
    value = torch.cat([*(v for _, v in given.above), given.value], dim=2).double().repeat_interleave(heads, dim=1)
    scores = given.query.double() @ key.transpose(-1, -2) * SCALE
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    return scores.masked_fill(~torch.tensor(seen), -torch.inf).softmax(dim=-1) @ value


def family(i: int) -> set[int]:
    parent = TREE[i].parent
    return {i} if parent is None else {i, *family(parent)}


def close(ours: Tensor, wanted: Tensor, tolerance: float) -> bool:
    return float((ours.detach().double() - wanted.detach().double()).abs().max()) <= tolerance * float(
        wanted.detach().abs().max()
    )


HEADS = [(4, 4), (4, 2), (6, 1)]


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("nodes", PASSES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_blockwise(dtype: torch.dtype, tolerance: float, nodes: str, heads: tuple[int, int]) -> None:
    given = Inputs(PASSES[nodes], heads=heads, dtype=dtype)
    out, wanted = ours(given), reference(given)
    assert out.dtype == dtype
    assert close(out, wanted, tolerance)
    exact = torch.autograd.grad(wanted, given.leaves, given.grad.double())
    for mine, theirs in zip(given.gradients(out), exact, strict=True):
        assert close(mine, theirs, tolerance)


@pytest.mark.parametrize(("window", "softcap"), [*product([1, 6, 25, 40], [None, 1.0]), (None, 1.0)])
@pytest.mark.parametrize("nodes", PASSES)
def test_windows_and_soft_caps(nodes: str, window: int | None, softcap: float | None) -> None:
    for heads in HEADS:
        given = Inputs(PASSES[nodes], heads=heads, dtype=torch.float64)
        out = ours(given, window=window, softcap=softcap)
        wanted = reference(given, window=window, softcap=softcap)
        assert close(out, wanted, 1e-13)
        for mine, theirs in zip(given.gradients(out), given.gradients(wanted), strict=True):
            assert close(mine, theirs, 1e-12)


@pytest.mark.parametrize("nodes", PASSES)
def test_the_widest_windows(nodes: str) -> None:
    """One that hides the first token from the last, and one that hides nothing."""
    given = Inputs(PASSES[nodes], heads=(4, 2), dtype=torch.float64)
    longest = given.layout.longest
    for window in (longest - 1, longest, longest + 1):
        assert close(ours(given, window=window), reference(given, window=window), 1e-13)
    assert not close(ours(given, window=longest - 1), reference(given), 1e-13)


def test_no_score_overflows() -> None:
    """Scores of 1e4 and more, of either sign: blocks are combined by log-sum-exp."""
    given = Inputs(WHOLE[1:], heads=(4, 2), dtype=torch.float32)
    with torch.no_grad():
        given.query *= 1e3
        given.key[:, :, ::2] *= 10
    out = ours(given)
    assert close(out, reference(given), 1e-3)
    assert all(gradient.isfinite().all() for gradient in given.gradients(out))


@pytest.fixture
def flex(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """Flex attention uncompiled. torch refuses gradients on a CPU, where it has no kernel for them; none is needed here."""
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *_: None)

    def attend(given: Inputs, *, window: int | None, softcap: float | None) -> Tensor:
        attention = FlexAttention(given.layout, [k.shape[2] for k, _ in given.above])
        return attention.attend(given.query, given.key, given.value, given.above, scale=SCALE, window=window, softcap=softcap)

    return attend


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile", "ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize(("window", "softcap"), [(None, None), (6, None), (25, 1.0)])
@pytest.mark.parametrize("nodes", sampled(["below a shared prefix", "whole", "two prompts"]))
def test_flex(nodes: str, window: int | None, softcap: float | None, flex: Callable[..., Tensor]) -> None:
    given = Inputs(PASSES[nodes], heads=(4, 2), dtype=torch.float64)
    out = flex(given, window=window, softcap=softcap)
    wanted = reference(given, window=window, softcap=softcap)
    assert close(out, wanted, 1e-13)
    for mine, theirs in zip(given.gradients(out), given.gradients(wanted), strict=True):
        assert close(mine, theirs, 1e-12)
