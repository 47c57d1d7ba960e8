"""Lower bound for the time of a step of `grpo_step`: necessary operations and bytes over the rates that the machine reaches.

Counted with perfect sharing: the shared prefix goes through the model once per step, the rest of a prompt once per group, the
tokens of a completion once (except its last, after which nothing is predicted). Backward costs twice forward. A phase takes as
long as its operations or its bytes, whichever is longer; phases follow one another.

Not counted: everything but matrix products (norms, softmax, sampling, rotary embeddings, activations), gradients of the
embedding, Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from grpo_step_cases import Case, Shape
from grpo_step_models import Workload

FLOAT = 4
"""Bytes of a number in memory: weights are float32 even under autocast."""
ADAMW = 8
"""Numbers moved for each parameter by clipping (reads the gradient) and AdamW (reads four, writes three)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Rates that the machine reaches."""

    flops: float
    """Floating-point operations a second: the best of torch.mm at sizes like the model's."""
    bytes: float
    """Bytes a second, read and written: the best of copying and of reading large tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Operations and bytes of one phase."""

    flops: float
    bytes: float

    def seconds(self, rates: Rates) -> float:
        return max(self.flops / rates.flops, self.bytes / rates.bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Minimum seconds of the parts of a step."""

    rollout: float
    train: float

    @property
    def total(self) -> float:
        return self.rollout + self.train


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The tokens that go through the model in one step: a shared prefix, prompts after it, completions after each prompt."""

    prefix: int
    """Tokens."""
    prompts: Sequence[int]
    """Tokens of each prompt after the prefix."""
    group_size: int
    new_tokens: int
    """Tokens of every completion."""

    @property
    def prompt_tokens(self) -> int:
        return self.prefix + sum(self.prompts)

    @property
    def rollouts(self) -> int:
        return len(self.prompts) * self.group_size

    @property
    def completion_tokens(self) -> int:
        """Those that go through the model."""
        return self.rollouts * (self.new_tokens - 1)

    @property
    def predictions(self) -> int:
        """Positions that need a distribution over the vocabulary: the end of every prompt, and completion tokens."""
        return len(self.prompts) + self.completion_tokens

    @property
    def prompt_pairs(self) -> int:
        """Pairs of a prompt token and a token that it attends to, itself included."""
        return _pairs(0, self.prefix) + sum(_pairs(self.prefix, length) for length in self.prompts)

    @property
    def completion_pairs(self) -> int:
        before = [self.prefix + length for length in self.prompts]
        return self.group_size * sum(_pairs(length, self.new_tokens - 1) for length in before)


def _pairs(before: int, tokens: int) -> int:
    """Attention pairs of `tokens` consecutive tokens that follow `before` others."""
    return tokens * before + tokens * (tokens + 1) // 2


def phases(shape: Shape, tree: Tree) -> dict[str, Work]:
    """The work of a step by phase."""
    per_pair = 4 * shape.layers * shape.heads * shape.head  # q.k and p.v, a multiplication and an addition each
    per_prediction = 2 * shape.vocabulary * shape.hidden
    cache = 2 * shape.layers * shape.kv_heads * shape.head * FLOAT  # of one token
    weights, embedding = shape.linear_weights * FLOAT, shape.vocabulary * shape.hidden * FLOAT
    prompt = 2 * shape.linear_weights * tree.prompt_tokens + per_pair * tree.prompt_pairs
    completion = 2 * shape.linear_weights * tree.completion_tokens + per_pair * tree.completion_pairs
    decodings = tree.new_tokens - 1
    own = tree.rollouts * decodings * (decodings + 1) // 2  # completion tokens in the cache, over all decodings
    return {
        "prefill": Work(
            flops=prompt + per_prediction * len(tree.prompts),
            bytes=weights + embedding + cache * tree.prompt_tokens,
        ),
        "decode": Work(
            flops=completion + per_prediction * tree.completion_tokens,
            bytes=decodings * (weights + embedding + cache * tree.prompt_tokens) + cache * own,
        ),
        "gradient": Work(
            flops=3 * (prompt + completion + per_prediction * tree.predictions),
            bytes=3 * (weights + embedding),
        ),
        "optimizer": Work(flops=0, bytes=ADAMW * FLOAT * shape.parameters),
    }


def floor(case: Case, workload: Workload, rates: Rates) -> Floor:
    """The mean over the steps of the case, whose prompts differ in length."""
    at = range(0, len(workload.lengths), case.problems)
    seconds: dict[str, float] = {}
    for first in at:
        lengths = [length - workload.shared for length in workload.lengths[first : first + case.problems]]
        tree = Tree(prefix=workload.shared, prompts=lengths, group_size=case.group_size, new_tokens=case.new_tokens)
        for name, work in phases(case.shape, tree).items():
            seconds[name] = seconds.get(name, 0.0) + work.seconds(rates) / len(at)
    return Floor(rollout=seconds["prefill"] + seconds["decode"], train=seconds["gradient"] + seconds["optimizer"])


def measure_rates(case: Case, device: str) -> Rates:
    """The best of at least five each, so that other load on the machine hardly counts."""
    shape = case.shape
    dtype = torch.bfloat16 if case.precision == "bf16" else torch.float32
    sizes = [
        (4096, shape.hidden, shape.ffn),
        (4096, shape.ffn, shape.hidden),
        (case.rollouts, shape.hidden, shape.ffn),
        (min(4096, case.rollouts * case.new_tokens), shape.hidden, shape.vocabulary),
    ]
    flops = []
    for rows, inner, columns in sizes:
        left, right = (torch.randn(size, device=device, dtype=dtype) for size in ((rows, inner), (inner, columns)))
        out = torch.empty(rows, columns, device=device, dtype=dtype)
        flops.append(2 * rows * inner * columns / _seconds(lambda a=left, b=right, c=out: torch.mm(a, b, out=c), device))
    source = torch.randn(64 << 20, device=device)
    target = torch.empty_like(source)
    size = source.numel() * FLOAT
    copied = 2 * size / _seconds(lambda: target.copy_(source), device)
    read = size / _seconds(lambda: torch.dot(source, source), device)
    return Rates(flops=max(flops), bytes=max(copied, read))


def _seconds(call: Callable[[], object], device: str) -> float:
    """The minimum over at least five calls, and over as many as fit in 0.2 s."""
    call()
    taken: list[float] = []
    while len(taken) < 5 or sum(taken) < 0.2:
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        taken.append(time.perf_counter() - start)
    return min(taken)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
