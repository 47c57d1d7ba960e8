"""Rendering: braces in data stay data, chat templates, prefills."""

from __future__ import annotations

import pytest

from conftest import score_gap
from rlvr import Problem, load_rules
from rlvr.config.compose import compose
from rlvr.config.schema import PromptConfig
from rlvr.data.datasets.arithmetic import Arithmetic
from rlvr.data.prompts import Prompts, check_template
from rlvr.errors import ConfigError
from rlvr.models.policy import Policy

TRICKY = Problem(
    id="p", prompt="Is {answer} in {question}? {x}", truth={"answer": "{reasoning}"}, metadata={"solution": "see {answer}"}
)
PLAIN = PromptConfig(question="Q: {question}\nA:", solution=" {reasoning} so {answer}")
CHAT = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]<think>\n{% endif %}"
)


def test_braces_in_values_are_left_alone() -> None:
    prompts = Prompts(template=PLAIN, examples=(TRICKY,))
    expected = "Q: Is {answer} in {question}? {x}\nA: see {answer} so {reasoning}\n\nQ: Is {answer} in {question}? {x}\nA:"
    assert prompts.render(TRICKY).prompt == expected


def test_chat_models_get_their_template(tiny: Policy) -> None:
    tiny.tokenizer.chat_template = CHAT
    template = PromptConfig(instruction="Be right.", question="{question}", solution="{answer}", few_shot=1)
    example = Problem(id="e", prompt="2?", truth={"answer": "2"}, metadata={"solution": "-"})
    rendered = Prompts(template=template, examples=(example,), chat_tokenizer=tiny.tokenizer).render(TRICKY)
    assert rendered.prompt == "[system]Be right.[user]2?[assistant]2[user]Is {answer} in {question}? {x}[assistant]<think>\n"
    assert rendered.response("so</think>") == "<think>\nso</think>", "what the template opened is part of the response"


@pytest.mark.parametrize("prefill", ["", "<think>", "<think> "])
def test_a_right_solution_gets_full_score_with_and_without_a_prefill(prefill: str) -> None:
    config = compose([f"prompt.prefill='{prefill}'"]).prompt
    problem = Problem(id="p", prompt="2+2?", truth={"answer": "4"}, metadata={"solution": "2 + 2 = 4, so 4"})
    prompts = Prompts(template=config)
    assert prompts.render(problem).prefill == prefill
    assert score_gap(prompts, problem, load_rules("r1_format+answer")) is None
    assert "rule format gives it 0.0 (no_marker" in str(score_gap(prompts, problem, load_rules("gsm8k")))


@pytest.mark.parametrize("every", [20, pytest.param(1, marks=pytest.mark.slow)])
def test_every_reference_solution_of_the_embedded_data_set_gets_full_score(every: int) -> None:
    splits, rules, prompts = Arithmetic().load(), load_rules("r1_format+answer"), Prompts(template=compose([]).prompt)
    for problem in [*splits.train, *splits.test][::every]:
        assert rules.check_truth(problem) is None
        assert score_gap(prompts, problem, rules) is None, problem.id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"question": "Q"}, "prompt.question='Q': must hold {question}"),
        ({"solution": "A"}, "prompt.solution='A': must hold {answer} or {reasoning} or {continuation}"),
    ],
)
def test_templates_are_checked(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_template(PromptConfig(**{"question": "{question}", "solution": "{answer}", **options}))
    assert str(caught.value) == message
