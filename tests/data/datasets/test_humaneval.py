"""HumanEval: the real set loads whole, continues its prompts exactly, and odd rows are one clear line."""

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
from rlvr.data.datasets.humaneval import HumanEval
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError

ROW = {
    "task_id": "HumanEval/0",
    "prompt": '\n\ndef add(a, b):\r\n    """ The sum. """\r\n',
    "canonical_solution": "    return a + b\r\n",
    "test": "\n\ndef check(candidate):\r\n    assert candidate(1, 2) == 3\r\n",
    "entry_point": "add",
}
PREAMBLE = '\n\ndef add(a, b):\n    """ The sum. """\n'


@pytest.fixture(scope="session")
def humaneval_path() -> Path:
    return data("humaneval")


def test_the_real_set(humaneval_path: Path) -> None:
    splits = HumanEval(path=str(humaneval_path)).load()
    assert (len(splits.train), len(splits.test)) == (0, 164)
    template = compose(["model=qwen0.5b", "prompt=continue"]).prompt
    for problem in splits.test:
        assert Prompts(template=template).render(problem).prompt == problem.prompt == problem.truth["preamble"]
        program = problem.prompt + Prompts(template=template).solution(problem)
        assert program == problem.metadata["solution"], "what continues the prompt is the reference"
        defined = [node.name for node in ast.parse(program).body if isinstance(node, ast.FunctionDef)]
        assert problem.truth["entry_point"] in defined
        assert problem.metadata["completion"] == f"```python\n{program.strip(chr(10))}\n```"


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("pack", ["code", "code_strict"])
def test_every_reference_gets_full_score(humaneval_path: Path, pack: str, every: int) -> None:
    rules, prompts = load_rules(pack), Prompts(template=compose(["model=qwen0.5b", "prompt=code"]).prompt)
    problems = HumanEval(path=str(humaneval_path)).load().test[::every]
    bad = {problem.id: rules.check_truth(problem) or score_gap(prompts, problem, rules) for problem in problems}
    assert {problem_id: why for problem_id, why in bad.items() if why} == {}


def test_the_continuation_of_a_base_model_is_scored_with_the_prompt_before_it(humaneval_path: Path) -> None:
    rules, prompts = load_rules("code"), Prompts(template=compose(["model=qwen0.5b", "prompt=continue"]).prompt)
    for problem in HumanEval(path=str(humaneval_path)).load().test[:10]:
        verdicts = rules.judge(prompts.solution(problem), problem).verdicts
        assert (verdicts["code"].score, verdicts["code_format"].score) == (1.0, 0.0), problem.id
        assert rules.judge("    pass\n", problem).verdicts["code"].score != 1.0, problem.id


def test_few_shot_examples_of_continuations(humaneval_path: Path) -> None:
    train = HumanEval(path=str(humaneval_path), train_share=0.5).load().train
    rules = load_rules("code", ["rules.code_format.weight=0"])
    template = compose(["model=qwen0.5b", "prompt=continue", "prompt.few_shot=3"]).prompt
    examples, rest = few_shot_examples(template, train, rules)
    shown = Prompts(template=template, examples=examples).render(rest[0]).prompt
    assert shown == "\n\n".join([*(example.metadata["solution"] for example in examples), rest[0].prompt])


def test_a_row(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps(ROW))
    (problem,) = HumanEval(path=str(tmp_path)).load().test
    check = "\n\ndef check(candidate):\n    assert candidate(1, 2) == 3\n"
    assert problem.prompt == PREAMBLE, "down to its last newline"
    assert problem.truth == {"check": check, "entry_point": "add", "preamble": PREAMBLE}
    assert problem.metadata == {
        "solution": f"{PREAMBLE}    return a + b\n",
        "completion": '```python\ndef add(a, b):\n    """ The sum. """\n    return a + b\n```',
        "task_id": "HumanEval/0",
    }


def test_parquet_as_the_hub_lays_it_out(tmp_path: Path) -> None:
    (tmp_path / "openai_humaneval").mkdir()
    table = pyarrow.Table.from_pylist([ROW, {**ROW, "task_id": "HumanEval/1"}])
    pyarrow.parquet.write_table(table, tmp_path / "openai_humaneval" / "test-00000-of-00001.parquet")
    assert [p.id for p in HumanEval(path=str(tmp_path)).load().test] == ["humaneval-00000", "humaneval-00001"]


def test_a_share_may_be_trained_on(humaneval_path: Path) -> None:
    splits = HumanEval(path=str(humaneval_path), train_share=0.5).load()
    assert 60 <= len(splits.train) <= 104
    assert len(splits.train) + len(splits.test) == 164


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": None}, "humaneval-00001 lacks a text 'prompt'"),
        ({"canonical_solution": " \n"}, "humaneval-00001 lacks a text 'canonical_solution'"),
        ({"canonical_solution": "    return (\n"}, "humaneval-00001's reference is no Python: '\\(' was never closed"),
        ({"entry_point": "sub"}, "humaneval-00001: entry_point='sub': the reference defines add"),
        ({"entry_point": 3}, "humaneval-00001 lacks a text 'entry_point'"),
        ({"test": ""}, "humaneval-00001 lacks a text 'test'"),
        ({"test": "def check(:"}, "humaneval-00001's 'test' is no Python"),
        ({"test": "assert add(1, 2) == 3"}, "humaneval-00001: its 'test' must define one function check, and defines 0"),
        ({"test": "def check(candidate):\n    pass"}, "humaneval-00001: check\\(\\) asserts nothing"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "test.jsonl").write_text(f"{json.dumps(ROW)}\n{json.dumps({**ROW, **change})}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        HumanEval(path=str(tmp_path)).load()
    assert "\n" not in str(caught.value)


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset.path=/no/such: no such folder"):
        HumanEval(path="/no/such")
    with pytest.raises(ConfigError, match="holds neither test.jsonl nor test-"):
        HumanEval(path=str(tmp_path)).load()
