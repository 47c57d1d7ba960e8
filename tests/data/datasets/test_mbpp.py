"""MBPP: the paper's splits of the real set, what a prompt shows of the tests, and odd rows as one clear line."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from conftest import data, few_shot_examples, score_gap
from rlvr import load_rules
from rlvr.config.compose import compose
from rlvr.data.code_rows import parsed
from rlvr.data.datasets.mbpp import MBPP, TASKS
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError
from rlvr.types import Problem

ROW = {
    "task_id": 601,
    "text": "Write a function to add. ",
    "code": "import math\r\nclass Two:\r\n  pass\r\ndef helper(a):\r\n  return a\r\ndef add(a, b):\r\n  return helper(a) + b",
    "test_list": ["assert add(1, 2) == 3", "assert add(1, math.pi) > 4", "assert add(0, 0) == 0"],
    "test_setup_code": "two = Two()\r\ntwo.x = 1",
    "challenge_test_list": [],
}
SETUP = "import math\ntwo = Two()\ntwo.x = 1"


@pytest.fixture(scope="session")
def mbpp_path() -> Path:
    return data("mbpp")


@pytest.fixture(scope="session")
def tasks(mbpp_path: Path) -> dict[int, Problem]:
    """All 974, by `task_id`."""
    splits = MBPP(path=str(mbpp_path), train_splits=("prompt", "train", "validation")).load()
    return {problem.metadata["task_id"]: problem for problem in (*splits.train, *splits.test)}


def test_the_real_splits(mbpp_path: Path) -> None:
    splits = MBPP(path=str(mbpp_path)).load()
    assert [p.metadata["task_id"] for p in splits.train] == [*range(1, 11), *range(601, 975)]
    assert [p.metadata["task_id"] for p in splits.test] == list(range(11, 511))
    assert len(MBPP(path=str(mbpp_path), train_splits=("train",), test_split="validation").load().test) == 90


def test_every_task(tasks: dict[int, Problem]) -> None:
    assert sorted(tasks) == list(range(1, 975))
    assert [task for task in range(1, 975) if len(set(tasks[task].truth["asserts"])) < 3] == [37, 337, 508, 713, 862]
    for problem in tasks.values():
        asserts, setup, names = (problem.truth[key] for key in ("asserts", "setup", "names"))
        assert len(asserts) == 3
        assert asserts[0] in problem.prompt
        assert asserts[1] not in problem.prompt or len(set(asserts)) < 3
        assert "\r" not in "".join([*asserts, setup, problem.metadata["completion"]])
        tree = parsed(problem.metadata["solution"], problem.id)
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert set(names) <= defined
        assert any(name in asserts[0] for name in names)


def test_tasks_that_need_more_than_a_call(tasks: dict[int, Problem]) -> None:
    assert tasks[126].truth["names"] == ("sum",), "the builtin is shadowed"
    assert tasks[367].truth["names"] == ("Node", "is_tree_balanced")
    assert "root = Node(1)" in tasks[367].prompt, "without its setup a test does not say what Node takes"
    assert tasks[601].truth["names"] == ("Pair", "max_chain_length")
    assert tasks[596].truth["setup"] == "import sys", "which the tests use, and only the reference imports"
    assert {task for task, problem in tasks.items() if problem.truth["setup"]} == {367, 596, 927}


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_every_reference_gets_full_score(tasks: dict[int, Problem], every: int) -> None:
    """With more time than the pack gives a test: task 123 takes 2.6 s of processor time."""
    limits = [f"rules.code.verifier.{key}" for key in ("wall_s=20", "cpu_s=20", "budget_s=40")]
    rules, prompts = load_rules("code", limits), Prompts(template=compose(["model=qwen0.5b", "prompt=code"]).prompt)
    bad = {
        task: rules.check_truth(problem) or score_gap(prompts, problem, rules)
        for task, problem in tasks.items()
        if task % every == 0
    }
    assert {task: why for task, why in bad.items() if why} == {}


def test_few_shot_examples_of_the_paper(mbpp_path: Path) -> None:
    train = MBPP(path=str(mbpp_path)).load().train
    template = compose(["model=qwen0.5b", "prompt=code", "prompt.few_shot=3"]).prompt
    examples, rest = few_shot_examples(template, train, load_rules("code"))
    shown = Prompts(template=template, examples=examples).render(rest[0]).prompt
    assert [problem.metadata["task_id"] for problem in examples] == [1, 2, 3]
    assert len(rest) == 381
    assert shown.count("```python\n") == 3
    assert f"```python\n{train[0].metadata['solution']}\n```" in shown
    assert shown.endswith("\nAnswer:")
    with pytest.raises(ConfigError, match="example mbpp-prompt-001, written as the prompt asks, does not get the full score"):
        few_shot_examples(compose(["model=qwen0.5b", "prompt=r1", "prompt.few_shot=3"]).prompt, train, load_rules("code"))


def test_a_row(tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_text(json.dumps(ROW))
    (problem,) = MBPP(path=str(tmp_path)).load().train
    code = ROW["code"].replace("\r\n", "\n")  # type: ignore[attr-defined]
    assert problem.id == "mbpp-train-601"
    assert problem.prompt == f"Write a function to add.\nThe code is tested like this:\n\n{SETUP}\nassert add(1, 2) == 3"
    assert problem.truth == {"asserts": tuple(ROW["test_list"]), "setup": SETUP, "names": ("Two", "add")}  # type: ignore[arg-type]
    assert problem.metadata == {"solution": code, "completion": f"```python\n{code}\n```", "task_id": 601}
    (problem,) = MBPP(path=str(tmp_path), shown_tests=2).load().train
    assert problem.prompt.endswith("\nassert add(1, 2) == 3\nassert add(1, math.pi) > 4")


def test_parquet_as_the_hub_lays_it_out(tmp_path: Path) -> None:
    for config in ("full", "sanitized"):
        (tmp_path / config).mkdir()
        for split, ids in TASKS.items():
            table = pyarrow.Table.from_pylist([{**ROW, "task_id": ids[0], "text": config}])
            pyarrow.parquet.write_table(table, tmp_path / config / f"{split}-00000-of-00001.parquet")
    splits = MBPP(path=str(tmp_path)).load()
    assert [p.id for p in splits.train] == ["mbpp-prompt-001", "mbpp-train-601"]
    assert [p.id for p in splits.test] == ["mbpp-test-011"]
    assert splits.test[0].prompt.startswith("full\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_id": 0}, "mbpp, row 2: task_id=0: must be a whole number from 1 to 974"),
        ({"task_id": True}, "mbpp, row 2: task_id=True: must be a whole number"),
        ({"task_id": "602"}, "mbpp, row 2: task_id='602': must be a whole number"),
        ({"task_id": 601}, "mbpp-train-601 is there twice"),
        ({"text": 3}, "mbpp-train-602 lacks a text 'text'"),
        ({"code": None}, "mbpp-train-602 lacks a text 'code'"),
        ({"code": "def add(a, b) return 1"}, "mbpp-train-602's reference is no Python: expected ':'"),
        ({"code": "def other(): pass", "test_setup_code": ""}, "mbpp-train-602: its tests use nothing that the reference"),
        ({"test_list": []}, "mbpp-train-602 needs a list of texts 'test_list' that is not empty, got '\\[\\]'"),
        ({"test_list": None}, "mbpp-train-602 needs a list of texts 'test_list'"),
        ({"test_list": "assert add(1, 2) == 3"}, "mbpp-train-602 needs a list of texts 'test_list'"),
        ({"test_list": ["assert add(1, 2) == 3", 4]}, "mbpp-train-602 needs a list of texts 'test_list'"),
        ({"test_list": ["assert add(1, 2) == 3", "assert add("]}, "mbpp-train-602's test 2 is no Python"),
        ({"test_list": ["add(1, 2)"]}, "mbpp-train-602's test 1 asserts nothing: 'add\\(1, 2\\)'"),
        ({"test_list": [""]}, "mbpp-train-602's test 1 asserts nothing"),
        ({"test_setup_code": ["x"]}, "mbpp-train-602: its 'test_setup_code' must be a text"),
        ({"test_setup_code": "x = "}, "mbpp-train-602's 'test_setup_code' is no Python"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "all.jsonl").write_text(f"{json.dumps(ROW)}\n{json.dumps({**ROW, 'task_id': 602, **change})}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        MBPP(path=str(tmp_path)).load()
    assert "\n" not in str(caught.value)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset.path=/no/such: no such folder"):
        MBPP(path="/no/such")
    with pytest.raises(ConfigError, match="holds neither prompt.jsonl nor prompt-"):
        MBPP(path=str(tmp_path)).load()
    with pytest.raises(ValueError, match="^shown_tests=0: must be at least 1"):
        MBPP(path=str(tmp_path), shown_tests=0)
    with pytest.raises(
        ConfigError, match=r"dataset.train_splits=\['train', 'validation'\]: with test_split, validation is there"
    ):
        MBPP(path=str(tmp_path), train_splits=("train", "validation"), test_split="validation")
