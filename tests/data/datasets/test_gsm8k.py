"""GSM8K: the whole real data set gets the full score under the packs it is used with; odd files are one clear line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from conftest import few_shot_examples, score_gap
from rlvr import load_rules
from rlvr.config.compose import compose
from rlvr.data.datasets.code_contests import CodeContests
from rlvr.data.datasets.gsm8k import GSM8K
from rlvr.data.datasets.mmlu import MMLU
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError

ROWS = [{"question": "2 and 3?", "answer": "2+3=<<2+3=5>>5\n#### 5"}, {"question": "2 by 3?", "answer": "2*3=6\n#### 6"}]


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("pack", "prompt"), [("gsm8k", "gsm8k"), ("r1_format+answer", "r1"), ("answer", "boxed")])
def test_every_reference_solution_gets_full_score(gsm8k_path: Path, pack: str, prompt: str, every: int) -> None:
    """8,792 ground truths: none is unscorable, and every solution, written as the prompt asks, gets the full score."""
    splits = GSM8K(path=str(gsm8k_path)).load()
    assert (len(splits.train), len(splits.test)) == (7473, 1319)
    rules, prompts = load_rules(pack), Prompts(template=compose(["model=qwen0.5b", f"prompt={prompt}"]).prompt)
    for problem in [*splits.train, *splits.test][::every]:
        assert rules.check_truth(problem) is None
        assert score_gap(prompts, problem, rules) is None, problem.id
        assert "<<" not in problem.metadata["solution"]


def test_few_shot_examples(gsm8k_path: Path) -> None:
    train = GSM8K(path=str(gsm8k_path)).load().train
    template = replace(compose(["model=qwen0.5b"]).prompt, few_shot=8)
    examples, rest = few_shot_examples(template, train, load_rules("r1_format+answer"))
    assert len(examples) == 8
    assert len(rest) == len(train) - 8
    assert not {e.id for e in examples} & {p.id for p in rest}
    prompt = Prompts(template=template, examples=examples).render(rest[0]).prompt
    assert prompt.count("\\boxed{") == 9  # eight solutions, and the instruction
    assert prompt.count("User: ") == 9
    assert prompt.endswith(f"User: {rest[0].prompt}\nAssistant:")
    with pytest.raises(ConfigError, match="does not get the full score: rule format gives it 0"):
        few_shot_examples(template, train, load_rules("gsm8k"))


def test_parquet_as_the_hub_lays_it_out(tmp_path: Path) -> None:
    (tmp_path / "main").mkdir()
    for split in ("train", "test"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "main" / f"{split}-00000-of-00001.parquet")
    assert [p.truth["answer"] for p in GSM8K(path=str(tmp_path)).load().test] == ["5", "6"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "q"', "train.jsonl, line 2: not JSON"),
        ("[1]", "train.jsonl, line 2: a JSON list, not an object"),
        ("\ufffe", "train.jsonl, line 2: not JSON"),
        ('{"question": "q"}', "gsm8k-train-00001 lacks 'question' or 'answer' \\(it has: question\\)"),
        ('{"question": "q", "answer": "5"}', "gsm8k-train-00001 has no '####' before its answer"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "train.jsonl").write_text(f"{json.dumps(ROWS[0])}\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        GSM8K(path=str(tmp_path)).load()


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset.path=/no/such: no such folder"):
        GSM8K(path="/no/such")
    with pytest.raises(ConfigError, match="holds neither train.jsonl nor train-"):
        GSM8K(path=str(tmp_path)).load()


def test_an_empty_path_is_the_hub_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dataset.path=` on a command line."""
    (tmp_path / "test.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    assert [kind(path="").path for kind in (GSM8K, MMLU, CodeContests)] == [None] * 3
