"""Which rules were in force when: stretches of equal rules, those of evaluations apart."""

from __future__ import annotations

from pathlib import Path

from rlvr import load_rules
from rlvr.rules.fingerprint import Fingerprint, fingerprint
from rlvr.runs.rollout_log import RolloutLogFile
from rlvr.runs.rule_history import rule_history

SPLITS = ("train", "eval", "forced")


def by(weight: float, pack: str = "r1_format+answer") -> Fingerprint:
    return fingerprint(load_rules(pack, [f"rules.format.weight={weight}"]))


def file(step: int, split: str) -> RolloutLogFile:
    made = RolloutLogFile(step=step, split_index=SPLITS.index(split), path=Path(f"{step}-{split}"))
    assert made.split == split
    return made


def told(rules_of: dict[RolloutLogFile, Fingerprint]) -> list[tuple[int, int, float, bool]]:
    return [(each.first, each.last, each.rules.weights["format"], each.evaluation) for each in rule_history(rules_of)]


def test_equal_rules_at_steps_that_follow_one_another_are_one_stretch() -> None:
    heavy, light = by(0.1), by(0.05)
    steps = {3: light, 1: heavy, 2: heavy, 4: heavy}  # in no order
    found = told({file(step, "train"): rules for step, rules in steps.items()})
    assert found == [(1, 2, 0.1, False), (3, 3, 0.05, False), (4, 4, 0.1, False)]


def test_evaluations_between_steps_do_not_cut_a_stretch_in_two() -> None:
    training, evaluation = by(0.1), by(0.3)
    rules_of = {file(0, "eval"): evaluation, file(0, "forced"): evaluation, file(2, "eval"): evaluation}
    rules_of |= {file(step, "train"): training for step in (1, 2, 3)}
    assert told(rules_of) == [(1, 3, 0.1, False), (0, 2, 0.3, True)]
    same = dict.fromkeys(rules_of, training)
    assert told(same) == [(1, 3, 0.1, False)]
    assert told({each: rules for each, rules in rules_of.items() if each.split != "train"}) == [(0, 2, 0.3, False)]
