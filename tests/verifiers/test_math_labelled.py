"""MathAnswer against labels made by hand: pairs of a truth and an answer, and whole sentences. Worker processes included.

The labels come from mathematics and from how people write; `conventions.jsonl` holds the choices that the project declares:
percent is a unit, a missing unit is forgiven, a truth like 3.14 is a rounded one, letters of variables keep their case.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rlvr import Problem, Verdict
from rlvr.rules.pack import Rule
from rlvr.scoring.local.rule_pack import LocalRulePack
from rlvr.verifiers.math import MathAnswer

FILES = sorted((Path(__file__).parent / "labelled").glob("*.jsonl"))
ROWS = {path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in FILES}
PAIRS = [(name, row) for name, rows in ROWS.items() if name != "sentences" for row in rows]
ASYMMETRIC = {"rounded_truth"}  # kinds in which the truth may be coarser than the answer, and not the other way round


@cache
def pack(extract: str | tuple[str, ...], which: str) -> LocalRulePack:
    rule = Rule(name="answer", weight=1.0, verifier=MathAnswer(extract=extract, which=which))  # type: ignore[arg-type]
    return LocalRulePack(rules={"answer": rule})


def judge(completion: str, truth: str, extract: str | tuple[str, ...] = "boxed", which: str = "last") -> Verdict:
    problem = Problem(id="p", prompt="q", truth={"answer": truth})
    return pack(extract, which).judge(completion, problem).verdicts["answer"]


def named(rows: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    parameters = []
    for name, row in rows:
        text = f"{row['truth']} {'=' if row['equal'] else '!='} {row.get('answer', row.get('completion', ''))[:30]}"
        label = f"{name}-{row['kind']}-{text}".encode("ascii", "backslashreplace").decode()
        parameters.append(pytest.param(row, id=label))
    return parameters


@pytest.mark.parametrize("row", named(PAIRS))
def test_a_pair_is_judged_as_labelled(row: dict[str, Any]) -> None:
    verdict = judge(f"So the answer is \\boxed{{{row['answer']}}}.", row["truth"])
    assert verdict.outcome == "scored", verdict
    assert verdict.score == float(row["equal"]), verdict
    assert verdict.reason != "timeout"
    assert (verdict.reason == "correct") == row["equal"]


@pytest.mark.parametrize("row", named([("sentences", row) for row in ROWS["sentences"]]))
def test_a_sentence_is_judged_as_labelled(row: dict[str, Any]) -> None:
    extract = row["extract"] if isinstance(row["extract"], str) else tuple(row["extract"])
    verdict = judge(row["completion"], row["truth"], extract, row["which"])
    assert (verdict.outcome, verdict.score) == ("scored", float(row["equal"])), verdict
    assert verdict.reason == row.get("reason", verdict.reason)


def test_every_truth_equals_itself_and_can_be_checked() -> None:
    truths = {row["truth"] for _, row in PAIRS}
    verifier = MathAnswer()
    assert [truth for truth in truths if verifier.check_truth({"answer": truth})] == []
    assert [truth for truth in truths if judge(f"\\boxed{{{truth}}}", truth).score != 1.0] == []


def test_labels_do_not_contradict_each_other() -> None:
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
