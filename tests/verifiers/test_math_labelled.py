"""MathAnswer against labels made by hand: pairs of a ground truth and an answer, and sentences. Worker processes included.

The labels come from mathematics and from how people write; `conventions.jsonl` has the choices that the project declares:
percent is a unit, a missing unit is accepted, a ground truth like 3.14 is rounded, letters of variables keep their case.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from rlvr import Problem, Verdict
from rlvr.rules.rule import Rule
from rlvr.scoring.local.rule_pack import LocalRulePack
from rlvr.verifiers.math import MathAnswer

FILES = sorted((Path(__file__).parent / "labelled").glob("*.jsonl"))
ROWS = {path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in FILES}
PAIRS = [(name, row) for name, rows in ROWS.items() if name != "sentences" for row in rows]
ASYMMETRIC = {"rounded_truth"}  # kinds in which the ground truth may be coarser than the answer, but not the reverse


@cache
def pack(extract: str | tuple[str, ...], which: str) -> LocalRulePack:
    rule = Rule(name="answer", weight=1.0, verifier=MathAnswer(extract=extract, which=which))  # type: ignore[arg-type]
    return LocalRulePack(rules={"answer": rule})


def judge(completion: str, truth: str, extract: str | tuple[str, ...] = "boxed", which: str = "last") -> Verdict:
    problem = Problem(id="p", prompt="q", truth={"answer": truth})
    return pack(extract, which).judge(completion, problem).verdicts["answer"]


@pytest.mark.parametrize("table", sorted(ROWS.keys() - {"sentences"}))
def test_pairs_are_scored_as_labelled(table: str) -> None:
    wrong = []
    for row in ROWS[table]:
        verdict = judge(f"So the answer is \\boxed{{{row['answer']}}}.", row["truth"])
        right = verdict.score == float(row["equal"]) and (verdict.reason == "correct") == row["equal"]
        if not right or verdict.outcome != "scored" or verdict.reason == "timeout":
            wrong.append((row, verdict))
    assert wrong == []


def test_sentences_are_scored_as_labelled() -> None:
    wrong = []
    for row in ROWS["sentences"]:
        extract = row["extract"] if isinstance(row["extract"], str) else tuple(row["extract"])
        verdict = judge(row["completion"], row["truth"], extract, row["which"])
        expected = ("scored", float(row["equal"]), row.get("reason", verdict.reason))
        if (verdict.outcome, verdict.score, verdict.reason) != expected:
            wrong.append((row, verdict))
    assert wrong == []


def test_every_truth_equals_itself_and_can_be_checked() -> None:
    truths = {row["truth"] for _, row in PAIRS}
    verifier = MathAnswer()
    assert [truth for truth in truths if verifier.check_truth({"answer": truth})] == []
    assert [truth for truth in truths if judge(f"\\boxed{{{truth}}}", truth).score != 1.0] == []


def test_labels_do_not_contradict() -> None:
    labels: dict[tuple[str, str], tuple[bool, str]] = {}
    for _, row in PAIRS:
        assert row["equal"] or row["truth"] != row["answer"], row
        assert labels.setdefault((row["truth"], row["answer"]), (row["equal"], row["kind"]))[0] == row["equal"], row
    for (truth, answer), (equal, kind) in labels.items():
        other = labels.get((answer, truth), (equal, kind))
        assert other[0] == equal or ASYMMETRIC & {kind, other[1]}, (truth, answer)


def test_there_are_enough_labels_of_both_kinds() -> None:
    assert len(PAIRS) >= 400
    for name, rows in ROWS.items():
        share = sum(row["equal"] for row in rows) / len(rows)
        assert 0.1 <= share <= 0.9, name
