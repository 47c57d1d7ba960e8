"""Edits of the rules of a run, adopted and refused, as the run records them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.files import write_whole

RULES = "rules.yaml"
EDITS = "rule_edits.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """An edit of the file and whether the run adopted it; a line of rule_edits.jsonl."""

    step: int
    """The step (from 1) before which it was seen: the first step under the new rules."""
    changes: tuple[str, ...] = ()
    """What it changes, a line each (`rlvr.rules.diff`); empty if only the formatting differs."""
    text: str | None = None
    """The new text; None if it was refused."""
    refused: str | None = None
    """Why the rules stay as they were, in one line; None if they do not."""


def read_edits(folder: Path) -> list[Edit]:
    """The edits of a run, in order; empty if there were none."""
    path = folder / EDITS
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Edit(**{**row, "changes": tuple(row.get("changes", ()))}) for row in rows]


def forget_edits(folder: Path, *, after: int) -> None:
    """Before a run is resumed with different rules: edits after that step are not adopted again."""
    write_edits(folder, [edit for edit in read_edits(folder) if edit.step <= after])


def write_edits(folder: Path, edits: Sequence[Edit]) -> None:
    """All of them or none, flushed to disk (fsync) before the step begins."""
    rows: list[dict[str, Any]] = [
        {"step": edit.step, "refused": edit.refused}
        if edit.refused is not None
        else {"step": edit.step, "changes": edit.changes, "text": edit.text}
        for edit in edits
    ]
    write_whole(folder / EDITS, "".join(json.dumps(row) + "\n" for row in rows), durable=True)
