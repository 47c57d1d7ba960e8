"""TriviaQA in the layouts of the hub and of a folder: all spellings are in the ground truth, and each gets the full score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from conftest import score_gap
from rlvr import load_rules
from rlvr.config.compose import compose
from rlvr.data.datasets.triviaqa import TriviaQA
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError


def row(value: str, *aliases: str) -> dict[str, Any]:
    """With the columns of `rc.nocontext`."""
    return {
        "question": f"Which is spelt {value}?",
        "question_id": "tc_1",
        "question_source": "http://www.triviacountry.com/",
        "answer": {
            "aliases": list(aliases),
            "normalized_aliases": [alias.lower() for alias in aliases],
            "matched_wiki_entity_name": "",
            "normalized_value": value.lower(),
            "type": "WikipediaEntity",
            "value": value,
        },
    }


ROWS = [
    row("Sunset Boulevard", "Sunset Blvd", "Sunset Boulevard", "Sunset Bulevard", "West Sunset Boulevard"),
    row("C++", "C Plus Plus", "The C++ Programming Language"),
    row("3.5", "three and a half"),
    row("Beyonc\u00e9"),
    row("90%", "ninety percent"),
]


def splits_of(path: Path) -> Any:
    for split in ("train", "validation"):
        (path / f"{split}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in ROWS))
    return TriviaQA(path=str(path)).load()


@pytest.mark.parametrize(("pack", "prompt"), [("qa", "boxed"), ("r1_format+qa", "r1")])
def test_every_reference_solution_gets_full_score(tmp_path: Path, pack: str, prompt: str) -> None:
    splits = splits_of(tmp_path)
    rules, prompts = load_rules(pack), Prompts(template=compose(["model=qwen0.5b", f"prompt={prompt}"]).prompt)
    for problem in (*splits.train, *splits.test):
        assert rules.check_truth(problem) is None
        assert score_gap(prompts, problem, rules) is None


def test_every_alias_is_right_and_no_other_answer(tmp_path: Path) -> None:
    test, rules = splits_of(tmp_path).test, load_rules("qa")
    for problem in test:
        for other in test:
            for alias in other.truth["answers"]:
                assert rules.judge(f"\\boxed{{{alias}}}", problem).reward == float(other is problem)


def test_a_row(tmp_path: Path) -> None:
    problem = splits_of(tmp_path).test[0]
    assert (problem.id, problem.prompt) == ("triviaqa-validation-000000", "Which is spelt Sunset Boulevard?")
    assert problem.truth == {"answers": ("Sunset Boulevard", "Sunset Blvd", "Sunset Bulevard", "West Sunset Boulevard")}
    assert problem.metadata == {"answer": "Sunset Boulevard", "solution": "The answer is Sunset Boulevard."}


def test_parquet_as_the_hub_lays_it_out(tmp_path: Path) -> None:
    """A copy of the whole repository also holds other configurations with the same questions."""
    for config in ("rc.nocontext", "unfiltered"):
        (tmp_path / config).mkdir()
        for split in ("train", "validation", "test"):
            table = pyarrow.Table.from_pylist([{**each, "question": config} for each in ROWS])
            pyarrow.parquet.write_table(table, tmp_path / config / f"{split}-00000-of-00001.parquet")
    splits = TriviaQA(path=str(tmp_path)).load()
    assert {p.prompt for p in (*splits.train, *splits.test)} == {"rc.nocontext"}
    assert splits.train[1].truth["answers"] == ("C++", "C Plus Plus", "The C++ Programming Language")
    assert (len(splits.train), len(splits.test)) == (5, 5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"answer": {"value": "x"}}', r"triviaqa-train-000001 lacks a text 'question' \(it has: answer\)"),
        ('{"question": "q"}', r"triviaqa-train-000001 lacks an object 'answer' \(it has: question\)"),
        ('{"question": "q", "answer": "x"}', "triviaqa-train-000001 lacks an object 'answer'"),
        ('{"question": "q", "answer": {"aliases": []}}', "triviaqa-train-000001's answer lacks a text 'value'"),
        (
            '{"question": "q", "answer": {"value": "x", "aliases": "x"}}',
            "triviaqa-train-000001: the answer's 'aliases' must be",
        ),
        (
            '{"question": "q", "answer": {"value": "x", "aliases": [1]}}',
            "triviaqa-train-000001: the answer's 'aliases' must be",
        ),
        ("nonsense", "train.jsonl, line 2: not JSON"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "train.jsonl").write_text(f"{json.dumps(ROWS[0])}\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        TriviaQA(path=str(tmp_path)).load()


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset.path=/no/such: no such folder"):
        TriviaQA(path="/no/such")
    with pytest.raises(ConfigError, match="holds neither train.jsonl nor train-"):
        TriviaQA(path=str(tmp_path)).load()
