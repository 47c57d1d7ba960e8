"""Weights by step: the weight at every step, how a schedule is written, and its effect on a pack."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled import sampled

from rlvr import Problem, Verdict, Verifier, load_rules
from rlvr.config.compose import compose
from rlvr.config.overrides import replace_schedule
from rlvr.errors import ConfigError
from rlvr.rules.load import rule_pack
from rlvr.rules.rule import Rule
from rlvr.rules.schedule import Schedule, read_weight
from rlvr.scoring.local.rule_pack import LocalRulePack

WEIGHTS = st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False)  # a share of the least subnormal is 0
POINTS = st.dictionaries(st.integers(1, 10_000), WEIGHTS, max_size=6).flatmap(
    lambda later: WEIGHTS.map(lambda first: {0: first, **later})
)


def schedule(points: dict[int, float], *, linear: bool = False) -> Schedule:
    return Schedule(points=tuple(sorted(points.items())), linear=linear)


def test_worked_example() -> None:
    pieces, lines = schedule({0: 0.1, 4000: 0.05}), schedule({0: 0.1, 4000: 0.05}, linear=True)
    assert [pieces.at(step) for step in (0, 1, 3999, 4000, 99_999)] == [0.1, 0.1, 0.1, 0.05, 0.05]
    assert [lines.at(step) for step in (0, 1000, 2000, 4000, 99_999)] == pytest.approx([0.1, 0.0875, 0.075, 0.05, 0.05])


@given(POINTS, st.integers(0, 12_000))
def test_a_piece_holds_from_its_step_until_the_next(points: dict[int, float], step: int) -> None:
    assert schedule(points).at(step) == points[max(start for start in points if start <= step)]


@given(POINTS, st.integers(0, 12_000))
def test_a_line_goes_through_its_points_and_between_two_of_them_lies_between(points: dict[int, float], step: int) -> None:
    lines = schedule(points, linear=True)
    assert all(lines.at(start) == weight for start, weight in points.items())
    below, above = max(s for s in points if s <= step), min([s for s in points if s >= step] or [max(points)])
    low, high = sorted((points[below], points[above]))
    assert low <= lines.at(step) <= high
    share = (step - below) / (above - below) if above > below else 0.0
    assert lines.at(step) == pytest.approx(points[below] + share * (points[above] - points[below]), rel=1e-9, abs=1e-9)


@given(POINTS, st.booleans())
def test_it_reads_back_as_written_in_any_order(points: dict[int, float], linear: bool) -> None:
    made = schedule(points, linear=linear)
    backwards: dict[Any, Any] = dict(reversed(points.items()))
    read = read_weight({"linear": backwards} if linear else backwards, "rules.a.weight")
    assert read == (made if len(points) > 1 else points[0])
    assert read_weight(made.plain(), "rules.a.weight") == read


@given(POINTS, st.booleans())
def test_between_breakpoints_a_weight_neither_becomes_0_nor_stops_being_0(points: dict[int, float], linear: bool) -> None:
    made = schedule(points, linear=linear)
    steps = [*made.breakpoints(), 12_000]
    for start, end in pairwise(steps):
        counts = [made.at(step) != 0 for step in range(start, end, max(1, (end - start) // 50))]
        assert counts.count(counts[0]) >= len(counts) - 1  # a line may pass through 0 at one step


@pytest.mark.parametrize(
    ("weight", "message"),
    sampled(
        [
            ("{-1: 0.1, 0: 0.2}", "rules.format.weight.-1: a step must be a whole number from 0"),
            ("{0: 0.1, 1.5: 0.2}", "rules.format.weight.1.5: a step must be a whole number from 0"),
            ("{0: 0.1, true: 0.2}", "rules.format.weight.True: a step must be a whole number from 0"),
            (
                "{0: 0.1, soon: 0.2}",
                "rules.format.weight.soon: a step must be a whole number from 0; a weight must be a number",
            ),
            (
                "{linaer: {0: 0.1}}",
                "rules.format.weight.linaer: a step must be a whole number from 0; a weight must be a number",
            ),
            ("{linear: {0: 0.1}, 5: 0.1}", "rules.format.weight.linear: a step must be a whole number"),
            ("{linear: 0.1}", "rules.format.weight.linear=0.1: must be weights by step: {0: 0.1, 4000: 0.05}"),
            ("{linear: {9: 0.1}}", "rules.format.weight={linear: {9: 0.1}}: has no weight for step 0"),
            ("{100: 0.1}", "rules.format.weight={100: 0.1}: has no weight for step 0"),
            ("{}", "rules.format.weight={}: has no weight for step 0"),
            ("{0: 0.1, 7: nan}", "rules.format.weight.7=nan: must be a finite number"),
            ("{0: 0.1, 7: -inf}", "rules.format.weight.7=-inf: must be a finite number"),
            ("{0: 0.1, 7: much}", "rules.format.weight.7=much: must be a number"),
            ("{0: 0.1, 7: {0: 1}}", "rules.format.weight.7={0: 1}: must be a number"),
            ("inf", "rules.format.weight=inf: must be a finite number"),
            ("heavy", "rules.format.weight=heavy: must be a number, or weights by step: {0: 0.1, 4000: 0.05}, or {linear: "),
            ("true", "rules.format.weight=true: must be a number, or weights by step"),
            ("null", "rules.format.weight=null: must be a number, or weights by step"),
            ("[0.1,0.2]", "rules.format.weight=[0.1, 0.2]: must be a number, or weights by step"),
        ]
    ),
)
def test_a_mistake_is_one_line_that_names_the_key(weight: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_rules("r1_format", [f"rules.format.weight={weight}"])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_too_large_for_a_float_and_texts_that_are_numbers() -> None:
    with pytest.raises(ConfigError, match="w=inf: must be a finite number"):
        read_weight(10**400, "w")
    assert read_weight("0.25", "w") == 0.25


def test_from_the_command_line_and_in_a_user_pack(tmp_path: Path) -> None:
    pack = load_rules("r1_format+answer", ["rules.format.weight={0: 0.1, 4000: 0.05}"])
    assert pack.weights == {"format": 0.1, "answer": 1.0}
    assert [dict(pack.at(step).weights) for step in (1, 4000)] == [
        {"format": 0.1, "answer": 1.0},
        {"format": 0.05, "answer": 1.0},
    ]
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "mine.yaml").write_text(
        "mine: {weight: {linear: {0: 0.0, 10: 1.0}}, verifier: {_target_: rlvr.verifiers.math.MathAnswer}}"
    )
    folder = [f"hydra.searchpath=[file://{tmp_path}]"]
    mine = load_rules("mine", folder)
    assert [mine.at(step).weights["mine"] for step in (0, 5, 10, 11)] == [0.0, 0.5, 1.0, 1.0]
    assert load_rules("mine", [*folder, "rules.mine.weight=0.3"]).at(7).weights == {"mine": 0.3}


def test_a_new_schedule_replaces_the_old_one() -> None:
    first = "rules.format.weight={0: 0.1, 4000: 0.05}"
    merged = rule_pack(compose([first, *replace_schedule("rules.format.weight={0: 0.2, 10: 0.3}")]))
    assert merged.rules["format"].schedule == schedule({0: 0.2, 10: 0.3})
    assert replace_schedule("rules.format.weight=0.2") == ["rules.format.weight=0.2"]
    assert replace_schedule("rules.format.verifier={_target_: a.B}") == ["rules.format.verifier={_target_: a.B}"]
    sweep = "rules.format.weight={0: 0.1, 5: 0.2},0.1"
    assert replace_schedule(sweep) == ["rules.format.weight=0", sweep]


@dataclass(frozen=True, kw_only=True)
class Wants(Verifier):
    """Full score, for answers to problems with that key in the ground truth."""

    judges = "answer"
    key: str

    def applies(self, truth: Any) -> bool:
        return self.key in truth

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        return Verdict.scored(1.0, "correct")

    def check_truth(self, truth: Any) -> str | None:
        return "bad" if truth.get(self.key) == "bad" else None


@dataclass(frozen=True, kw_only=True)
class Runs(Wants):
    isolated = True


def scheduled(name: str, points: dict[int, float], verifier: Verifier, *, linear: bool = False) -> Rule:
    made = schedule(points, linear=linear)
    return Rule(name=name, weight=made.at(0), schedule=made, verifier=verifier)


def test_what_counts_later_is_required_at_once() -> None:
    always = Rule(name="a", weight=1.0, verifier=Wants(key="a"))
    later = LocalRulePack(rules={"a": always, "b": scheduled("b", {0: 0.0, 50: 1.0}, Runs(key="b"))})
    never = LocalRulePack(rules={"a": always, "b": Rule(name="b", weight=0.0, verifier=Runs(key="b"))})
    faded = later.at(0)
    bad = Problem(id="p", prompt="q", truth={"a": "7", "b": "bad"})
    assert (later.isolated, faded.isolated, never.isolated) == (True, True, False)
    assert (later.check_truth(bad), faded.check_truth(bad), never.check_truth(bad)) == ("b: bad", "b: bad", None)


def test_a_problem_that_no_rule_scores_at_some_step_is_found_and_gets_no_zero_then() -> None:
    swap = [scheduled("a", {0: 1.0, 9: 0.0}, Wants(key="a")), scheduled("b", {0: 0.0, 9: 1.0}, Wants(key="b"))]
    pack = LocalRulePack(rules={rule.name: rule for rule in swap})
    only_a, both = (Problem(id="p", prompt="q", truth=truth) for truth in ({"a": "1"}, {"a": "1", "b": "1"}))
    assert pack.check_truth(both) is None
    assert "b: not meant" in str(pack.check_truth(only_a))
    assert (pack.at(8).judge("", only_a).reward, pack.at(9).judge("", only_a).reward) == (1.0, None)
    assert pack.at(9).judge("", only_a).outcome == "unscorable"


def test_reward_and_bounds_follow_the_step_and_any_step_can_be_asked_of_any() -> None:
    pack = LocalRulePack(rules={"a": scheduled("a", {0: 1.0, 10: -1.0}, Wants(key="a"), linear=True)})
    problem = Problem(id="p", prompt="q", truth={"a": "1"})
    assert [pack.at(step).judge("", problem).reward for step in (0, 5, 10)] == [1.0, 0.0, -1.0]
    assert (pack.at(0).bounds, pack.at(10).bounds) == ((0.0, 1.0), (-1.0, 0.0))
    assert pack.at(10).at(5).weights == pack.at(5).weights
    with pytest.raises(ValueError, match="step=-1: must be at least 0"):
        pack.at(-1)


def test_parts_keep_their_weights() -> None:
    part = scheduled("b", {0: 0.1, 2: 0.2}, Wants(key="a"))
    with pytest.raises(ValueError, match="a.parts: the weight of a part is one number"):
        Rule(name="a", weight=1.0, parts=(part,))
    with pytest.raises(ConfigError, match=r"rules.style.parts: the weight of a part is one number"):
        load_rules("style", ["rules.style.parts.length.weight={0: 0.1, 2: 0.3}"])


@pytest.mark.parametrize(
    "points", [(), ((1, 0.5),), ((0, 0.5), (0, 1.0)), ((0, 0.5), (9, 1.0), (5, 1.0)), ((0, float("nan")),)]
)
def test_a_schedule_cannot_be_what_it_must_not(points: Any) -> None:
    with pytest.raises(ValueError, match="points="):
        Schedule(points=points)
