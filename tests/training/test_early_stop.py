"""Early stopping of a collapsed policy, and its message."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence

import pytest

from rlvr.config.compose import compose
from rlvr.config.schema import EarlyStopConfig
from rlvr.errors import ConfigError
from rlvr.runs.plan import plan
from rlvr.training.early_stop import EarlyStopping

METRICS = {
    "min_entropy": "policy/entropy",
    "max_degenerate": "group/degenerate",
    "min_length": "rollout/length",
    "max_truncated": "rollout/truncated",
}


def ends(stopping: EarlyStopping, steps: Sequence[Mapping[str, float]]) -> list[str | None]:
    """The reason after each step; streaks go through JSON in between, as in a checkpoint."""
    streaks, said = dict[str, int](), []
    for metrics in steps:
        streaks, reason = stopping.after(json.loads(json.dumps(streaks)), metrics)
        said.append(reason)
    return said


def entropies(stopping: EarlyStopping, values: Sequence[float]) -> list[str | None]:
    return ends(stopping, [{"policy/entropy": value} for value in values])


def test_the_reason_names_metric_limit_steps_value_and_what_to_try() -> None:
    stopping = EarlyStopping(limits=EarlyStopConfig(min_entropy=0.01))
    assert entropies(stopping, [0.003] * 10) == [
        *[None] * 9,
        "policy/entropy was below 0.01 for 10 steps (0.003): the policy has collapsed onto one answer; "
        "try a higher algo.temperature or algo.entropy_bonus, or a lower algo.learning_rate",
    ]


@pytest.mark.parametrize("key", METRICS)
@pytest.mark.parametrize("patience", [1, 3])
def test_each_limit_by_itself(key: str, patience: int) -> None:
    """A value at the limit is within it, and other metrics do not matter."""
    limit = 0.5
    stopping = EarlyStopping(limits=EarlyStopConfig(patience=patience, **{key: limit}))
    beyond, within = (0.4, 0.6) if key.startswith("min") else (0.6, 0.4)
    others = {metric: value for metric in METRICS.values() for value in (beyond,) if metric != METRICS[key]}
    for fine in (within, limit):
        steps = [{**others, METRICS[key]: value} for value in [*[beyond] * (patience - 1), fine] * 3]
        assert ends(stopping, steps) == [None] * len(steps)
    said = ends(stopping, [{**others, METRICS[key]: beyond}] * patience)
    assert said[:-1] == [None] * (patience - 1)
    span = "1 step" if patience == 1 else f"{patience} steps"
    assert f"{METRICS[key]} was {'below' if key.startswith('min') else 'above'} 0.5 for {span} ({beyond})" in str(said[-1])


def test_all_limits_are_off_by_default() -> None:
    worst = {"policy/entropy": 0.0, "group/degenerate": 1.0, "rollout/length": 0.0, "rollout/truncated": 1.0}
    assert ends(EarlyStopping(limits=EarlyStopConfig()), [worst] * 100) == [None] * 100
    assert EarlyStopping(limits=EarlyStopConfig()).after({}, worst) == ({}, None)


def test_a_streak_is_broken_by_one_step_within_the_limit() -> None:
    stopping = EarlyStopping(limits=EarlyStopConfig(min_entropy=0.1, patience=3))
    said = entropies(stopping, [0.0, 0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0])
    assert [reason is not None for reason in said] == [False] * 8 + [True]


def test_a_step_that_was_not_measured_does_not_count() -> None:
    stopping = EarlyStopping(limits=EarlyStopConfig(min_entropy=0.1, patience=2))
    said = ends(stopping, [{"policy/entropy": 0.0}, {}, {}, {"policy/entropy": 0.0}])
    assert [reason is not None for reason in said] == [False, False, False, True]


def test_several_reasons_at_once() -> None:
    stopping = EarlyStopping(limits=EarlyStopConfig(min_entropy=0.1, min_length=5, patience=1))
    (said,) = ends(stopping, [{"policy/entropy": 0.0, "rollout/length": 1.0}])
    assert said is not None
    assert said.index("policy/entropy was below 0.1") < said.index("; rollout/length was below 5 for 1 step (1)")


def test_after_an_end_there_are_as_many_steps_to_recover() -> None:
    stopping = EarlyStopping(limits=EarlyStopConfig(min_entropy=0.1, patience=3))
    assert [reason is not None for reason in entropies(stopping, [0.0] * 9)] == [False, False, True] * 3


def test_the_definition_written_out() -> None:
    """It ends at the first step that ends `patience` steps in a row, all beyond the limit."""
    rng = random.Random(0)
    for _ in range(300):
        patience = rng.randint(1, 4)
        values = [rng.choice([0.0, 0.0, 1.0]) for _ in range(12)]
        stopping = EarlyStopping(limits=EarlyStopConfig(min_entropy=0.5, patience=patience))
        said = entropies(stopping, values)
        first = next((i for i, reason in enumerate(said) if reason), None)
        whole = [i for i in range(patience - 1, 12) if not any(values[i - patience + 1 : i + 1])]
        assert first == (whole[0] if whole else None)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("early_stop.patience=0", "early_stop.patience=0: must be at least 1"),
        ("early_stop.min_entropy=0", "early_stop.min_entropy=0.0: must be above 0"),
        ("early_stop.min_length=-3", "early_stop.min_length=-3.0: must be above 0"),
        ("early_stop.max_degenerate=1", "early_stop.max_degenerate=1.0: must lie in [0, 1) (no share is above 1)"),
        ("early_stop.max_truncated=nan", "early_stop.max_truncated=nan: must lie in [0, 1) (no share is above 1)"),
        (
            "early_stop.min_entrpy=0.1",
            "early_stop.min_entrpy=0.1: there is no such key; did you mean min_entropy? "
            "(allowed: min_entropy, max_degenerate, min_length, max_truncated, patience)",
        ),
    ],
)
def test_limits_that_cannot_be(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as failed:
        plan(compose([override]))
    assert str(failed.value) == message


def test_limits_that_can_be() -> None:
    limits = ["min_entropy=0.01", "max_degenerate=0.95", "min_length=2", "max_truncated=0", "patience=5"]
    wanted = EarlyStopConfig(min_entropy=0.01, max_degenerate=0.95, min_length=2.0, max_truncated=0.0, patience=5)
    assert plan(compose([f"early_stop.{each}" for each in limits])).config.early_stop == wanted
