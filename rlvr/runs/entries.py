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
from itertools import accumulate, islice
from typing import Any, Literal

import pyarrow as pa

from rlvr.config.schema import AlgoConfig
from rlvr.errors import ConfigError
from rlvr.rules.fingerprint import Fingerprint
from rlvr.types import FinishReason, Group, Problem, Rollout, Verdict

Split = Literal["train", "eval", "forced"]
"""`eval`: held-out problems, decoded greedily; `forced`: the same, the response beginning with
`eval.forced_prefix`."""

VERDICT = pa.struct(
    [
        pa.field("rule", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("answer", pa.string()),
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
_PLAIN_COLUMNS = (
    "step",
    "split",
    "group_index",
    "rollout_index",
    "tokens",
    "finish_reason",
    "logprob",
    "reward",
    "advantage",
    "rules_hash",
)


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
    """Sum of the sampling log-probabilities of the completion's tokens (nats)."""
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
            logprob=math.fsum(rollout.logprobs),
            verdicts=rollout.verdicts,
            weights={name: weights[name] for name in rollout.verdicts},
            reward=rollout.reward,
            advantage=rollout.advantage if counts else None,
            rules_hash=rules_hash,
        )

    return [entry(at, group, i, rollout) for at, group in enumerate(groups) for i, rollout in enumerate(group.rollouts)]


def table_of(entries: Sequence[Entry]) -> pa.Table:
    """A row an entry, in order. Errors: `ConfigError` for a problem that JSON would not give back unchanged."""
    made = {id(entry.problem): entry.problem for entry in entries}  # rollouts of a group share one problem
    columns_of = {key: _problem_columns(problem) for key, problem in made.items()}
    columns: dict[str, Any] = {
        name: [columns_of[id(entry.problem)][name] for entry in entries]
        for name in ("problem_id", "dataset", "prompt", "prefill", "truth", "metadata")
    }
    for name in _PLAIN_COLUMNS:
        columns[name] = [getattr(entry, name) for entry in entries]
    columns["completion"] = [_utf8(entry.completion) for entry in entries]
    columns["verdicts"] = _verdict_lists(entries)
    return pa.table(columns, schema=SCHEMA)


def _problem_columns(problem: Problem) -> dict[str, str | None]:
    for name, value in (("truth", problem.truth), ("metadata", problem.metadata)):
        if odd := _odd(value, name):
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
    """A value of a problem that JSON would not give back unchanged, or None."""
    if isinstance(value, Mapping):
        keys = (f"{where} has the key {key!r}, which is not text" for key in value if type(key) is not str)
        return next((odd for odd in (*keys, *(_odd(each, f"{where}.{key}") for key, each in value.items())) if odd), None)
    if isinstance(value, tuple):  # a problem holds lists as tuples
        return next((odd for at, each in enumerate(value) if (odd := _odd(each, f"{where}[{at}]"))), None)
    return None if value is None or type(value) in (str, int, float, bool) else f"{where} is a {type(value).__name__}"


def _verdict_lists(entries: Sequence[Entry]) -> pa.Array:
    flat = [(name, entry.weights[name], verdict) for entry in entries for name, verdict in entry.verdicts.items()]
    columns = {
        "rule": [_utf8(name) for name, _, _ in flat],
        "weight": [weight for _, weight, _ in flat],
        "outcome": [verdict.outcome for _, _, verdict in flat],
        "score": [verdict.score for _, _, verdict in flat],
        "reason": [_utf8(verdict.reason) for _, _, verdict in flat],
        "answer": [None if verdict.answer is None else _utf8(verdict.answer) for _, _, verdict in flat],
        "detail": [_utf8(verdict.detail) for _, _, verdict in flat],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in VERDICT]
    offsets = pa.array([0, *accumulate(len(entry.verdicts) for entry in entries)], pa.int32())
    field = SCHEMA.field("verdicts")
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(arrays, fields=list(VERDICT)), type=field.type)


def entries_from(table: pa.Table) -> list[Entry]:
    """The entries of a table made by `table_of`; those of one group share their problem."""
    columns = {name: table[name].to_pylist() for name in SCHEMA.names if name != "verdicts"}
    lists = table["verdicts"].combine_chunks()
    flat = dict(zip(VERDICT.names, (column.to_pylist() for column in lists.flatten().flatten()), strict=True))
    verdicts = zip(_original(flat["rule"]), flat["weight"], _verdicts(flat), strict=True)
    per_row = [list(islice(verdicts, n)) for n in lists.value_lengths().to_pylist()]
    problems = _problems(columns)
    completions = _original(columns["completion"])
    return [
        Entry(
            problem=problems[row],
            completion=completions[row],
            verdicts={name: verdict for name, _, verdict in per_row[row]},
            weights={name: weight for name, weight, _ in per_row[row]},
            **{name: columns[name][row] for name in _PLAIN_COLUMNS},
        )
        for row in range(table.num_rows)
    ]


def _verdicts(flat: Mapping[str, list[Any]]) -> Iterator[Verdict]:
    texts = {name: _original(flat[name]) for name in ("reason", "answer", "detail")}
    for row, (outcome, score) in enumerate(zip(flat["outcome"], flat["score"], strict=True)):
        yield Verdict(outcome=outcome, score=score, **{name: column[row] for name, column in texts.items()})


def _problems(columns: Mapping[str, list[Any]]) -> list[Problem]:
    texts = {name: _original(columns[name]) for name in ("problem_id", "prompt", "prefill", "truth", "metadata")}
    groups = list(zip(columns["step"], columns["split"], columns["group_index"], strict=True))
    made: dict[Any, Problem] = {}
    for row, group in enumerate(groups):
        if group not in made:
            made[group] = Problem(
                id=texts["problem_id"][row],
                prompt=texts["prompt"][row],
                prefill=texts["prefill"][row],
                truth=json.loads(texts["truth"][row]),
                metadata=json.loads(texts["metadata"][row]),
            )
    return [made[group] for group in groups]


_ESCAPE = "\U0010ffff"
_NO_UTF8 = re.compile(f"[\ud800-\udfff{_ESCAPE}]")
_ESCAPED = re.compile(f"{_ESCAPE}([0-9a-f]{{6}})")


def _utf8(text: str) -> str:
    return text if text.isascii() else _NO_UTF8.sub(lambda found: f"{_ESCAPE}{ord(found[0]):06x}", text)


def _original(texts: list[Any]) -> list[Any]:
    """The texts before `_utf8`; None stays."""
    return [t if t is None or t.isascii() else _ESCAPED.sub(lambda found: chr(int(found[1], 16)), t) for t in texts]
