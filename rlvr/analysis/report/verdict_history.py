"""Verdicts by reason, pass rates and active rules at each step, from the rollout log of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from rlvr.analysis.report.run_record import Record
from rlvr.errors import ConfigError
from rlvr.runs.rollout_log import RolloutLog, read_rollout_log
from rlvr.runs.rule_history import ActiveRules, rule_history
from rlvr.types import Split

_STEPS_AT_ONCE = 100
"""Steps whose verdicts are in memory at the same time."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """Verdicts of one rule at one step."""

    scored: int = 0
    """Those with a score."""
    full: int = 0
    """Those with the full score."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Counts by reason; those without a score are under `reason (outcome)`."""
    score_sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Sum of scores by reason, over verdicts with a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Verdict counts and active rules of one run, over the rollouts of one split."""

    split: Split
    rules: Mapping[str, Mapping[int, Counts]]
    """By rule and step."""
    rule_history: Sequence[ActiveRules]


def read_history(record: Record) -> History | None:
    """From training rollouts, or from evaluations if there are no training rollouts; None without a rollout log.

    Errors: `ConfigError` for a rollout log that cannot be read.
    """
    rollout_log = RolloutLog.of(record.path)
    files = rollout_log.files()
    if not files:
        return None
    split: Split = "train" if any(file.split == "train" for file in files) else files[-1].split
    steps = sorted({file.step for file in files if file.split == split})
    rules: dict[str, dict[int, Counts]] = {}
    for at in range(0, len(steps), _STEPS_AT_ONCE):
        some = steps[at : at + _STEPS_AT_ONCE]
        table = read_rollout_log(record.path, splits=(split,), steps=some, columns=("step", "verdicts"))
        _count(_flat(table), rules)
    active = rule_history({file: rollout_log.conditions(file)[0] for file in rollout_log.files(splits=(split,))})
    return History(split=split, rules=rules, rule_history=active)


def _flat(table: pa.Table) -> pa.Table:
    """One row per verdict."""
    lists = table["verdicts"].combine_chunks()
    verdicts = lists.flatten()
    columns = {name: verdicts.field(name) for name in ("rule", "outcome", "reason", "score")}
    steps = np.repeat(table["step"].to_numpy(), lists.value_lengths().to_numpy())
    full = (columns["score"].to_numpy(zero_copy_only=False) == 1.0).astype(np.int64)  # no score: NaN
    return pa.table({"step": steps, "full": full, **columns})


def _count(flat: pa.Table, rules: dict[str, dict[int, Counts]]) -> None:
    grouped = flat.group_by(["step", "rule", "outcome", "reason"])
    for row in grouped.aggregate([("full", "sum"), ("full", "count"), ("score", "sum")]).to_pylist():
        counts = rules.setdefault(row["rule"], {}).setdefault(row["step"], Counts())
        has_score = row["outcome"] == "scored"
        reason = row["reason"] if has_score else f"{row['reason']} ({row['outcome']})"
        counts.scored += row["full_count"] if has_score else 0
        counts.full += row["full_sum"]
        counts.reasons[reason] += row["full_count"]
        counts.score_sums[reason] += row["score_sum"] or 0.0


def with_pass_rates(record: Record, history: History | None) -> list[dict[str, Any]]:
    """The metrics of a run with `rule/<name>/pass` added: the share with the full score of those training rollouts that the
    rule could score."""
    if history is None or history.split != "train":
        return [dict(row) for row in record.rows]
    rows = {row["step"]: dict(row) for row in record.rows}
    for name, by_step in history.rules.items():
        for step, counts in by_step.items():
            if counts.scored:
                rows.setdefault(step, {"step": step})[f"rule/{name}/pass"] = counts.full / counts.scored
    return [rows[step] for step in sorted(rows)]


def readable(record: Record) -> tuple[History | None, str | None]:
    """The history, or the reason why it cannot be read."""
    try:
        return read_history(record), None
    except ConfigError as error:
        return None, f"{record.name}: {error}"
