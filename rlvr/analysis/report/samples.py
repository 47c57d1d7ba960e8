"""Rollouts worth reading: the best and worst of the last steps, and some that are masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rlvr.analysis.report.formatting import left_out
from rlvr.analysis.report.run_record import Record
from rlvr.runs.entries import Entry
from rlvr.runs.rollout_log import RolloutLog
from rlvr.types import Split

_LAST_STEPS = 5
"""Rollouts are taken from so many last steps."""

Kind = Literal["best", "worst", "alike", "masked"]
"""`alike`: all have the same reward; `masked`: could not be scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A rollout to show, and why."""

    kind: Kind
    entry: Entry

    def pieces(self, most: int) -> list[tuple[str, str]]:
        """The completion in pieces, each with the names of the rules that found their answer in it.

        Of more than `most` characters, those in the middle are left out.
        """
        text = self.entry.completion
        head, tail = (most // 2, len(text) - most // 2) if len(text) > most else (len(text), len(text))
        spans = {name: verdict.span for name, verdict in self.entry.verdicts.items() if verdict.span}
        places = {0, head, tail, len(text)}.union(*spans.values())
        found: list[tuple[str, str]] = []
        for start, end in pairwise(sorted(at for at in places if at <= len(text))):
            if head <= start < tail:
                if start == head:
                    found.append((f" {left_out(len(text) - most)} ", ""))
                continue
            rules = [name for name, (first, last) in spans.items() if first <= start and end <= last]
            found.append((text[start:end], ", ".join(rules)))
        return found


def samples(record: Record, split: Split, number: int) -> list[Sample]:
    """From the last steps: `number` with the highest reward, as many with the lowest, and up to two that are masked.

    At most one of a kind from each problem, later steps first.
    Errors: `ConfigError` for a rollout log that cannot be read.
    """
    rollout_log = RolloutLog.of(record.path)
    entries = [entry for file in rollout_log.files(splits=(split,))[-_LAST_STEPS:] for entry in rollout_log.read(file)]
    entries.sort(key=lambda entry: -entry.step)  # stable: the order within a step stays
    scored = [(entry.reward, entry) for entry in entries if entry.reward is not None]
    scored.sort(key=lambda pair: pair[0])
    lowest, highest = (scored[0][0], scored[-1][0]) if scored else (0.0, 0.0)
    falling = sorted(scored, key=lambda pair: -pair[0])
    best = _distinct([entry for reward, entry in falling if reward > lowest], number)
    taken = {id(entry) for entry in best}
    worst = _distinct([entry for reward, entry in scored if reward < highest and id(entry) not in taken], number)
    alike = _distinct([entry for _, entry in scored], number) if lowest == highest else []
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
