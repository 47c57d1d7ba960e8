"""What is asked: loaded and checked before there is a model, then rendered."""

from __future__ import annotations

from functools import partial

import pytest

from rlvr.config.compose import compose
from rlvr.errors import ConfigError
from rlvr.models.policy import Policy
from rlvr.runs.plan import Plan, plan
from rlvr.runs.problems import Problems, choose, render
from rlvr.scoring.local.supervisor import supervised


def prepared(checked: Plan, policy: Policy, *, training: bool = True) -> Problems:
    judge = partial(checked.pack.judge, slow=supervised)
    return render(choose(checked, judge=judge, training=training), checked, policy, judge=judge, training=training)


def test_a_run_asks_training_problems_and_an_evaluation_held_out_ones(tiny64: Policy) -> None:
    checked = plan(compose(["dataset.train_problems=40", "eval.problems=5", "prompt=r1", "prompt.few_shot=2"]))
    for training in (True, False):
        chosen = choose(checked, judge=partial(checked.pack.judge, slow=supervised), training=training)
        assert len(chosen.examples) == 2
        assert len(chosen.train) == 38, "those shown in the prompt are not trained on"
        problems = prepared(checked, tiny64, training=training)
        assert [len(problems.train), len(problems.held_out)] == [38 if training else 0, 5]
        shown = chosen.examples[0].prompt
        assert all(shown in problem.prompt for problem in (*problems.train, *problems.held_out))


def test_held_out_problems_are_checked_against_the_rules_of_the_evaluation_too() -> None:
    checked = plan(compose(["eval.rules=mcq"]))
    with pytest.raises(ConfigError, match=r"truths cannot be scored"):
        choose(checked, judge=partial(checked.pack.judge, slow=supervised), training=True)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["dataset.train_problems=10"], "^algo.problems=16: the data set has 10 training problems"),
        (["algo.max_prompt_tokens=5"], "^algo.max_prompt_tokens=5: the prompt of arithmetic-"),
        (["algo.max_new_tokens=1020"], "^algo.max_new_tokens=1020: with a prompt of "),
        (["model.chat=true"], "^model.chat=true: the tokenizer has no chat template"),
    ],
)
def test_what_cannot_be_asked_is_said(overrides: list[str], says: str, tiny64: Policy) -> None:
    checked = plan(compose(overrides))
    with pytest.raises(ConfigError, match=says):
        prepared(checked, tiny64)
