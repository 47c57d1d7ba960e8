"""What the rollout log of a run says: verdicts by reason, pass rates and rules in force at each step; rollouts worth reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from rlvr.analysis.report.run_record import Record
from rlvr.errors import ConfigError
from rlvr.runs.history import ActiveRules, rule_history
from rlvr.runs.rollout_log import RolloutLog, read_rollout_log
from rlvr.runs.rows import VERDICT, Entry, Split

_STEPS_AT_ONCE = 100
"""Steps whose verdicts are in memory together."""
_LAST_STEPS = 5
"""From which rollouts are shown."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """Verdicts of one rule at one step."""

    judged: int = 0
    """With a score."""
    full: int = 0
    """With full score."""
    reasons: dict[str, int] = field(default_factory=dict)
    """How many by reason; all of them, those without a score under `reason (outcome)`."""
    score_sums: dict[str, float] = field(default_factory=dict)
    """By reason, over verdicts with a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Of one run, over the rollouts of one split."""

    split: Split
    rules: Mapping[str, Mapping[int, Counts]]
    """By rule and step."""
    rule_history: Sequence[ActiveRules]
    rollouts: int


def read_history(record: Record) -> History | None:
    """Of the training rollouts, or of the evaluated ones where there are no others; None without a rollout log.

    Errors: `ConfigError` for a rollout log that cannot be read.
    """
    rollout_log = RolloutLog.of(record.path)
    files = rollout_log.files()
    if not files:
        return None
    split: Split = "train" if any(file.split == "train" for file in files) else files[-1].split
    steps = sorted({file.step for file in files if file.split == split})
    rules: dict[str, dict[int, Counts]] = {}
    n_rollouts = 0
    for at in range(0, len(steps), _STEPS_AT_ONCE):
        some = steps[at : at + _STEPS_AT_ONCE]
        table = read_rollout_log(record.path, splits=(split,), steps=some, columns=("step", "verdicts"))
        n_rollouts += table.num_rows
        _count(_flat(table), rules)
    judged_by = rule_history({file: rollout_log.conditions(file)[0] for file in rollout_log.files(splits=(split,))})
    return History(split=split, rules=rules, rule_history=judged_by, rollouts=n_rollouts)


def _flat(table: pa.Table) -> pa.Table:
    """A row a verdict."""
    lists = table["verdicts"].combine_chunks()
    columns = dict(zip(VERDICT.names, lists.flatten().flatten(), strict=True))
    steps = np.repeat(table["step"].to_numpy(), lists.value_lengths().to_numpy())
    full = (columns["score"].to_numpy(zero_copy_only=False) == 1.0).astype(np.int64)  # no score: NaN
    return pa.table({"step": steps, "full": full, **columns})


def _count(flat: pa.Table, rules: dict[str, dict[int, Counts]]) -> None:
    grouped = flat.group_by(["step", "rule", "outcome", "reason"])
    for row in grouped.aggregate([("full", "sum"), ("full", "count"), ("score", "sum")]).to_pylist():
        counts = rules.setdefault(row["rule"], {}).setdefault(row["step"], Counts())
        scored = row["outcome"] == "scored"
        reason = row["reason"] if scored else f"{row['reason']} ({row['outcome']})"
        counts.judged += row["full_count"] if scored else 0
        counts.full += row["full_sum"]
        counts.reasons[reason] = counts.reasons.get(reason, 0) + row["full_count"]
        counts.score_sums[reason] = counts.score_sums.get(reason, 0.0) + (row["score_sum"] or 0.0)


def with_pass_rates(record: Record, history: History | None) -> list[dict[str, Any]]:
    """The metrics of a run with `rule/<name>/pass` beside them: the share of training rollouts with full score, of those that
    the rule could judge."""
    if history is None or history.split != "train":
        return [dict(row) for row in record.rows]
    rows = {row["step"]: dict(row) for row in record.rows}
    for name, by_step in history.rules.items():
        for step, counts in by_step.items():
            if counts.judged:
                rows.setdefault(step, {"step": step})[f"rule/{name}/pass"] = counts.full / counts.judged
    return [rows[step] for step in sorted(rows)]


Kind = Literal["best", "worst", "alike", "masked"]
"""`alike`: all have the same reward; `masked`: could not be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A rollout that is shown, and why."""

    kind: Kind
    entry: Entry


def samples(record: Record, split: Split, number: int) -> list[Sample]:
    """Of the last steps: `number` with the highest reward, as many with the lowest, and up to two that could not be judged.

    Of each problem one at most of a kind, later steps first, so that a choice among equals shows many problems.
    Errors: `ConfigError` for a rollout log that cannot be read.
    """
    rollout_log = RolloutLog.of(record.path)
    entries = [entry for file in rollout_log.files(splits=(split,))[-_LAST_STEPS:] for entry in rollout_log.read(file)]
    entries.sort(key=lambda entry: -entry.step)  # stable: in the order of the step otherwise
    judged = [(entry.reward, entry) for entry in entries if entry.reward is not None]
    judged.sort(key=lambda pair: pair[0])
    lowest, highest = (judged[0][0], judged[-1][0]) if judged else (0.0, 0.0)
    falling = sorted(judged, key=lambda pair: -pair[0])
    best = _distinct([entry for reward, entry in falling if reward > lowest], number)
    taken = {id(entry) for entry in best}
    worst = _distinct([entry for reward, entry in judged if reward < highest and id(entry) not in taken], number)
    alike = _distinct([entry for _, entry in judged], number) if lowest == highest else []
    masked = _distinct([entry for entry in entries if entry.reward is None], 2)
    by_kind: dict[Kind, list[Entry]] = {"best": best, "worst": worst, "alike": alike, "masked": masked}
    return [Sample(kind=kind, entry=entry) for kind, of in by_kind.items() for entry in of]


def _distinct(entries: Sequence[Entry], number: int) -> list[Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        if len(found) == number:
            break
        found.setdefault(entry.problem.id, entry)
    return list(found.values())


def readable(record: Record) -> tuple[History | None, str | None]:
    """The history, or why it cannot be read."""
    try:
        return read_history(record), None
    except ConfigError as error:
        return None, f"{record.name}: {error}"
