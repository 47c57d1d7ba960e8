"""Effects of different rules on stored rollouts: rewards, flips, the order within groups, advantages."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from rlvr.analysis.rescore.reproduction import said
from rlvr.rules.fingerprint import Fingerprint
from rlvr.runs.entries import Entry
from rlvr.types import Split, Verdict

Sums = defaultdict[str, float]
"""Sums over rollouts by name, 0 by default."""
_TIE = 1e-9
"""Rewards that are closer count as equal: sums in a different order may differ by a rounding error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Effects of different rules on the rollouts of one step and split."""

    step: int
    split: Split
    sums: Sums
    """Over rollouts (`rollouts`, `reward_now`, `flips`), groups (`groups`, `degenerate_now`) and pairs of rollouts of one group
    (`same_order`, `reversed`, `tie_broken`, `tie_made`); `..._then` for the stored, `..._now` for the new ones."""
    rules: Mapping[str, Sums]
    """Sums by rule of either pack: `judged` and `score`, then and now; full scores `gained` and `lost`."""
    flips: tuple[tuple[Entry, Entry], ...]
    """Rollouts, then and now, that differ in the sign of the reward, in whether the answer passes, or in being masked."""

    def rewards(self) -> dict[str, Any]:
        """Mean rewards, a point of the curve."""
        means = {when: _share(self.sums[f"reward_{when}"], self.sums[f"judged_{when}"]) for when in ("then", "now")}
        return {"step": self.step, "split": self.split, **means}


def change(then: Sequence[Entry], now: Sequence[Entry], *, rules_then: Fingerprint, rules_now: Fingerprint) -> Change:
    """Compare the entries of one step and split, scored by two packs."""
    sums: Sums = defaultdict(int, rollouts=len(then))
    rules: dict[str, Sums] = {}
    flips: list[tuple[Entry, Entry]] = []
    for old, new in zip(then, now, strict=True):
        for entry, when in ((old, "then"), (new, "now")):
            sums[f"judged_{when}"] += entry.reward is not None
            sums[f"reward_{when}"] += entry.reward or 0.0
        for name in dict.fromkeys((*old.verdicts, *new.verdicts)):
            _count_rule(rules.setdefault(name, defaultdict(int)), old.verdicts.get(name), new.verdicts.get(name))
        flipped = {
            "masked": (old.reward is None) != (new.reward is None),
            "sign": _sign(old.reward) != _sign(new.reward) and None not in (old.reward, new.reward),
            "pass": _passes(old, rules_then) != _passes(new, rules_now),
        }
        for kind, is_so in flipped.items():
            sums[f"flips_{kind}"] += is_so
        sums["errors"] += any(v.outcome == "error" and new.weights[name] for name, v in new.verdicts.items())
        if any(flipped.values()):
            flips.append((old, new))
    sums["flips"] = len(flips)
    if then[0].split == "train":
        sums.update(_order(then, now))
        sums.update(_advantage_sums(then, now))
    return Change(step=then[0].step, split=then[0].split, sums=sums, rules=rules, flips=tuple(flips))


def _count_rule(counts: Sums, then: Verdict | None, now: Verdict | None) -> None:
    for verdict, when in ((then, "then"), (now, "now")):
        if verdict is not None and verdict.score is not None:
            counts[f"judged_{when}"] += 1
            counts[f"score_{when}"] += verdict.score
    if then is not None and now is not None and None not in (then.score, now.score):
        counts["gained"] += then.score != 1.0 and now.score == 1.0
        counts["lost"] += then.score == 1.0 and now.score != 1.0


def _sign(reward: float | None) -> int:
    return 0 if reward is None or abs(reward) < _TIE else 1 if reward > 0 else -1


def _passes(entry: Entry, rules: Fingerprint) -> bool | None:
    """Whether all rules that score the answer give the full score; None without their scores."""
    scores = [entry.verdicts[name].score for name in rules.answers if name in entry.verdicts]
    return None if not scores or None in scores else all(score == 1.0 for score in scores)


def _order(then: Sequence[Entry], now: Sequence[Entry]) -> dict[str, int]:
    """Counts of groups, and of pairs of rollouts within groups that both packs could score."""
    signs = [_pair_signs(by_group(entries, [entry.reward for entry in entries])[0]) for entries in (then, now)]
    both = [signs[0] * signs[1] == sign for sign in (1, -1)]
    tied = [sign == 0 for sign in signs]
    scored = ~np.isnan(signs[0]) & ~np.isnan(signs[1])
    return {
        "groups": len(signs[0]),
        "degenerate_then": int((~(np.abs(signs[0]) == 1).any(axis=1)).sum()),
        "degenerate_now": int((~(np.abs(signs[1]) == 1).any(axis=1)).sum()),
        "same_order": int(both[0].sum()),
        "reversed": int(both[1].sum()),
        "tie_broken": int((scored & tied[0] & ~tied[1]).sum()),
        "tie_made": int((scored & ~tied[0] & tied[1]).sum()),
        "tied": int((scored & tied[0] & tied[1]).sum()),
    }


def by_group(entries: Sequence[Entry], values: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """Values as [groups, rollouts], with NaN for None and as padding of smaller groups; and a mask of what is not padding."""
    sizes = [len(list(group)) for _, group in groupby(entries, key=lambda entry: entry.group_index)]
    present_PG = np.arange(max(sizes)) < np.array(sizes)[:, None]
    values_PG = np.full(present_PG.shape, np.nan)
    values_PG[present_PG] = [math.nan if value is None else value for value in values]
    return values_PG, present_PG


def _pair_signs(rewards_PG: np.ndarray) -> np.ndarray:
    """[groups, pairs of rollouts]: 1 if the first has the higher reward, -1 the second, 0 for a tie, NaN if one is masked."""
    first, second = np.triu_indices(rewards_PG.shape[1], k=1)
    gaps = rewards_PG[:, first] - rewards_PG[:, second]
    return np.where(np.abs(gaps) < _TIE, 0.0, np.sign(gaps))


def _advantage_sums(then: Sequence[Entry], now: Sequence[Entry]) -> dict[str, float]:
    """Sums over rollouts that take part in the loss under both packs."""
    pairs = [(a.advantage, b.advantage) for a, b in zip(then, now, strict=True) if None not in (a.advantage, b.advantage)]
    old, new = np.array(pairs, dtype=float).reshape(-1, 2).T
    return {
        "advantages": len(pairs),
        "advantage_moved": float(np.abs(new - old).sum()),
        "advantage_turned": int((old * new < 0).sum()),
        "advantage_then2": float((old * old).sum()),
        "advantage_now2": float((new * new).sum()),
        "advantage_product": float((old * new).sum()),
    }


def summarise(changes: Iterable[Change]) -> dict[str, Any]:
    """Totals of some steps as plain values; None for a mean or share of nothing.

    `rank_correlation` is Kendall's tau-b over the pairs of rollouts within groups (Kendall 1945, "The treatment of ties in
    ranking problems"), `correlation` of advantages the cosine of their vectors: their mean is 0 within each group.
    """
    sums: Sums = defaultdict(int)
    rules: dict[str, Sums] = {}
    for each in changes:
        _add(each.sums, sums)
        for name, counts in each.rules.items():
            _add(counts, rules.setdefault(name, defaultdict(int)))
    ordered_then = sums["same_order"] + sums["reversed"] + sums["tie_made"]
    ordered_now = sums["same_order"] + sums["reversed"] + sums["tie_broken"]
    return {
        "rollouts": sums["rollouts"],
        "reward": {when: _share(sums[f"reward_{when}"], sums[f"judged_{when}"]) for when in ("then", "now")},
        "masked": {when: sums["rollouts"] - sums[f"judged_{when}"] for when in ("then", "now")},
        "errors": sums["errors"],
        "rules": {name: _rule_summary(counts) for name, counts in rules.items()},
        "flips": {"any": sums["flips"], **{kind: sums[f"flips_{kind}"] for kind in ("sign", "pass", "masked")}},
        "groups": {"all": sums["groups"], "degenerate": {w: sums[f"degenerate_{w}"] for w in ("then", "now")}},
        "pairs": {
            **{kind: sums[kind] for kind in ("same_order", "reversed", "tie_broken", "tie_made", "tied")},
            "reversed_share": _share(sums["reversed"], ordered_then),
            "rank_correlation": _share(sums["same_order"] - sums["reversed"], math.sqrt(ordered_then * ordered_now)),
        },
        "advantages": {
            "compared": sums["advantages"],
            "mean_move": _share(sums["advantage_moved"], sums["advantages"]),
            "sign_turned": sums["advantage_turned"],
            "correlation": _share(sums["advantage_product"], math.sqrt(sums["advantage_then2"] * sums["advantage_now2"])),
        },
    }


def _add(more: Sums, sums: Sums) -> None:
    for name, value in more.items():
        sums[name] += value


def _rule_summary(counts: Sums) -> dict[str, Any]:
    return {
        "judged": {when: counts[f"judged_{when}"] for when in ("then", "now")},
        "score": {when: _share(counts[f"score_{when}"], counts[f"judged_{when}"]) for when in ("then", "now")},
        "gained": counts["gained"],
        "lost": counts["lost"],
    }


def flip(then: Entry, now: Entry) -> dict[str, Any]:
    """A rollout that flips, as plain values."""
    names = dict.fromkeys((*then.verdicts, *now.verdicts))
    verdicts = {name: [said(each.verdicts.get(name)) for each in (then, now)] for name in names}
    return {
        "step": then.step,
        "split": then.split,
        "group_index": then.group_index,
        "rollout_index": then.rollout_index,
        "problem_id": then.problem.id,
        "reward": {"then": then.reward, "now": now.reward},
        "rules": {name: {"then": old, "now": new} for name, (old, new) in verdicts.items() if old != new},
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
