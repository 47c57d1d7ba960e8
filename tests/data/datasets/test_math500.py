"""MATH-500: the whole real data set gets the full score under the maths pack; a share may be trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import data, score_gap
from rlvr import load_rules
from rlvr.config.compose import compose
from rlvr.data.datasets.math500 import MATH500
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError

ROW = {
    "problem": " Half of 3? ",
    "solution": r"It is $\boxed{\frac{3}{2}}$.",
    "answer": r"\frac{3}{2}",
    "subject": "Algebra",
    "level": 2,
}


@pytest.fixture(scope="session")
def math500_path() -> Path:
    return data("math500")


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("pack", "prompt"), [("math", "boxed"), ("r1_format+math", "r1")])
def test_every_reference_solution_gets_full_score(math500_path: Path, pack: str, prompt: str, every: int) -> None:
    splits = MATH500(path=str(math500_path)).load()
    assert (len(splits.train), len(splits.test)) == (0, 500)
    assert len({problem.id for problem in splits.test}) == 500
    rules, prompts = load_rules(pack), Prompts(template=compose(["model=qwen0.5b", f"prompt={prompt}"]).prompt)
    bad = {p.id: rules.check_truth(p) or score_gap(prompts, p, rules) for p in splits.test[::every]}
    assert {problem_id: why for problem_id, why in bad.items() if why} == {}


def test_a_row(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps(ROW))
    (problem,) = MATH500(path=str(tmp_path)).load().test
    assert (problem.id, problem.prompt, problem.truth) == ("math500-00000", "Half of 3?", {"answer": r"\frac{3}{2}"})
    assert problem.metadata == {"solution": r"It is $\boxed{\frac{3}{2}}$.", "subject": "Algebra", "level": 2}


def test_a_share_may_be_trained_on_and_is_then_not_evaluated(math500_path: Path) -> None:
    whole = MATH500(path=str(math500_path)).load().test
    some = MATH500(path=str(math500_path), train_share=0.3).load()
    more = MATH500(path=str(math500_path), train_share=0.6).load()
    assert 110 <= len(some.train) <= 190
    assert {p.id for p in some.train} < {p.id for p in more.train}, "a larger share keeps the smaller one"
    assert sorted(p.id for p in (*some.train, *some.test)) == [p.id for p in whole]


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, float("nan")])
def test_a_share_lies_below_1(tmp_path: Path, share: float) -> None:
    with pytest.raises(ValueError, match=rf"^train_share={share}: must lie in \[0, 1\)"):
        MATH500(path=str(tmp_path), train_share=share)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "test.jsonl, line 2: not JSON"),
        ("[]", "test.jsonl, line 2: a JSON list, not an object"),
        ('{"solution": "s", "answer": "1"}', r"math500-00001 lacks a text 'problem' \(it has: solution, answer\)"),
        ('{"problem": "q", "answer": "1"}', r"math500-00001 lacks a text 'solution'"),
        ('{"problem": "q", "solution": "1"}', r"math500-00001 has neither an 'answer' nor a \\boxed{} in its solution: '1'"),
        ('{"problem": "q", "solution": "1", "answer": " "}', r"math500-00001 has neither an 'answer'"),
        ('{"problem": 3, "solution": "1", "answer": "1"}', r"math500-00001 lacks a text 'problem'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "test.jsonl").write_text(f"{json.dumps(ROW)}\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        MATH500(path=str(tmp_path)).load()


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset.path=/no/such: no such folder"):
        MATH500(path="/no/such")
    with pytest.raises(ConfigError, match="holds neither test.jsonl nor test-"):
        MATH500(path=str(tmp_path)).load()
