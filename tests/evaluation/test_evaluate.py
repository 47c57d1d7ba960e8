"""Evaluation: pass@k, maj@k and intervals against known values, evaluation-only rules, and the command."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from forked import run
from hypothesis import given
from hypothesis import strategies as st
from parts import parts_of

from conftest import ROOT, group_of
from rlvr import Problem, load_rules
from rlvr.cli.main import main
from rlvr.cli.sweep import check_sweep
from rlvr.config.compose import compose
from rlvr.config.schema import Config
from rlvr.data.datasets.arithmetic import Arithmetic
from rlvr.errors import ConfigError
from rlvr.evaluation.estimators import majority_at_k, pass_at_k
from rlvr.evaluation.eval_rules import as_scored_by, with_eval_rules
from rlvr.evaluation.evaluate import Samples, evaluate
from rlvr.evaluation.intervals import of_bounded, of_mean
from rlvr.evaluation.metrics import Evaluation, summarise
from rlvr.models.policy import Policy
from rlvr.rules.pack import RulePack
from rlvr.runs.plan import plan
from rlvr.runs.rollout_log import read_rollout_log
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.types import Group

Votes = list[tuple[int | None, bool]]

votes_and_k = st.lists(
    st.one_of(st.just((None, False)), st.tuples(st.integers(1, 4), st.booleans())), min_size=1, max_size=8
).flatmap(lambda votes: st.tuples(st.just(votes), st.integers(1, len(votes))))


def mean_over_choices(votes: Votes, k: int, worth: Any) -> float:
    """Mean of `worth` over all choices of k."""
    worths = [Fraction(worth(choice)) for choice in combinations(votes, k)]
    return float(sum(worths) / len(worths))


def voted(choice: Sequence[tuple[int | None, bool]]) -> Fraction:
    """The score of the majority answer, by its definition."""
    counts = Counter(answer for answer, _ in choice if answer is not None)
    winners = [answer for answer, count in counts.items() if count == max(counts.values())]
    scored = [[right for answer, right in choice if answer == winner] for winner in winners]
    return sum((Fraction(sum(each), len(each)) for each in scored), Fraction(0)) / max(1, len(winners))


@given(votes_and_k)
def test_pass_at_k_is_the_mean_over_all_choices_of_k(case: tuple[Votes, int]) -> None:
    votes, k = case
    right = sum(right for _, right in votes)
    by_hand = mean_over_choices(votes, k, lambda choice: any(right for _, right in choice))
    assert pass_at_k(n=len(votes), correct=right, k=k) == pytest.approx(by_hand, abs=1e-12)


@given(votes_and_k)
def test_majority_at_k_is_the_mean_over_all_choices_of_k(case: tuple[Votes, int]) -> None:
    votes, k = case
    assert majority_at_k(votes, k) == pytest.approx(mean_over_choices(votes, k, voted), abs=1e-12)


def test_majority_of_a_few_known_votes() -> None:
    a, b, c, none = ("a", True), ("b", False), ("c", False), (None, False)
    assert majority_at_k([a, a, b], 3) == 1.0
    assert majority_at_k([a, b], 2) == 0.5, "a tie is decided by chance"
    assert majority_at_k([a, b, c], 3) == pytest.approx(1 / 3)
    assert majority_at_k([a, none, none, none], 4) == 1.0, "no answer is no vote"
    assert majority_at_k([none, none], 2) == 0.0
    assert majority_at_k([a, b, b], 1) == pytest.approx(1 / 3), "maj@1 is pass@1"


@pytest.mark.parametrize("k", [0, 4])
def test_no_estimate_from_fewer_completions(k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k}: must be from 1 to the number of completions, 3"):
        pass_at_k(n=3, correct=1, k=k)
    with pytest.raises(ValueError, match=f"k={k}"):
        majority_at_k([("a", True)] * 3, k)


@pytest.mark.parametrize(
    ("passed", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_as_published(passed: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3."""
    assert of_bounded([1.0] * passed + [0.0] * (n - passed)) == pytest.approx([low, high], abs=5e-5)


def test_values_that_vary_less_than_a_share_count_for_more_problems() -> None:
    assert of_bounded([0.25, 0.75] * 5) == pytest.approx(of_bounded([0.0, 1.0] * 20))
    assert of_bounded([0.5] * 3) == [0.5, 0.5]


@given(st.lists(st.floats(-1, 2), min_size=1, max_size=30))
def test_an_interval_holds_the_mean_and_stays_within_bounds(values: list[float]) -> None:
    found = of_bounded(values, low=-1, high=2)
    assert found is not None
    low, high = found
    assert -1 <= low <= sum(values) / len(values) + 1e-9
    assert sum(values) / len(values) - 1e-9 <= high <= 2


def test_the_interval_of_a_mean() -> None:
    assert of_mean([1, 2, 3, 4, 5]) == pytest.approx([3 - 1.959964 * 0.5**0.5, 3 + 1.959964 * 0.5**0.5], abs=1e-6)
    assert of_mean([7]) is None
    assert of_bounded([]) is None


def problem(name: str, **more: Any) -> Problem:
    return Problem(**{"id": name, "prompt": "Solve x^2 - 5x + 6 = 0.", "truth": {"answer": "2"}, **more})


RIGHT = "<think>factor (x-2)(x-3)</think><answer>\\boxed{2}</answer>"
WRONG = "<think>quadratic formula</think><answer>\\boxed{3}</answer>"
HEDGED = "\\boxed{3} or \\boxed{2}"
SILENT = "The smaller root is 2."


def scored_groups(policy: Policy, pack: RulePack, texts: Sequence[list[str]], **more: Any) -> list[Group]:
    return [group_of(policy, problem(f"p{at}", **more), said, pack) for at, said in enumerate(texts)]


def test_what_an_evaluation_says_of_known_completions(tiny: Policy) -> None:
    """Two problems, each with a greedy completion and four samples."""
    pack = load_rules("r1_format+answer")
    groups = scored_groups(tiny, pack, [[RIGHT, RIGHT, WRONG, WRONG, SILENT], [SILENT, HEDGED, "\\boxed{ 2 }", WRONG, WRONG]])
    found = summarise(groups, pack, ks=(1, 2, 4))
    assert (found.accuracy, found.format, found.problems, found.samples) == (0.5, 0.5, 2, 4)
    assert found.reward == pytest.approx(1.1 / 2)
    assert found.passed == {"format": 0.5, "answer": 0.5}
    assert found.reasons["answer"] == {"correct": 1, "no_answer": 1}
    assert found.sampled["pass@1"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert found.sampled["pass@2"] == pytest.approx((1 - 3 / 6 + 1 - 1 / 6) / 2)
    assert found.sampled["pass@4"] == 1.0
    assert found.sampled["maj@4"] == pytest.approx((0 + 0.5) / 2), "2 and 3 have two votes each; spacing is normalized"
    assert found.intervals["accuracy"] == of_bounded([1.0, 0.0])
    assert set(found.intervals) == {name for name, value in found.measures.items() if value is not None}
    assert found.metrics()["eval/pass@2"] == found.sampled["pass@2"]
    assert Evaluation.from_dict(json.loads(json.dumps(dataclasses.asdict(found)))) == found


def test_what_no_rule_says_is_left_out(tiny: Policy) -> None:
    form = load_rules("r1_format")
    found = summarise(scored_groups(tiny, form, [[RIGHT, WRONG]]), form, ks=(1,))
    assert (found.accuracy, found.format, found.sampled) == (None, 1.0, {})
    assert "eval/accuracy" not in found.metrics()
    pack = load_rules("r1_format+answer")
    unscorable = scored_groups(tiny, pack, [[RIGHT, RIGHT]], truth={"answer": "?!"})
    assert summarise(unscorable, pack, ks=(1,)).accuracy is None, "not a zero"


def test_evaluation_only_rules_change_accuracy_but_no_reward(tiny: Policy) -> None:
    lenient = load_rules("answer")
    strict = load_rules("answer", ["rules.answer.verifier.which=unique"])
    both = with_eval_rules(lenient, strict)
    assert both.weights == {"answer": 1.0, "eval.answer": 0.0}
    groups = scored_groups(tiny, both, [[HEDGED], [RIGHT]])
    assert [group.rollouts[0].reward for group in groups] == [1.0, 1.0]
    found = summarise(groups, both)
    assert found.accuracy == 0.5
    assert found.reward == 1.0
    assert found.passed == {"answer": 1.0, "eval.answer": 0.5}
    alone = as_scored_by(strict, groups)
    assert [group.rollouts[0].reward for group in alone] == [0.0, 1.0]
    directly = scored_groups(tiny, strict, [[HEDGED], [RIGHT]])
    assert [group.rollouts[0].verdicts for group in alone] == [group.rollouts[0].verdicts for group in directly]
    assert with_eval_rules(lenient, None) is lenient


def test_evaluation_only_rules_keep_what_they_require() -> None:
    rules = load_rules("r1_format+answer", ["rules.answer.requires=[format]", "rules.format.weight={0: 1, 5: 2}"])
    both = with_eval_rules(load_rules("answer"), rules)
    assert both.rules["eval.answer"].requires == ("eval.format",)
    assert both.at(7).weights == {"answer": 1.0, "eval.format": 0.0, "eval.answer": 0.0}


def with_eval(*overrides: str) -> Config:
    return compose([f"eval.{override}" for override in overrides])


def test_the_rules_of_an_evaluation_by_name() -> None:
    assert plan(with_eval()).eval_rules is None
    rules = plan(with_eval("rules=r1_format+math")).eval_rules
    assert rules is not None
    assert list(rules.rules) == ["format", "answer"]
    with pytest.raises(ConfigError, match=r"^eval.rules=nosuch: there is no such choice \(allowed: answer, "):
        plan(with_eval("rules=nosuch"))
    with pytest.raises(ConfigError, match=r"^eval.rules=nosuch: there is no such choice"):
        check_sweep(["eval.rules=answer,nosuch"])
    with pytest.raises(ConfigError, match=r"^eval.rules: the packs answer and math define the rule answer differently"):
        plan(with_eval("rules=answer+math"))


@pytest.mark.slow
def test_a_sweep_finds_the_rules_of_its_evaluation_in_a_folder_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    mine = "mine: {weight: 1.0, verifier: {_target_: rlvr.verifiers.format.ThinkAnswer, min_think_chars: 3}}\n"
    (tmp_path / "rules" / "mine.yaml").write_text(mine)
    search = f"hydra.searchpath=[file://{tmp_path}]"
    check_sweep([search, "eval.rules=mine,answer", "rules=answer,mine"])
    with pytest.raises(ConfigError, match=r"^eval.rules=mine: there is no such choice"):
        check_sweep(["eval.rules=mine,answer"])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["samples=-1"], "eval.samples=-1: must be at least 0"),
        (["ks=[2]"], r"eval.ks=\[2\]: 2 must lie in \[1, eval.samples=0\]"),
        (["samples=4", "ks=[1, 0]"], r"eval.ks=\[1, 0\]: 0 must lie in \[1, eval.samples=4\]"),
        (["samples=4", "temperature=0"], "eval.temperature=0.0: must be above 0"),
    ],
)
def test_what_cannot_be_asked(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=f"^{says}$"):
        plan(with_eval(*overrides))


def test_which_k() -> None:
    config = compose([])
    found = [Samples.of(replace(config, eval=replace(config.eval, samples=n))) for n in (0, 1, 6, 8)]
    assert [each and each.ks for each in found] == [None, (1,), (1, 2, 4, 6), (1, 2, 4, 8)]
    chosen = Samples.of(replace(config, eval=replace(config.eval, samples=6, ks=[3])))
    assert chosen is not None
    assert chosen.ks == (3,)


def test_samples_change_nothing_of_the_greedy_completions(tiny: Policy) -> None:
    config = compose(["rules=r1_format+answer", "algo.max_new_tokens=16"])
    problems = [replace(p, prompt=f"{p.prompt}\n") for p in Arithmetic().load().test[:4]]
    scored: list[Sequence[Group]] = []

    def evaluated(seed: int | None) -> Evaluation:
        samples = None if seed is None else Samples(n=3, temperature=1.0, ks=(1, 3), seed=seed)
        with Supervisor(workers=1) as backend:
            parts = parts_of(config, tiny, backend)
            parts.engine.sync(tiny)
            return evaluate(parts, parts.pack, problems, samples=samples, on_scored=lambda groups, by: scored.append(groups))

    greedy, first, again, other = (evaluated(seed) for seed in (None, 0, 0, 1))
    assert first == again
    assert (greedy.accuracy, greedy.reward, greedy.length) == (first.accuracy, first.reward, first.length)
    assert greedy.reasons == first.reasons
    assert [[len(group.rollouts) for group in groups] for groups in scored] == [[1] * 4, *([[4] * 4] * 3)]
    assert [group.problem.id for group in scored[1]] == [p.id for p in problems]
    texts = [[[rollout.text for rollout in group.rollouts] for group in groups] for groups in scored]
    assert [each[0] for each in texts[0]] == [each[0] for each in texts[1]] == [each[0] for each in texts[3]]
    assert texts[1] != texts[3], "a different seed gives different samples"
    assert other.samples == 3


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and output of an evaluation with samples and evaluation-only rules of the user's."""
    place = tmp_path_factory.mktemp("evaluated")
    (place / "rules").mkdir()
    pack = (ROOT / "conf" / "rules" / "answer.yaml").read_text().replace("which: last", "which: unique")
    (place / "rules" / "mine.yaml").write_text(pack)
    asked = ["eval.problems=6", "eval.samples=2", "eval.rules=mine", f"hydra.run.dir={place / 'run'}"]
    result = run("evaluate", *asked, "--config-dir", str(place))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return place / "run", result.stdout


def test_the_folder_of_an_evaluation(evaluated: tuple[Path, str]) -> None:
    folder, said = evaluated
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "rules.yaml",
        "metrics.jsonl",
        "summary.json",
        "rollouts",
    }
    summary = json.loads((folder / "summary.json").read_text())
    found = Evaluation.from_dict(summary["evaluation"])
    assert (found.problems, found.samples, summary["name"]) == (6, 2, "evaluate")
    assert found.accuracy == found.passed["eval.answer"]
    assert summary["eval_rules"] == {"answer": 1.0}
    (row,) = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    assert row["step"] == 0
    assert row["eval/pass@2"] == pytest.approx(found.sampled["pass@2"], abs=1e-8)
    for text in ("6 problems", "95% interval", "accuracy", "maj@2", "eval.answer: ", str(folder)):
        assert text in said
    assert "\x1b" not in said


def test_the_rollout_log_of_an_evaluation_has_all_that_it_says(evaluated: tuple[Path, str]) -> None:
    folder = evaluated[0]
    rows = read_rollout_log(folder).to_pylist()
    assert [(row["step"], row["split"]) for row in rows] == [(0, "eval")] * 18
    assert [row["rollout_index"] for row in rows] == [0, 1, 2] * 6, "the greedy one is the first"
    greedy = [{v["rule"]: v for v in row["verdicts"]} for row in rows if row["rollout_index"] == 0]
    assert set(greedy[0]) == {"format", "answer", "eval.answer"}
    found = json.loads((folder / "summary.json").read_text())["evaluation"]
    assert found["accuracy"] == pytest.approx(sum(each["eval.answer"]["score"] for each in greedy) / 6)
    assert {row["advantage"] for row in rows} == {None}


def test_config_yaml_repeats_an_evaluation(evaluated: tuple[Path, str], tmp_path: Path) -> None:
    place = ["--config-path", str(evaluated[0]), "--config-name", "config"]
    again = run("evaluate", *place, "eval.rules=null", f"hydra.run.dir={tmp_path / 'again'}")
    assert again.returncode == 0, again.stderr
    first, second = (read_rollout_log(each, columns=["completion", "reward"]) for each in (evaluated[0], tmp_path / "again"))
    assert first == second


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("eval.rules=maths", "eval.rules=maths: there is no such choice; did you mean math?"),
        ("eval.problems=0", "eval.problems=0: must be at least 1"),
        ("eval.sample=2", "eval.sample=2: there is no such key; did you mean samples?"),
        ("algo.max_new_tokens=2000", "algo.max_new_tokens=2000: with a prompt of "),
        ("", "hydra.run.dir={folder}: holds a run already"),
    ],
)
def test_what_cannot_be_ends_in_one_line(
    asked: str,
    says: str,
    evaluated: tuple[Path, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path if asked else evaluated[0]
    before = {path: path.read_bytes() for path in evaluated[0].glob("*.*")}
    status = main(["evaluate", *filter(None, [asked]), f"hydra.run.dir={folder}"])
    assert status == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {says.format(folder=folder)}")
    assert said.count("\n") == 1
    assert {path: path.read_bytes() for path in evaluated[0].glob("*.*")} == before
