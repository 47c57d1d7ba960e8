"""CodeContests in the hub's layout and in that of the sample; tests that cannot be read are refused, never passed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from conftest import data
from rlvr import load_rules
from rlvr.data.datasets.code_contests import ASK, CodeContests
from rlvr.errors import ConfigError


def pairs_of(*pairs: tuple[str, str]) -> dict[str, list[str]]:
    return {"input": [given for given, _ in pairs], "output": [wanted for _, wanted in pairs]}


PYTHON2, CPP = "print raw_input()", "int main() {}"
HUB = {
    "name": "1_A. Echo",
    "description": "Print what you read.",
    "public_tests": pairs_of(("1\n", "1\n")),
    "private_tests": pairs_of(("2\n", "2\n"), ("3\n", "3\n")),
    "generated_tests": pairs_of(("4\n", "4\n")),
    "source": 2,
    "difficulty": 7,
    "solutions": {"language": [2, 3, 3, 3], "solution": [CPP, PYTHON2, "print(input())\r\n", "print(int(input()))"]},
    "input_file": "",
    "output_file": "",
}
CASE = {"input": {"stdin": "1\n"}, "output": {"stdout": "1\n"}}
SAMPLE = {
    "content": "Print what you read. ",
    "test": json.dumps([CASE, CASE]),
    "labels": json.dumps({"difficulty": "A", "name": "echo", "source": "CODEFORCES"}),
    "id": 0,
}


def numbered(*numbers: int) -> tuple[dict[str, str], ...]:
    return tuple({"stdin": f"{number}\n", "stdout": f"{number}\n"} for number in numbers)


def hub_folder(folder: Path, *rows: dict[str, Any], split: str = "test") -> CodeContests:
    (folder / "data").mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), folder / "data" / f"{split}-00000-of-00001.parquet")
    return CodeContests(path=str(folder))


def test_the_real_sample() -> None:
    path = str(data("code_contests"))
    splits = CodeContests(path=path, max_cases=None).load()
    assert (len(splits.train), len(splits.test)) == (0, 20)
    assert sum(len(problem.truth["cases"]) for problem in splits.test) == 2232
    for problem in splits.test:
        assert all(set(case) == {"stdin", "stdout"} and case["stdout"].strip() for case in problem.truth["cases"]), problem.id
        assert problem.prompt.endswith(f"\n\n{ASK}")
        assert set(problem.metadata) == {"name", "source", "difficulty"}
    short = CodeContests(path=path, max_cases=40, train_share=0.5).load()
    assert len(short.train) + len(short.test) == 20
    assert {len(problem.truth["cases"]) for problem in (*short.train, *short.test)} == {35, 40}


def test_a_row_of_the_hub(tmp_path: Path) -> None:
    (problem,) = hub_folder(tmp_path, HUB).load().test
    assert problem.id == "code_contests-test-00000"
    assert problem.prompt == f"Print what you read.\n\n{ASK}"
    assert problem.truth == {"cases": numbered(1, 2, 3, 4)}, "public, private, generated"
    assert problem.metadata == {
        "name": "1_A. Echo",
        "source": 2,
        "difficulty": 7,
        "solution": "print(input())\n",
        "completion": "```python\nprint(input())\n```",
    }, "the first in Python 3 that is Python 3"
    (tmp_path / "data" / "train-00000-of-00001.parquet").write_bytes(
        (tmp_path / "data" / "test-00000-of-00001.parquet").read_bytes()
    )
    splits = CodeContests(path=str(tmp_path), max_cases=2).load()
    assert [p.truth["cases"] for p in (*splits.train, *splits.test)] == [numbered(1, 2)] * 2
    assert [p.id for p in splits.train] == ["code_contests-train-00000"]


def test_references_are_scored_by_their_output(tmp_path: Path) -> None:
    (problem,) = hub_folder(tmp_path, HUB).load().test
    share, strict = load_rules("code"), load_rules("code_strict")
    assert share.judge(problem.metadata["completion"], problem).reward == 1.1
    constant = "```python\nprint(2)\n```"
    assert share.judge(constant, problem).reward == pytest.approx(0.35)
    assert strict.judge(constant, problem).reward == pytest.approx(0.1)
    assert strict.judge(problem.metadata["completion"], problem).reward == 1.1


def test_rows_of_the_hub_as_json_lines(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps({**HUB, "private_tests": None, "solutions": None}))
    (problem,) = CodeContests(path=str(tmp_path)).load().test
    assert problem.truth == {"cases": numbered(1, 4)}
    assert "completion" not in problem.metadata


def test_a_program_that_does_nothing_passes_no_test(tmp_path: Path) -> None:
    rows = [{**HUB, "private_tests": pairs_of(("2\n", ""), ("3\n", " \n"))}, {**HUB, "public_tests": pairs_of(("1\n", ""))}]
    splits = hub_folder(tmp_path, *rows).load()
    assert [problem.truth["cases"] for problem in splits.test] == [numbered(1, 4), numbered(2, 3, 4)]


def test_problems_that_want_files_are_left_out(tmp_path: Path) -> None:
    splits = hub_folder(tmp_path, {**HUB, "input_file": "in.txt"}, HUB, {**HUB, "output_file": "out.txt"}).load()
    assert [problem.id for problem in splits.test] == ["code_contests-test-00001"]


def test_a_row_of_the_sample(tmp_path: Path) -> None:
    (tmp_path / "sample.jsonl").write_text(json.dumps(SAMPLE))
    (problem,) = CodeContests(path=str(tmp_path)).load().test
    assert problem.prompt == f"Print what you read.\n\n{ASK}"
    assert problem.truth == {"cases": numbered(1, 1)}
    assert problem.metadata == {"difficulty": "A", "name": "echo", "source": "CODEFORCES"}
    (tmp_path / "sample.jsonl").write_text(json.dumps({**SAMPLE, "labels": "{", "test": [CASE]}))
    (problem,) = CodeContests(path=str(tmp_path)).load().test
    assert (problem.truth, problem.metadata) == ({"cases": numbered(1)}, {}), "a list needs no decoding"


def test_no_tests_are_refused_unless_they_are_to_be_dropped(tmp_path: Path) -> None:
    nothing = {**HUB, **dict.fromkeys(("public_tests", "private_tests", "generated_tests"), pairs_of())}
    (tmp_path / "test.jsonl").write_text(f"{json.dumps(HUB)}\n{json.dumps(nothing)}\n")
    with pytest.raises(ConfigError, match="code_contests-test-00001 has no tests; dataset.on_unscorable=drop leaves"):
        CodeContests(path=str(tmp_path)).load()
    kept = CodeContests(path=str(tmp_path), on_unscorable="drop").load().test
    assert [len(problem.truth["cases"]) for problem in kept] == [4, 0], "for the rules to report"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"content": None}, "code_contests-sample-00001 lacks a text 'content'"),
        ({"test": "[{"}, "code_contests-sample-00001: its 'test' is not JSON: Expecting"),
        ({"test": "[" * 100_000}, "code_contests-sample-00001: its 'test' is not JSON"),
        ({"test": "eJzT0yMAAGTvBe8="}, "code_contests-sample-00001: its 'test' is not JSON"),
        ({"test": '{"a": 1}'}, "code_contests-sample-00001: its 'test' must be JSON of a list, got '{"),
        ({"test": "null"}, "code_contests-sample-00001: its 'test' must be JSON of a list, got 'null'"),
        ({"test": None}, "code_contests-sample-00001: its 'test' must be JSON of a list, got 'None'"),
        ({"test": "[]"}, "code_contests-sample-00001 has no tests"),
        ({"test": "[3]"}, "code_contests-sample-00001, test 1: needs an 'input' and an 'output', got '3'"),
        ({"test": json.dumps([CASE, {"input": {"stdin": "1"}}])}, "sample-00001, test 2: needs an 'input' and an 'output'"),
        ({"test": json.dumps([{**CASE, "input": {}}])}, "sample-00001, test 1: its input must be a text, got 'None'"),
        ({"test": json.dumps([{**CASE, "output": {"stdout": 1}}])}, "sample-00001, test 1: its output must be a text, got '1'"),
    ],
)
def test_a_bad_sample_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "sample.jsonl").write_text(f"{json.dumps(SAMPLE)}\n{json.dumps({**SAMPLE, **change})}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        CodeContests(path=str(tmp_path)).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"description": ""}, "code_contests-test-00001 lacks a text 'description'"),
        ({"public_tests": []}, "00001's 'public_tests' must hold lists 'input' and 'output' of one length"),
        (
            {"public_tests": {"input": ["1"], "output": []}},
            "00001's 'public_tests' must hold lists 'input' and 'output' of one",
        ),
        ({"generated_tests": {"input": [1], "output": ["1"]}}, "00001's generated_tests, test 1: its input must be a text"),
        ({"private_tests": {"input": ["1"], "output": [None]}}, "00001's private_tests, test 1: its output must be a text"),
        ({"solutions": ["print(1)"]}, "00001's 'solutions' must hold lists 'language' and 'solution' of one length"),
    ],
)
def test_a_bad_row_of_the_hub_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "test.jsonl").write_text(f"{json.dumps(HUB)}\n{json.dumps({**HUB, **change})}\n")
    with pytest.raises(ConfigError, match=message):
        CodeContests(path=str(tmp_path)).load()


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset.path=/no/such: no such folder"):
        CodeContests(path="/no/such")
    with pytest.raises(ConfigError, match="holds neither test.jsonl nor test-"):
        CodeContests(path=str(tmp_path)).load()
    with pytest.raises(ValueError, match=r"^max_cases=0: must be at least 1 \(null for all\)"):
        CodeContests(path=str(tmp_path), max_cases=0)
    (tmp_path / "test-0.parquet").write_text("no table")
    with pytest.raises(ConfigError, match=r"test-0\.parquet: .*Parquet"):
        CodeContests(path=str(tmp_path)).load()
