"""The cases of the benchmark `grpo_step`: shapes of models, sizes of batches, and sweeps over one size at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Side = Literal["ours", "trl"]
SIDES: tuple[Side, ...] = ("ours", "trl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A Qwen2 model with tied embeddings and random weights."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    vocabulary: int
    """Rows of the embedding, V."""
    bpe: int
    """Entries that occur in texts, so that the number of tokens in a text does not depend on `vocabulary`."""

    @property
    def head(self) -> int:
        """Size of an attention head."""
        return self.hidden // self.heads

    @property
    def linear_weights(self) -> int:
        """Weights of all matrices except the embedding; each token is multiplied with every weight once."""
        per_layer = self.hidden * self.head * (2 * self.heads + 2 * self.kv_heads) + 3 * self.hidden * self.ffn
        return self.layers * per_layer

    @property
    def parameters(self) -> int:
        """Trained parameters: matrices, embedding, biases of queries, keys and values, and norms."""
        biases = self.layers * self.head * (self.heads + 2 * self.kv_heads)
        return self.linear_weights + self.vocabulary * self.hidden + biases + (2 * self.layers + 1) * self.hidden


TINY = Shape(layers=4, hidden=128, heads=4, kv_heads=2, ffn=256, vocabulary=2048, bpe=2048)
HALF = Shape(layers=24, hidden=896, heads=14, kv_heads=2, ffn=4864, vocabulary=151_936, bpe=16_384)
ONE_AND_A_HALF = Shape(layers=28, hidden=1536, heads=12, kv_heads=2, ffn=8960, vocabulary=151_936, bpe=16_384)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison."""

    name: str
    shape: Shape
    problems: int
    """Problems per step, P."""
    group_size: int
    """Rollouts per problem, G."""
    new_tokens: int
    """Tokens of every completion, T: none ends early."""
    few_shot: int = 0
    """Few-shot examples of GSM8K before every problem."""
    prefix: int | None = None
    """Tokens of GSM8K's text before every problem, instead of examples; approximate, as decoding and encoding may change it."""
    steps: int = 3
    """Measured in one process, after one step of warm-up."""
    trl_batch: int
    """TRL's `per_device_train_batch_size`: rollouts in one forward and backward."""
    precision: Literal["no", "bf16"] = "no"
    """Autocast; weights and optimizer are always float32."""

    @property
    def rollouts(self) -> int:
        return self.problems * self.group_size

    def __post_init__(self) -> None:
        if self.rollouts % self.trl_batch:
            raise ValueError(f"{self.name}.trl_batch={self.trl_batch}: must divide the {self.rollouts} rollouts of a step")


_tiny = Case(name="tiny", shape=TINY, problems=16, group_size=8, new_tokens=64, steps=5, trl_batch=8)
_half = Case(name="half_0shot", shape=HALF, problems=2, group_size=8, new_tokens=32, steps=1, trl_batch=4)
_large = replace(_half, problems=8, new_tokens=256, few_shot=8, steps=3, precision="bf16")
_every = (
    _tiny,
    replace(_tiny, name="tiny_700", prefix=700, steps=2),
    replace(_tiny, name="tiny_8shot", few_shot=8, steps=2),
    _half,
    replace(_half, name="half_8shot", few_shot=8, trl_batch=1),
    replace(_large, name="half_256_g8"),
    replace(_large, name="half_256_g16", group_size=16),
    replace(_large, name="1.5b_256_g8", shape=ONE_AND_A_HALF),
    replace(_large, name="1.5b_256_g16", shape=ONE_AND_A_HALF, group_size=16),
)
CASES = {case.name: case for case in _every}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Cases that differ in one size."""

    name: str
    axis: str
    """Label of the x axis."""
    points: tuple[tuple[int, Case], ...]
    """Pairs of a size and the case with that size."""


_swept = replace(_tiny, problems=4, new_tokens=32, steps=3, trl_batch=8, shape=replace(TINY, vocabulary=1024, bpe=1024))


def _prefix(tokens: int) -> Case:
    return replace(_swept, name=f"prefix_{tokens}", prefix=tokens)


def _group(size: int) -> Case:
    return replace(_swept, name=f"group_{size}", prefix=512, group_size=size)


def _vocabulary(size: int) -> Case:
    return replace(_swept, name=f"vocabulary_{size}", shape=replace(_swept.shape, vocabulary=size))


SWEEPS = {
    sweep.name: sweep
    for sweep in (
        Sweep(
            name="sweep-prefix",
            axis="tokens of shared prefix",
            points=tuple((n, _prefix(n)) for n in (0, 256, 512, 1024, 2048)),
        ),
        Sweep(name="sweep-group", axis="rollouts per problem", points=tuple((n, _group(n)) for n in (4, 8, 16, 32, 64))),
        Sweep(
            name="sweep-vocabulary",
            axis="vocabulary size",
            points=tuple((n, _vocabulary(n)) for n in (1024, 4096, 16_384, 65_536, 151_936)),
        ),
    )
}
