"""The nouns of the project: problem, rollout, group, verdict.

Shape legend, used in the names of tensors everywhere: `rewards_PG` is one reward per rollout, by problem, and `logprobs_N` one
number per completion token.
    P  problems in a batch             G  rollouts of one problem (the group)
    B  rollouts in a batch (P x G)     R  rollouts of a micro-batch, or rows of a cache
    T  completion tokens, padded       S  prompt tokens
    N  tokens one sequence after another, without padding: of completions in losses, of a whole pass in a prefix tree
    V  vocabulary                      W  width of the hidden states
    M  rows of hidden states for which the output layer is computed
    H  query heads                     Hkv  key-value heads              D  width of a head
    K  keys of a pass in a prefix tree, ancestors' first
    b  rollouts being sampled          p  their prompts                  g  most rollouts of one of these prompts
    n  equal parts: nodes padded together (`rows_nT`), blocks of B tokens of the vocabulary (`blocks_bnB`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

VerdictStatus = Literal["scored", "unscorable", "error"]
FinishReason = Literal["stop", "length"]
Split = Literal["train", "eval", "forced"]
"""Why rollouts were sampled. `eval`: held-out problems, decoded greedily; `forced`: the same, the response beginning with
`eval.forced_prefix`."""
Span = tuple[int, int]
"""Start and end in a text, as in `text[start:end]`."""

# A chat template (or a prompt of ours) may end by opening the assistant's reasoning for it.
_OPENED_THINK = re.compile(r"<think>\s*\Z")


class FrozenDict(dict[str, Any]):
    """A dict that cannot change. Still a `dict`, so that it pickles (for worker processes) and suits JSON libraries."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a problem's truth and metadata are read-only")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse  # pyright: ignore

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


def frozen(value: Any) -> Any:
    """`value` with every mapping and list in it made read-only, so that no verifier can change what the next one sees."""
    if isinstance(value, Mapping):
        return FrozenDict({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One task with a ground truth that code can check."""

    id: str
    """Unique within a data set."""
    prompt: str
    """What the model is given. A data set gives the bare question; `data.prompts` renders it into the model's prompt."""
    truth: Mapping[str, Any]
    """What verifiers compare with; each reads its own keys (`{"answer": "72"}`)."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What verifiers do not need: `solution` is the reference reasoning, if the data set has one."""
    prefill: str | None = None
    """The start of the assistant's response that `prompt` already holds. None: `<think>` if the prompt ends in it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "truth", frozen(self.truth))
        object.__setattr__(self, "metadata", frozen(self.metadata))
        if self.prefill is None:
            opened = _OPENED_THINK.search(self.prompt)
            object.__setattr__(self, "prefill", opened.group() if opened else "")

    def response(self, completion: str) -> str:
        """The assistant's whole response, which is what verifiers score: what the prompt opened, then the completion."""
        return f"{self.prefill}{completion}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one verifier says of one completion."""

    outcome: VerdictStatus
    """`scored`; `unscorable`: the ground truth cannot be checked; `error`: our side failed. Only `scored` carries a score."""
    score: float | None
    """In [0, 1] when scored, else None."""
    reason: str
    """A short code: `correct`, `wrong`, `no_answer`, `ambiguous`, `timeout`, ..."""
    answer: str | None = None
    """What was extracted from the completion, if anything."""
    detail: str = ""
    """For a human."""
    span: Span | None = None
    """Where what was scored (the answer, the program) stands: in the response for a verifier, in the completion for whoever
    gets the verdict from a rule pack."""

    def __post_init__(self) -> None:
        if (self.score is None) == (self.outcome == "scored"):
            raise ValueError(f"a verdict has a score exactly when its outcome is 'scored': {self.outcome=}, {self.score=}")
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score lies in [0, 1], got {self.score}")
        if self.span is not None and not 0 <= self.span[0] <= self.span[1]:
            raise ValueError(f"a span is a start and an end, got {self.span}")

    @classmethod
    def scored(
        cls, score: float, reason: str, answer: str | None = None, detail: str = "", *, span: Span | None = None
    ) -> Verdict:
        return cls(outcome="scored", score=score, reason=reason, answer=answer, detail=detail, span=span)

    @classmethod
    def unscorable(cls, reason: str, detail: str = "") -> Verdict:
        return cls(outcome="unscorable", score=None, reason=reason, detail=detail)

    @classmethod
    def error(cls, reason: str, detail: str = "") -> Verdict:
        return cls(outcome="error", score=None, reason=reason, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollout:
    """One sampled completion of a problem; scoring and scaling return copies with the later fields filled in.

    Arrays have an element per completion token; any sequence may be given, and what is kept is read-only.
    Errors: `ValueError` for lengths that differ, and where no token counts in the loss.
    """

    token_ids: np.ndarray
    """int32 [T], the end-of-sequence token included if one was sampled."""
    logprobs: np.ndarray
    """float32 [T] (float64 of a model that computes in it), log-probability of each token under the sampling distribution
    (nats, after temperature); without meaning outside the loss mask."""
    text: str
    """The completion as scored: decoded tokens without the final end-of-sequence token or what follows a stop string."""
    finish_reason: FinishReason
    """`stop`: the model ended it, or said a stop string; `length`: it hit the token limit."""
    entropies: np.ndarray | None = None
    """As `logprobs`: entropy of the distribution that each token was drawn from (nats); None if the engine does not know it."""
    loss_mask: np.ndarray = None  # pyright: ignore[reportAssignmentType]  # made of ones below
    """bool [T], the tokens that the policy sampled and that count in the loss; by default all. Others (a tool wrote them) are
    only read."""
    policy_version: int = 0
    """`Policy.version` of the weights that sampled it."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """By rule name."""
    reward: float | None = None
    """Sum of weight x score; None: masked, because a rule that counts could not score it."""
    advantage: float = 0.0
    """As used in the loss."""

    def __post_init__(self) -> None:
        import numpy as np  # here, since a worker process that scores needs none

        n = len(self.token_ids)
        if self.loss_mask is None:
            object.__setattr__(self, "loss_mask", np.ones(n, dtype=bool))
        kinds = {"token_ids": (np.int32,), "logprobs": (np.float32, np.float64), "loss_mask": (np.bool_,)}
        kinds["entropies"] = kinds["logprobs"]
        for name, allowed in kinds.items():
            array = getattr(self, name)
            if array is None:
                continue
            if not isinstance(array, np.ndarray) or array.dtype.type not in allowed:
                array = np.asarray(array)
                array = array if array.dtype.type in allowed else array.astype(allowed[-1])
            if array.shape != (n,):
                raise ValueError(f"{name} has the shape {array.shape}, token_ids {n} tokens")
            if array.flags.writeable:
                array = array.view()
                array.flags.writeable = False
            object.__setattr__(self, name, array)
        if n and not self.loss_mask.any():
            raise ValueError("loss_mask: no token counts in the loss")

    @property
    def n_trained(self) -> int:
        """Tokens that count in the loss."""
        return int(self.loss_mask.sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """A problem and its rollouts."""

    problem: Problem
    """As rendered for the model."""
    prompt_ids: np.ndarray
    """int32 [S], the tokens of `problem.prompt`."""
    rollouts: tuple[Rollout, ...]

    @property
    def degenerate(self) -> bool:
        """All scored rollouts have the same reward, so the group gives no gradient."""
        return len({rollout.reward for rollout in self.rollouts if rollout.reward is not None}) <= 1
