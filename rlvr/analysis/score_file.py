"""A file of completions, scored row by row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.config.schema import VerifyConfig
from rlvr.data.rows import read_jsonl
from rlvr.rules.pack import Judgement, RulePack
from rlvr.scoring.backend import Backend
from rlvr.scoring.local.supervisor import shared
from rlvr.scoring.scheduler import scoring
from rlvr.types import Problem, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A row of the input with its verdicts and reward."""

    id: str
    completion: str
    problem: Problem | None
    """None where the row could not be read."""
    judgement: Judgement

    def as_row(self) -> dict[str, Any]:
        """A line of the output."""
        keys = ("outcome", "score", "reason", "answer", "span", "detail")
        verdicts = {name: {key: getattr(each, key) for key in keys} for name, each in self.judgement.verdicts.items()}
        return {"id": self.id, "reward": self.judgement.reward, "verdicts": verdicts}


def score_file(
    pack: RulePack, path: Path, backend: Backend | None = None, *, retries: int = VerifyConfig.retries
) -> list[Scored]:
    """Score every row; one that cannot be read gets `error` verdicts that name its line.

    backend: runs slow verifiers, for many rows at a time; None: the worker processes that this process shares.
    """
    rows = [_read_row(number, row) for number, row in read_jsonl(path)]
    with scoring(pack, backend or shared(), retries=retries) as batch:
        judgements = iter(batch.score((completion, task) for _, completion, task in rows if isinstance(task, Problem)))
    return [
        _unreadable(pack, row_id, task)
        if isinstance(task, str)
        else Scored(id=row_id, completion=completion, problem=task, judgement=next(judgements))
        for row_id, completion, task in rows
    ]


def _read_row(number: int, row: dict[str, Any] | str) -> tuple[str, str, Problem | str]:
    """Id, completion and problem; for a row that cannot be read the reason instead of the problem."""
    why = row if isinstance(row, str) else _what_is_missing(row)
    row_id = str(row.get("id", f"line-{number}")) if isinstance(row, dict) else f"line-{number}"
    if why or isinstance(row, str):
        return row_id, "", f"line {number}: {why}"
    try:
        task = Problem(
            id=row_id,
            prompt=row["prompt"],
            truth=row["truth"],
            prefill=row.get("prefill"),
            metadata={"dataset": row["dataset"]} if row.get("dataset") else {},
        )
    except RecursionError:
        return row_id, "", f"line {number}: the ground truth is nested too deep"
    return row_id, row["completion"], task


def _unreadable(pack: RulePack, row_id: str, why: str) -> Scored:
    verdicts = dict.fromkeys(pack.rules, Verdict.error("bad_row", why))
    return Scored(id=row_id, completion="", problem=None, judgement=pack.total(verdicts))


def _what_is_missing(row: dict[str, Any]) -> str | None:
    for key, kind, name in (("prompt", str, "text"), ("completion", str, "text"), ("truth", dict, "object")):
        if not isinstance(row.get(key), kind):
            return f"needs {key!r}, as {name}"
    for key in ("prefill", "dataset"):
        if not isinstance(row.get(key), str | None):
            return f"needs {key!r}, as text, where it is given"
    return None


def groups_of(scored: Sequence[Scored]) -> list[list[Scored]]:
    """Rows grouped by prompt and ground truth, in the order of first rows."""
    groups: dict[str, list[Scored]] = {}
    for each in scored:
        if each.problem is not None:
            groups.setdefault(json.dumps([each.problem.prompt, each.problem.truth], sort_keys=True), []).append(each)
    return list(groups.values())
