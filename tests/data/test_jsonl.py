"""Files of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlvr.config import ConfigError
from rlvr.data.jsonl import JsonLines


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


def test_own_columns_and_an_own_file_for_evaluation(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"q": "2+2?", "a": 4}])
    splits = JsonLines(path=path, eval_path=path, prompt_key="q", answer_key="a").load()
    assert (splits.train[0].prompt, splits.train[0].truth) == ("2+2?", {"answer": 4})
    assert splits.train == splits.test


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no rows"),
        ([{"prompt": "q"}], r"row 1: needs a text 'prompt' and an object 'truth' \(it has: prompt\)"),
        ([{"prompt": 3, "truth": {}}], "row 1: needs a text 'prompt'"),
        ([{"id": 1, "prompt": "q", "truth": {}}] * 2, "row 2: id '1' stands there twice"),
        ([{"prompt": "q", "truth": {}}], "too few rows to hold out 0.1 of; set dataset.eval_path"),
    ],
)
def test_mistakes(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JsonLines(path=write(tmp_path / "a.jsonl", rows)).load()
    with pytest.raises(ConfigError, match=r"dataset\.path=/no/such: no such file"):
        JsonLines(path="/no/such")
    with pytest.raises(ConfigError, match=r"dataset\.eval_share=1\.0: must lie between"):
        JsonLines(path=str(tmp_path / "a.jsonl"), eval_share=1.0)
