"""Compares verdicts, rewards and advantages of the rollout log with those of scoring again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlvr.runs.entries import Entry
from rlvr.types import Verdict

Kind = Literal["verdicts", "rewards", "advantages", "wording"]
"""`wording`: only the detail of a verdict differs, which is for humans; no score and no reward depends on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A stored value that scoring again does not reproduce."""

    entry: Entry
    kind: Kind
    what: str
    """Name of the rule, or `reward`, or `advantage`."""
    then: str
    now: str


def differences(then: Entry, now: Entry) -> list[Difference]:
    """Differences of one rollout. Advantages may differ by a rounding error, and where an answer was found is not compared;
    all else is compared exactly."""
    found: list[Difference] = []
    for name in dict.fromkeys((*then.verdicts, *now.verdicts)):
        old, new = then.verdicts.get(name), now.verdicts.get(name)
        kind: Kind | None = None
        if _what_counts(old) != _what_counts(new):
            kind = "verdicts"
        elif old and new and old.detail != new.detail:
            kind = "wording"
        if kind:
            found.append(Difference(entry=then, kind=kind, what=name, then=_whole(old), now=_whole(new)))
    if then.reward != now.reward:
        found.append(_of_numbers(then, "rewards", then.reward, now.reward))
    if not _close(then.advantage, now.advantage):
        found.append(_of_numbers(then, "advantages", then.advantage, now.advantage))
    return found


def _what_counts(verdict: Verdict | None) -> Any:
    return verdict and (verdict.outcome, verdict.score, verdict.reason, verdict.answer)


def _of_numbers(entry: Entry, kind: Kind, then: float | None, now: float | None) -> Difference:
    texts = ["null" if value is None else repr(value) for value in (then, now)]
    return Difference(entry=entry, kind=kind, what=kind.removesuffix("s"), then=texts[0], now=texts[1])


def said(verdict: Verdict | None) -> str:
    """Score (or outcome, without one) and reason."""
    if verdict is None:
        return "does not apply"
    return f"{verdict.outcome if verdict.score is None else f'{verdict.score:g}'} {verdict.reason}"


def _whole(verdict: Verdict | None) -> str:
    if verdict is None:
        return said(verdict)
    return f"{said(verdict)}{'' if verdict.answer is None else f' {verdict.answer!r}'} ({verdict.detail})"


def _close(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """The result of scoring rollouts again by the rules that scored them."""

    rollouts: int
    counted: Mapping[Kind, int]
    """How many verdicts, rewards and advantages were compared."""
    differing: Mapping[Kind, int]
    """How many of them are not reproduced; under `wording`, how many verdicts differ only in their detail."""
    reasons: Mapping[tuple[str, str, str], int]
    """Counts of verdicts that are not reproduced, by rule, and outcome and reason then and now."""
    first: tuple[Difference, ...]

    @property
    def complete(self) -> bool:
        return not any(number for kind, number in self.differing.items() if kind != "wording")


def reproduction(pairs: Iterable[tuple[Sequence[Entry], Sequence[Entry]]], *, listed: int) -> Reproduction:
    """pairs: rollouts as stored and as scored again, a file at a time. Keeps the first `listed` differences."""
    rollouts, first = 0, list[Difference]()
    counted, differing, reasons = Counter[Kind](), Counter[Kind](), Counter[tuple[str, str, str]]()
    for then, now in pairs:
        rollouts += len(then)
        for old, new in zip(then, now, strict=True):
            counted["verdicts"] += len(old.verdicts.keys() | new.verdicts.keys())
            counted["rewards"] += 1
            counted["advantages"] += old.split == "train"
            for each in differences(old, new):
                differing[each.kind] += 1
                if each.kind == "verdicts":
                    reasons[each.what, _reason(old.verdicts.get(each.what)), _reason(new.verdicts.get(each.what))] += 1
                if len(first) < listed:
                    first.append(each)
    return Reproduction(rollouts=rollouts, counted=counted, differing=differing, reasons=reasons, first=tuple(first))


def _reason(verdict: Verdict | None) -> str:
    return "does not apply" if verdict is None else f"{verdict.outcome} {verdict.reason}"
