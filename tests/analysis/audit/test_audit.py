"""The audit: sound packs pass, leaky ones are found, and undeclared gains fail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from rlvr import Problem, Verdict, Verifier, load_rules
from rlvr.analysis.audit.attacks.base import Attack, Target, find_attacks
from rlvr.analysis.audit.audit import audit
from rlvr.answers.extract import boxes
from rlvr.cli.main import main
from rlvr.config.compose import compose
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError
from rlvr.rules.pack import RulePack
from rlvr.rules.rule import Rule

ATTACKS = find_attacks(["rlvr.analysis.audit.attacks.answers", "rlvr.analysis.audit.attacks.form"], ("rlvr.",))
PROBLEMS = [
    Problem(
        id=f"p{n}",
        prompt=f"What is {n} and {n}?",
        truth={"answer": str(2 * n)},
        metadata={"solution": f"Adding {n} to {n} makes {2 * n}, since two times {n} is {2 * n}."},
    )
    for n in range(11, 17)
]
R1 = Prompts(template=compose(["model=qwen0.5b", "prompt=r1"]).prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyBox(Verifier):
    """The leak that the field complains about: any matching box will do."""

    judges: ClassVar = "answer"

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        return Verdict.scored(float(problem.truth["answer"] in boxes(completion)), "some")


def gains(pack: RulePack, problems: Sequence[Problem] = PROBLEMS) -> dict[str, float]:
    report = audit(pack, problems, R1, ATTACKS, 50)
    assert (report.short, report.attacked) == ((), len(problems))
    return {each.attack.name(): each.share for each in report.attempts if each.share}


def test_a_leaky_verifier_is_found_out() -> None:
    leaky = RulePack(rules={"answer": Rule(name="answer", weight=1.0, verifier=AnyBox())})
    found = gains(leaky)
    for attack in ("several_boxes", "several_solutions", "answer_in_the_wrong_place", "injected_format_tokens"):
        assert found[attack] == 1.0
    assert "near_miss" not in found


def test_the_shipped_packs() -> None:
    before, after = gains(load_rules("r1_format+answer")), gains(load_rules("r1_format+answer+anti_hack"))
    assert set(before) == {"filler_think", "short_think", "repeated_answer", "repeated_reasoning"}
    assert after == {}
    pack = load_rules("r1_format+answer")
    assert all(pack.allows(attack, "form") for attack in before), "what the two do not stop is declared by both"
    assert load_rules("answer").allows("empty_think", "form")
    assert pack.allows("empty_think", "form") is None, "one rule that does not allow it is enough"


def test_bad_references_and_ground_truths_are_listed() -> None:
    bad = [
        Problem(id="unread", prompt="q", truth={"answer": "\\frac{1}{"}, metadata={"solution": "some reasoning here"}),
        Problem(id="short", prompt="q", truth={"answer": "4"}, metadata={"solution": "no"}),
    ]
    report = audit(load_rules("r1_format+answer"), [*PROBLEMS, *bad], R1, ATTACKS[:1], 3)
    assert [problem.id for problem, _ in report.lint.bad] == ["unread"]
    assert [(problem.id, reason[:11]) for problem, reason in report.short] == [("short", "rule format")]
    assert (report.references, report.attacked) == (len(PROBLEMS) + 1, 3)


class ShoutsTheAnswer(Attack):
    """The right answer in capitals, from this test."""

    earns: ClassVar = "less"

    def build(self, target: Target) -> Sequence[str | None]:
        return [target.right.upper(), None]


def rows(folder: Path) -> str:
    path = folder / "rows.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": p.id, "prompt": p.prompt, "truth": dict(p.truth), "solution": p.metadata["solution"]}) + "\n"
            for p in PROBLEMS * 1
        )
    )
    return f"dataset.path={path}"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["dataset=jsonl", rows(tmp_path), "dataset.eval_share=0.3", "prompt=r1"]
    assert main(["audit", "rules=r1_format+answer+anti_hack", *arguments]) == 0
    shown = capsys.readouterr().out
    assert "all 6 can be scored" in shown
    assert "6 of 6 get the full score" in shown
    assert main(["audit", "rules=r1_format+answer", *arguments]) == 0, "declared"
    assert "allowed: counts visible characters" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert main(["audit", "rules=r1_format+answer", "~rules.format.allows.filler_think", *arguments]) == 1
    assert "failed: filler_think: gains on 100% of the problems, more than audit.max_gain=0" in capsys.readouterr().err
    assert main(["audit", "rules=r1_format+answer", "~rules.format.allows.filler_think", "audit.max_gain=1", *arguments]) == 0


def test_attacks_of_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["rules=answer", "dataset=jsonl", rows(tmp_path), "dataset.eval_share=0.3", "prompt=r1"]
    mine = [
        "audit.attacks=[rlvr.analysis.audit.attacks.answers,rlvr.analysis.audit.attacks.form,test_audit.ShoutsTheAnswer]",
        "rules_from=[test_audit]",
    ]
    assert main(["audit", *arguments, *mine]) == 0
    assert "shouts_the_answer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rules=answer"], "rules=PACK and dataset=NAME are needed"),
        (["rules=anser", "dataset=arithmetic"], "rules=anser: there is no such choice; did you mean answer?"),
        (["rules=answer", "dataset=arithmetic", "audit.problems=0"], "audit.problems=0: must be at least 1"),
        (["rules=answer", "dataset=arithmetic", "audit.max_gain=2"], "audit.max_gain=2.0: must lie in [0, 1]"),
        (
            ["rules=answer", "dataset=arithmetic", "+rules.answer.allows.nope=so"],
            "rules.answer.allows.nope: there is no such attack",
        ),
        (["rules=answer", "dataset=arithmetic", "audit.attacks=[os.path]"], "audit.attacks=os.path: allowed are rlvr."),
        (
            ["rules=answer", "dataset=arithmetic", "audit.attacks=[rlvr.analysis.audit.attacks.nope]"],
            "audit.attacks=rlvr.analysis.audit.attacks.nope: no",
        ),
        (
            ["rules=answer", "dataset=arithmetic", "audit.attacks=[rlvr.analysis.audit.attacks.form.Nope]"],
            "no Attack there (it has: EmptyThink",
        ),
    ],
)
def test_wrong_arguments_exit_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_attacks_need_to_be_under_listed_prefixes() -> None:
    with pytest.raises(ConfigError, match="list more in rules_from"):
        find_attacks(["test_audit.ShoutsTheAnswer"], ("rlvr.",))
    assert [each.hack() for each in find_attacks(["test_audit.ShoutsTheAnswer"], ("rlvr.", "test_audit"))] == [
        "The right answer in capitals, from this test."
    ]
