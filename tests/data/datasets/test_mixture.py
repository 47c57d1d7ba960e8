"""Mixtures: shares, names, and each problem scored by the rules that apply to it; ground truths that cannot be scored."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from rlvr import Problem, load_rules
from rlvr.cli.sweep import check_sweep
from rlvr.config.compose import compose
from rlvr.config.overrides import as_mixture
from rlvr.data.datasets.mixture import Mixture
from rlvr.data.source import DataSource, Splits
from rlvr.errors import ConfigError
from rlvr.rules.lint import scorable
from rlvr.runs.plan import plan
from rlvr.scoring.local.supervisor import supervised

SUM = {"prompt": "2 and 2?", "truth": {"answer": "4"}}
CHOICE = {"prompt": "A or B?", "truth": {"answer": "A", "choices": ["yes", "no"]}}


def _file(folder: Path, name: str, rows: list[object]) -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / name)


class _Numbers(DataSource):
    """Problems p0, p1, ...: as many as asked for."""

    def __init__(self, n: int) -> None:
        object.__setattr__(self, "_n", n)

    def load(self) -> Splits:
        problems = [Problem(id=f"p{at}", prompt="q", truth={"answer": "1"}) for at in range(self._n)]  # type: ignore[attr-defined]
        return Splits(train=problems, test=problems[: self._n // 10])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [({}, (300, 100)), ({"a": None, "b": None}, (300, 100)), ({"a": 1, "b": 1}, (100, 100)), ({"a": 0.9, "b": 0.1}, (300, 33))],
)
def test_shares(shares: dict[str, float | None], sizes: tuple[int, int]) -> None:
    splits = Mixture(parts={"a": _Numbers(300), "b": _Numbers(100)}, shares=shares).load()
    names = [problem.metadata["dataset"] for problem in splits.train]
    assert (names.count("a"), names.count("b")) == sizes
    assert len({problem.id for problem in splits.train}) == sum(sizes)
    start = Counter(names[: len(names) // 4])
    assert start["a"] / sizes[0] == pytest.approx(start["b"] / sizes[1], abs=0.02), (
        "every beginning holds the parts in their shares"
    )
    assert Counter(problem.metadata["dataset"] for problem in splits.test) == {"a": 30, "b": 10}


def test_each_problem_is_scored_by_the_rules_that_apply_to_it(tmp_path: Path) -> None:
    rows: list[object] = [{**row, "prompt": f"{n} {row}"} for n in range(20) for row in (SUM, CHOICE)]
    files = [f"dataset.parts.jsonl.path={_file(tmp_path, 'rows.jsonl', rows)}"]
    checked = plan(compose(["dataset=[jsonl,arithmetic]", *files, "rules=r1_format+answer+mcq"]))
    splits = checked.source.load()
    sums, choice = (next(p for p in splits.train if ("choices" in p.truth) == has) for has in (False, True))
    response = "<think>clearly it is so</think><answer>\\boxed{@}</answer>"
    assert set(checked.pack.judge(response.replace("@", "4"), sums, supervised).verdicts) == {"format", "answer"}
    judgement = checked.pack.judge(response.replace("@", "A"), choice, supervised)
    assert (set(judgement.verdicts), judgement.reward) == ({"format", "choice"}, 1.1)
    assert all(checked.pack.check_truth(problem) is None for problem in splits.train)


def test_rules_can_name_their_data_sets() -> None:
    pack = load_rules("answer", ["rules.answer.datasets=[gsm8k]"])
    problem = Problem(id="p", prompt="q", truth={"answer": "4"}, metadata={"dataset": "gsm8k"})
    other = Problem(id="p", prompt="q", truth={"answer": "4"}, metadata={"dataset": "math"})
    assert pack.judge("\\boxed{4}", problem).reward == 1.0
    assert pack.judge("\\boxed{4}", other).outcome == "unscorable"
    assert "not meant for a truth with answer of data set math" in str(pack.check_truth(other))


def test_format_alone_never_earns_a_reward() -> None:
    pack = load_rules("r1_format+answer")
    problem = Problem(id="p", prompt="q", truth={"answer": "A", "choices": ["yes", "no"]})
    judgement = pack.judge("<think>clearly it is so</think><answer>\\boxed{A}</answer>", problem)
    assert (judgement.reward, judgement.outcome, judgement.verdicts["answer"].reason) == (None, "unscorable", "not_applicable")
    assert pack.check_truth(problem) == "answer: not meant for a truth with answer, choices"


def test_a_problem_that_no_rule_scores_gets_no_zero() -> None:
    for name in ("json_mode", "mcq", "qa", "countdown", "xml_mode"):
        pack = load_rules(name, ["rules.format.weight=0"] if name == "countdown" else [])
        problem = Problem(id="p", prompt="q", truth={"answer": "4"})
        assert pack.judge("<think>clearly it is so</think><answer>\\boxed{4}</answer>", problem).outcome == "unscorable", name
        assert pack.check_truth(problem), name


def test_the_spellings_of_a_mixture() -> None:
    assert as_mixture("dataset=[gsm8k, arithmetic]") == "dataset=gsm8k+arithmetic"
    assert as_mixture("rules=[a,b]") == "rules=[a,b]"
    one, two = (compose([f"dataset={text}"]).dataset for text in ("[gsm8k,arithmetic]", "gsm8k+arithmetic"))
    assert one == two
    assert list(one["parts"]) == ["gsm8k", "arithmetic"]
    check_sweep(["dataset=arithmetic+arithmetic,arithmetic"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset=[arithmetic,nope]"], "dataset=nope: there is no such choice"),
        (["dataset=arithmetic+"], "dataset=arithmetic+: a '+' stands between two names"),
        (["dataset.shares={gsm8k: 0, arithmetic: 1}"], "dataset.shares.gsm8k=0.0: must be above 0"),
        (["dataset.shares.arithmetic=1"], "dataset.shares.gsm8k=None: must be above 0, for every part"),
        (["dataset.shares.mmlu=1"], "dataset.shares.mmlu=1: there is no such key"),
        (["dataset.parts.gsm8k.path=/no/such"], "dataset.path=/no/such: no such folder"),
        (["dataset.parts.gsm8k.pth=x"], "dataset.parts.gsm8k.pth=x: there is no such key; did you mean path?"),
    ],
)
def test_mistakes(overrides: list[str], message: str, gsm8k_path: Path) -> None:
    mixture = ["dataset=[gsm8k,arithmetic]"] if "dataset=" not in overrides[0] else []
    path = [f"dataset.parts.gsm8k.path={gsm8k_path}"] if mixture and "path" not in overrides[0] else []
    with pytest.raises(ConfigError) as caught:
        plan(compose([*mixture, *path, *overrides]))
    assert message in str(caught.value)


def test_ground_truths_that_cannot_be_scored() -> None:
    pack = load_rules("answer")
    good = [Problem(id=f"g{n}", prompt="q", truth={"answer": str(n)}) for n in range(8)]
    bad = [Problem(id=f"b{n}", prompt="q", truth={"answer": "\\frac{"}) for n in range(4)]
    assert scorable(good, pack, "fail") == (good, None)
    with pytest.raises(
        ConfigError, match=r"dataset: 4 of 12 ground truths cannot be scored \(4 by answer\): b0: answer: the truth's answer"
    ):
        scorable([*good, *bad], pack, "fail")
    kept, warning = scorable([*good, *bad], pack, "drop")
    assert (kept, str(warning).rpartition("; ")[2]) == (good, "left out")
    kept, warning = scorable([*good, *bad], pack, "keep")
    assert (len(kept), str(warning).rpartition("; ")[2]) == (12, "their rollouts will be masked")
    assert str(warning).count("answer: the truth") == 3, "a few examples, not all"
    with pytest.raises(ConfigError, match="dataset.on_unscorable=sometimes: Input should be 'fail', 'drop' or 'keep'"):
        plan(compose(["dataset.on_unscorable=sometimes"]))
