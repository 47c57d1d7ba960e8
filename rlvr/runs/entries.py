"""Entries of the rollout log: `Entry`, one rollout with its verdicts; and conversion of entries to Arrow tables and back.

Text in a table is UTF-8, which cannot hold lone surrogates. A text may have one (a verifier may quote a JSON string of the
model's, `"\\ud800"`); it is written as U+10FFFF and six hexadecimal digits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from rlvr.config.schema import AlgoConfig
from rlvr.errors import ConfigError
from rlvr.rules.fingerprint import Fingerprint
from rlvr.types import FinishReason, Group, Problem, Rollout, Split, Verdict

SPAN = pa.struct([pa.field("start", pa.int32(), nullable=False), pa.field("end", pa.int32(), nullable=False)])
VERDICT = pa.struct(
    [
        pa.field("rule", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("span", SPAN),
        pa.field("detail", pa.string(), nullable=False),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("step", pa.int32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("group_index", pa.int32(), nullable=False),
        pa.field("rollout_index", pa.int32(), nullable=False),
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string()),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("prefill", pa.string(), nullable=False),
        pa.field("completion", pa.string(), nullable=False),
        pa.field("truth", pa.string(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("logprob", pa.float64(), nullable=False),
        pa.field("verdicts", pa.list_(pa.field("element", VERDICT, nullable=False)), nullable=False),
        pa.field("reward", pa.float64()),
        pa.field("advantage", pa.float64()),
        pa.field("rules_hash", pa.string(), nullable=False),
    ]
)
"""For the columns see `Entry`. `truth` and `metadata` are JSON; `dataset` is metadata's (null outside a mixture); `prefill` is
the given beginning of the response; `verdicts` are those of the rules that apply to the problem, with their active weights."""
_OF_PROBLEM = ("problem_id", "dataset", "prompt", "prefill", "truth", "metadata")
_PLAIN = tuple(name for name in SCHEMA.names if name not in (*_OF_PROBLEM, "completion", "verdicts"))
"""Columns that are fields of an entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One rollout as the rollout log holds it."""

    step: int
    """From 1; that of an evaluation is the step before it, 0 before training."""
    split: Split
    group_index: int
    """Index of its group within step and split, from 0."""
    rollout_index: int
    """Index within the group, from 0."""
    problem: Problem
    """As rendered for the model."""
    completion: str
    """What the model wrote; `problem.response(completion)` was scored."""
    tokens: int
    """Completion tokens, the end-of-sequence token included."""
    finish_reason: FinishReason
    logprob: float
    """Sum of the sampling log-probabilities of the tokens that count in the loss (nats)."""
    verdicts: Mapping[str, Verdict]
    """By rule name."""
    weights: Mapping[str, float]
    """Active weights of the same rules."""
    reward: float | None
    """None: masked."""
    advantage: float | None
    """As used in the loss; None for a rollout without a part in it."""
    rules_hash: str
    """`Fingerprint.hash` of the active rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advantages:
    """How advantages follow from rewards; see `AlgoConfig`."""

    scaling: str = AlgoConfig.scaling
    deviation: str = AlgoConfig.deviation
    mask_truncated: bool = AlgoConfig.mask_truncated

    @classmethod
    def of(cls, algo: AlgoConfig) -> Advantages:
        return cls(scaling=algo.scaling, deviation=algo.deviation, mask_truncated=algo.mask_truncated)

    def counts(self, *, split: Split, reward: float | None, finish_reason: FinishReason) -> bool:
        """Whether a rollout takes part in the loss and so has an advantage."""
        return split == "train" and reward is not None and not (self.mask_truncated and finish_reason == "length")


def entries_of(groups: Sequence[Group], *, step: int, split: Split, rules: Fingerprint, advantages: Advantages) -> list[Entry]:
    """Entries of scored groups, those of training groups with the advantages used in the loss."""
    weights, rules_hash = rules.weights, rules.hash

    def entry(at: int, group: Group, index: int, rollout: Rollout) -> Entry:
        counts = advantages.counts(split=split, reward=rollout.reward, finish_reason=rollout.finish_reason)
        return Entry(
            step=step,
            split=split,
            group_index=at,
            rollout_index=index,
            problem=group.problem,
            completion=rollout.text,
            tokens=len(rollout.token_ids),
            finish_reason=rollout.finish_reason,
            logprob=math.fsum(rollout.logprobs[rollout.loss_mask].tolist()),
            verdicts=rollout.verdicts,
            weights={name: weights[name] for name in rollout.verdicts},
            reward=rollout.reward,
            advantage=rollout.advantage if counts else None,
            rules_hash=rules_hash,
        )

    return [entry(at, group, i, rollout) for at, group in enumerate(groups) for i, rollout in enumerate(group.rollouts)]


def table_of(entries: Sequence[Entry]) -> pa.Table:
    """A row an entry, in order. Errors: `ConfigError` for a problem that JSON would not give back unchanged."""
    problems = {id(entry.problem): entry.problem for entry in entries}  # rollouts of a group share one problem
    columns_of = {key: _problem_columns(problem) for key, problem in problems.items()}
    return pa.Table.from_pylist(
        [
            {
                **{name: getattr(entry, name) for name in _PLAIN},
                **columns_of[id(entry.problem)],
                "completion": _utf8(entry.completion),
                "verdicts": [_verdict_columns(name, entry.weights[name], of) for name, of in entry.verdicts.items()],
            }
            for entry in entries
        ],
        schema=SCHEMA,
    )


def _problem_columns(problem: Problem) -> dict[str, str | None]:
    odd = _odd(problem.truth, "truth") or _odd(problem.metadata, "metadata")
    if odd:
        raise ConfigError(f"dataset: the problem {problem.id} cannot be kept in the rollout log: {odd}")
    dataset = problem.metadata.get("dataset")
    return {
        "problem_id": _utf8(problem.id),
        "dataset": None if dataset is None else _utf8(str(dataset)),
        "prompt": _utf8(problem.prompt),
        "prefill": _utf8(problem.prefill or ""),
        "truth": _utf8(json.dumps(problem.truth, ensure_ascii=False)),
        "metadata": _utf8(json.dumps(problem.metadata, ensure_ascii=False)),
    }


def _odd(value: Any, where: str) -> str | None:
    """The first value of a problem that JSON would not give back unchanged, or None."""
    return next(_odd_values(value, where), None)


def _odd_values(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{where} has the key {key!r}, which is not text" for key in value if type(key) is not str)
        for key, each in value.items():
            yield from _odd_values(each, f"{where}.{key}")
    elif isinstance(value, tuple):  # a problem holds lists as tuples
        for at, each in enumerate(value):
            yield from _odd_values(each, f"{where}[{at}]")
    elif value is not None and type(value) not in (str, int, float, bool):
        yield f"{where} is a {type(value).__name__}"


def _verdict_columns(rule: str, weight: float, verdict: Verdict) -> dict[str, Any]:
    return {
        "rule": _utf8(rule),
        "weight": weight,
        "outcome": verdict.outcome,
        "score": verdict.score,
        "reason": _utf8(verdict.reason),
        "answer": None if verdict.answer is None else _utf8(verdict.answer),
        "span": None if verdict.span is None else {"start": verdict.span[0], "end": verdict.span[1]},
        "detail": _utf8(verdict.detail),
    }


def entries_from(table: pa.Table) -> list[Entry]:
    """The entries of a table made by `table_of`; those of one group share their problem."""
    problems: dict[tuple[int, str, int], Problem] = {}
    entries: list[Entry] = []
    for row in table.to_pylist():
        group = (row["step"], row["split"], row["group_index"])
        if group not in problems:
            problems[group] = _problem(row)
        rules = [(_original(each["rule"]), each) for each in row["verdicts"]]
        entries.append(
            Entry(
                problem=problems[group],
                completion=_original(row["completion"]),
                verdicts={rule: _verdict(each) for rule, each in rules},
                weights={rule: each["weight"] for rule, each in rules},
                **{name: row[name] for name in _PLAIN},
            )
        )
    return entries


def _problem(row: Mapping[str, Any]) -> Problem:
    return Problem(
        id=_original(row["problem_id"]),
        prompt=_original(row["prompt"]),
        prefill=_original(row["prefill"]),
        truth=json.loads(_original(row["truth"])),
        metadata=json.loads(_original(row["metadata"])),
    )


def _verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(
        outcome=row["outcome"],
        score=row["score"],
        reason=_original(row["reason"]),
        answer=None if row["answer"] is None else _original(row["answer"]),
        detail=_original(row["detail"]),
        span=None if row["span"] is None else (row["span"]["start"], row["span"]["end"]),
    )


_ESCAPE = "\U0010ffff"
_NO_UTF8 = re.compile(f"[\ud800-\udfff{_ESCAPE}]")
_ESCAPED = re.compile(f"{_ESCAPE}([0-9a-f]{{6}})")


def _utf8(text: str) -> str:
    return text if text.isascii() else _NO_UTF8.sub(lambda found: f"{_ESCAPE}{ord(found[0]):06x}", text)


def _original(text: str) -> str:
    """The text before `_utf8`."""
    return text if text.isascii() else _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
