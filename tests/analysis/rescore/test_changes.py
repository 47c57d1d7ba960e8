"""Effects of different rules: order within groups, ties and advantages, checked against a direct count."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr import Problem, Verdict
from rlvr.analysis.rescore.changes import change, summarise
from rlvr.rules.fingerprint import Fingerprint
from rlvr.runs.entries import Entry

PROBLEM = Problem(id="p", prompt="q", truth={})


def entry(reward: float | None, at: int, group: int = 0, advantage: float | None = None) -> Entry:
    verdict = Verdict.scored(1.0, "correct") if reward is not None else Verdict.error("crash")
    return Entry(
        step=1,
        split="train",
        group_index=group,
        rollout_index=at,
        problem=PROBLEM,
        completion="",
        tokens=1,
        finish_reason="stop",
        logprob=0.0,
        verdicts={"a": verdict},
        weights={"a": 1.0},
        reward=reward,
        advantage=advantage,
        rules_hash="",
    )


RULES = Fingerprint(rules={"a": {"weight": 1.0}}, code={}, answers=("a",))
REWARDS = st.none() | st.sampled_from([0.0, 0.1, 1.0, 1.0 + 1e-12, -1.0])
GROUPS = st.lists(st.lists(st.tuples(REWARDS, REWARDS), min_size=1, max_size=5), min_size=1, max_size=3)


def summary_of(groups: list[list[tuple[float | None, float | None]]]) -> dict[str, Any]:
    then, now = ([entry(pair[i], at, n) for n, g in enumerate(groups) for at, pair in enumerate(g)] for i in (0, 1))
    return summarise([change(then, now, rules_then=RULES, rules_now=RULES)])


@settings(deadline=None)
@given(GROUPS)
def test_the_order_is_counted_pair_by_pair(groups: list[list[tuple[float | None, float | None]]]) -> None:
    wanted = dict.fromkeys(["same_order", "reversed", "tie_broken", "tie_made", "tied"], 0)
    for group in groups:
        judged = [(round(old, 9), round(new, 9)) for old, new in group if old is not None and new is not None]
        for one, other in combinations(judged, 2):
            was, is_now = one[0] - other[0], one[1] - other[1]
            kinds = {(True, True): "tied", (True, False): "tie_broken", (False, True): "tie_made"}
            kind = kinds.get((was == 0, is_now == 0), "same_order" if was * is_now > 0 else "reversed")
            wanted[kind] += 1
    found = summary_of(groups)
    assert {kind: found["pairs"][kind] for kind in wanted} == wanted
    degenerate = [[len({round(pair[i], 9) for pair in g if pair[i] is not None}) <= 1 for g in groups] for i in (0, 1)]
    assert found["groups"] == {"all": len(groups), "degenerate": {"then": sum(degenerate[0]), "now": sum(degenerate[1])}}
    assert found["masked"]["now"] == sum(pair[1] is None for group in groups for pair in group)


def test_the_rank_correlation_is_one_for_the_same_order_and_minus_one_for_the_opposite() -> None:
    rewards = [0.0, 0.1, 0.1, 1.0, 1.1]
    assert summary_of([[(r, 2 * r - 1) for r in rewards]])["pairs"]["rank_correlation"] == 1
    assert summary_of([[(r, -r) for r in rewards]])["pairs"]["rank_correlation"] == -1
    assert summary_of([[(r, 0.0) for r in rewards]])["pairs"]["rank_correlation"] is None


def test_advantages_are_compared_where_both_count() -> None:
    pairs = [(1.0, 2.0), (-1.0, 1.0), (0.0, -3.0), (None, 5.0), (5.0, None)]
    then, now = ([entry(1.0, at, advantage=pair[i]) for at, pair in enumerate(pairs)] for i in (0, 1))
    found = summarise([change(then, now, rules_then=RULES, rules_now=RULES)])["advantages"]
    assert (found["compared"], found["sign_turned"], found["mean_move"]) == (3, 1, 2.0)
    assert found["correlation"] == pytest.approx((2 - 1) / (2 * 14) ** 0.5)
