"""MMLU: every right choice of the real STEM subjects gets the full score, and every other choice 0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from conftest import data, score_gap
from rlvr import load_rules
from rlvr.config.compose import compose
from rlvr.data.datasets.mmlu import LETTERS, MMLU
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError

ROW = {"question": "Which is prime? ", "subject": "number_theory", "choices": ["4", "7 ", "9", "10"], "answer": 1}
WHOLE = pytest.param(1, marks=pytest.mark.slow)
CLASHING = {411: "C", 2147: "B"}
"""Problems whose choice D has the letter of a different choice as its text."""


@pytest.fixture(scope="session")
def mmlu_path() -> Path:
    return data("mmlu_stem")


@pytest.mark.parametrize("every", [20, WHOLE])
@pytest.mark.parametrize(("pack", "prompt"), [("mcq", "boxed"), ("r1_format+mcq", "r1")])
def test_every_reference_solution_gets_full_score(mmlu_path: Path, pack: str, prompt: str, every: int) -> None:
    splits = MMLU(path=str(mmlu_path)).load()
    assert (len(splits.train), len(splits.test)) == (0, 3018)
    rules, prompts = load_rules(pack), Prompts(template=compose(["model=qwen0.5b", f"prompt={prompt}"]).prompt)
    bad = {p.id: rules.check_truth(p) or score_gap(prompts, p, rules) for p in splits.test[::every]}
    assert {problem_id: why for problem_id, why in bad.items() if why} == {}


@pytest.mark.parametrize("every", [20, WHOLE])
def test_every_choice_by_letter_by_text_and_by_both(mmlu_path: Path, every: int) -> None:
    """12,072 choices in three forms: the right one is right, and a wrong one only if its text is that of the right one."""
    rules, clashes = load_rules("mcq"), set()
    for problem in [p for at, p in enumerate(MMLU(path=str(mmlu_path)).load().test) if at % every == 0 or at in CLASHING]:
        choices, right = problem.truth["choices"], problem.truth["answer"]
        for letter, choice in zip(LETTERS, choices, strict=False):
            for text in (letter, f"({letter}) {choice}", f"{letter}. {choice}"):
                assert rules.judge(f"<answer>{text}</answer>", problem).reward == float(letter == right), (problem.id, text)
            same = choice.split() == choices[LETTERS.index(right)].split()
            if rules.judge(f"<answer>{choice}</answer>", problem).reward != float(same):
                clashes.add((problem.id, choice))
    assert clashes == {(f"mmlu-test-{at:05}", letter) for at, letter in CLASHING.items()}


def test_a_row(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps(ROW))
    (problem,) = MMLU(path=str(tmp_path)).load().test
    assert problem.prompt == "Which is prime?\nA. 4\nB. 7\nC. 9\nD. 10"
    assert problem.truth == {"choices": ("4", "7 ", "9", "10"), "answer": "B"}
    assert problem.metadata == {"solution": "The right choice is B, 7.", "subject": "number_theory"}


def test_the_hubs_folders_are_not_read_twice(tmp_path: Path) -> None:
    files = [
        "all/test-0",
        "all/auxiliary_train-0",
        "all/dev-0",
        "number_theory/test-0",
        "number_theory/dev-0",
        "auxiliary_train/train-0",
    ]
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{**ROW, "question": name}]), tmp_path / f"{name}.parquet")
    splits = MMLU(path=str(tmp_path)).load()
    assert [p.prompt.split("\n")[0] for p in (*splits.train, *splits.test)] == ["all/auxiliary_train-0", "all/test-0"]
    assert [p.id for p in MMLU(path=str(tmp_path), train_split="dev").load().train] == ["mmlu-dev-00000"]


def test_a_share_of_the_test_problems_may_be_trained_on(mmlu_path: Path) -> None:
    splits = MMLU(path=str(mmlu_path), train_share=0.5).load()
    assert 1300 <= len(splits.train) <= 1700
    assert len(splits.train) + len(splits.test) == 3018
    assert not {p.prompt for p in splits.train} & {p.prompt for p in splits.test}, "the same question stays on one side"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": None}, "mmlu-test-00001 lacks a text 'question'"),
        ({"choices": None}, "mmlu-test-00001 needs a list of 2 to 26 texts 'choices', got 'None'"),
        ({"choices": ["one"]}, "mmlu-test-00001 needs a list of 2 to 26 texts"),
        ({"choices": ["one", 2]}, "mmlu-test-00001 needs a list of 2 to 26 texts"),
        ({"answer": 4}, "mmlu-test-00001: answer=4: must be an index from 0 to 3"),
        ({"answer": -1}, "mmlu-test-00001: answer=-1: must be an index from 0 to 3"),
        ({"answer": "B"}, "mmlu-test-00001: answer='B': must be an index from 0 to 3"),
        ({"answer": True}, "mmlu-test-00001: answer=True: must be an index"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "test.jsonl").write_text(f"{json.dumps(ROW)}\n{json.dumps({**ROW, **change})}\n")
    with pytest.raises(ConfigError, match=message):
        MMLU(path=str(tmp_path)).load()


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset.path=/no/such: no such folder"):
        MMLU(path="/no/such")
    with pytest.raises(ConfigError, match="holds neither test.jsonl nor test-"):
        MMLU(path=str(tmp_path)).load()
