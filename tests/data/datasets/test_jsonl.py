"""JSON Lines files of a user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import score_gap
from rlvr import load_rules
from rlvr.config.compose import compose
from rlvr.data.datasets.jsonl import JsonLines
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_rows_become_problems(tmp_path: Path) -> None:
    rows = [{"id": f"n{i}", "prompt": f"{i}?", "truth": {"answer": str(i)}, "solution": "just so"} for i in range(200)]
    splits = JsonLines(path=write(tmp_path / "a.jsonl", rows)).load()
    assert len(splits.train) + len(splits.test) == 200
    assert 5 <= len(splits.test) <= 40
    assert splits.train[0].metadata == {"solution": "just so"}
    more = JsonLines(path=write(tmp_path / "b.jsonl", [{"prompt": "new?", "truth": {}}, *rows])).load()
    assert {p.id for p in splits.test} == {p.id for p in more.test} - {"b-00001"}, "adding rows moves none"


def test_other_columns_and_a_separate_file_for_evaluation(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"q": "2+2?", "a": 4}])
    splits = JsonLines(path=path, eval_path=path, prompt_key="q", answer_key="a").load()
    assert (splits.train[0].prompt, splits.train[0].truth) == ("2+2?", {"answer": 4})
    assert splits.train == splits.test


def test_a_whole_reference_completion(tmp_path: Path) -> None:
    """For answers that no template can write: it is kept as it is, and gets the full score under its rules."""
    truth = {"choices": ["4", "5"], "answer": "B"}
    row = {
        "prompt": "2+3?",
        "truth": truth,
        "completion": "<think>2 + 3 is 5, so B</think><answer>B</answer>",
        "solution": "-",
        "n": 1,
    }
    path = write(tmp_path / "a.jsonl", [row])
    (problem,) = JsonLines(path=path, eval_path=path).load().train
    assert problem.metadata == {"solution": "-", "completion": row["completion"]}
    prompts = Prompts(template=compose(["model=qwen0.5b", "prompt=boxed"]).prompt)
    assert score_gap(prompts, problem, load_rules("r1_format+mcq")) is None


def test_what_is_held_out_never_changes(tmp_path: Path) -> None:
    """A different hash would evaluate on problems that an earlier run was trained on. Any text can be hashed."""
    rows = [{"prompt": f"problem {i}", "truth": {}} for i in range(30)] + [{"prompt": "\ud800", "truth": {}}]
    held_out = [p.prompt for p in JsonLines(path=write(tmp_path / "a.jsonl", rows)).load().test]
    assert held_out == ["problem 2", "problem 5", "problem 6", "problem 7", "problem 15", "problem 26"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no rows"),
        ([{"prompt": "q"}], r"row 1: needs a text 'prompt' and an object 'truth' \(it has: prompt\)"),
        ([{"prompt": 3, "truth": {}}], "row 1: needs a text 'prompt'"),
        ([{"id": 1, "prompt": "q", "truth": {}}] * 2, "row 2: id '1' is there twice"),
        ([{"prompt": "q", "truth": {}}], "too few rows to hold out 0.1 of; set dataset.eval_path"),
    ],
)
def test_mistakes(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JsonLines(path=write(tmp_path / "a.jsonl", rows)).load()
    with pytest.raises(ConfigError, match=r"dataset\.path=/no/such: no such file"):
        JsonLines(path="/no/such")
    with pytest.raises(ValueError, match=r"^eval_share=1\.0: must lie in \(0, 1\)"):
        JsonLines(path=str(tmp_path / "a.jsonl"), eval_share=1.0)
