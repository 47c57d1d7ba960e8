"""AIME 2024: all thirty get the full score under the maths pack; both layouts of the hub are read."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from conftest import data, score_gap
from rlvr import load_rules
from rlvr.config.compose import compose
from rlvr.data.datasets.aime24 import AIME24
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError

ROW = {"id": 60, "problem": "How many?", "solution": r"So \boxed{25}.", "answer": "025", "url": "-"}


@pytest.fixture(scope="session")
def aime24_path() -> Path:
    return data("aime24")


@pytest.mark.parametrize(("pack", "prompt"), [("math", "boxed"), ("r1_format+math", "r1")])
def test_every_reference_solution_gets_full_score(aime24_path: Path, pack: str, prompt: str) -> None:
    splits = AIME24(path=str(aime24_path)).load()
    assert (len(splits.train), len(splits.test)) == (0, 30)
    rules, prompts = load_rules(pack), Prompts(template=compose(["model=qwen0.5b", f"prompt={prompt}"]).prompt)
    bad = {p.id: rules.check_truth(p) or score_gap(prompts, p, rules) for p in splits.test}
    assert {problem_id: why for problem_id, why in bad.items() if why} == {}
    assert all(0 <= int(problem.truth["answer"]) <= 999 for problem in splits.test)


def test_the_hubs_file_is_called_train(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW]), tmp_path / "data" / "train-00000-of-00001.parquet")
    splits = AIME24(path=str(tmp_path)).load()
    assert (splits.train, [p.truth["answer"] for p in splits.test]) == ([], ["025"])
    (tmp_path / "test.jsonl").write_text(json.dumps({**ROW, "answer": 26}))
    assert [p.truth["answer"] for p in AIME24(path=str(tmp_path)).load().test] == ["26"]


def test_without_an_answer_the_box_is_the_ground_truth(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps({key: ROW[key] for key in ("problem", "solution")}))
    assert AIME24(path=str(tmp_path)).load().test[0].truth == {"answer": "25"}


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds neither test.jsonl nor test-"):
        AIME24(path=str(tmp_path)).load()
    (tmp_path / "train-0.parquet").write_text("no table")
    with pytest.raises(ConfigError, match=r"train-0\.parquet: .*Parquet") as caught:
        AIME24(path=str(tmp_path)).load()
    assert "\n" not in str(caught.value)
