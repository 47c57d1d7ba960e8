"""The embedded data set and the tokenizer of the base model that goes with it."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoTokenizer

from conftest import ROOT
from rlvr.data.datasets.arithmetic import MOST_PROBLEMS, SHAPES, Arithmetic, Chain, Pool, draw, draw_chain
from rlvr.data.source import data_source
from rlvr.errors import ConfigError
from rlvr.types import Problem

POOLS: tuple[Pool, ...] = ("train", "test", "pretrain")
TINY = ROOT / "rlvr" / "assets" / "tiny"
STEP = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    splits = Arithmetic().load()
    return [*splits.train, *splits.test]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY)


def numbers_and_shape(chain: Chain) -> tuple[object, ...]:
    """Two pools must not share this; the order of the first two numbers does not count if they commute."""
    first = (chain.start, chain.numbers[0])
    return (chain.operations, tuple(sorted(first)) if chain.operations[0] in "+*" else first, chain.numbers[1:])


def test_no_calculation_is_in_two_pools() -> None:
    """By construction: the pool is a function of the calculation alone. Checked on random draws."""
    rng = random.Random(5)
    drawn = {pool: {numbers_and_shape(draw_chain(pool, rng)) for _ in range(1000)} for pool in POOLS}
    assert not drawn["train"] & drawn["test"]
    assert not drawn["train"] & drawn["pretrain"]
    assert not drawn["test"] & drawn["pretrain"]


def test_the_pool_does_not_depend_on_the_order_of_terms_and_factors() -> None:
    for start in range(2, 21):
        for number in range(2, 21):
            one = Chain(start=start, operations=("+", "-"), numbers=(number, 3))
            other = Chain(start=number, operations=("+", "-"), numbers=(start, 3))
            assert one.pool == other.pool


def test_the_pool_of_a_calculation_never_changes() -> None:
    """The bundled base model was made from the `pretrain` pool: a different hash would mix it with the others."""
    fixed = [
        Chain(start=start, operations=shape, numbers=(start // 2, 2)[: len(shape)]) for shape in SHAPES for start in (4, 8, 12)
    ]
    assert "".join({"train": "r", "test": "s", "pretrain": "."}[chain.pool] for chain in fixed) == (
        "..................r..s.r........s..."
    )


def test_every_pool_has_every_shape() -> None:
    rng = random.Random(6)
    for pool in POOLS:
        assert {draw_chain(pool, rng).operations for _ in range(300)} == set(SHAPES)


def test_problems_are_the_same_every_time_and_in_every_process() -> None:
    script = "from rlvr.data.datasets.arithmetic import Arithmetic; print(Arithmetic(test_problems=50).load().test)"
    elsewhere = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert elsewhere == f"{Arithmetic(test_problems=50).load().test}\n"


def test_asking_for_more_problems_keeps_the_first_ones() -> None:
    small, large = Arithmetic(train_problems=20, test_problems=10).load(), Arithmetic(train_problems=40).load()
    assert (len(small.train), len(small.test)) == (20, 10)
    assert small.train == large.train[:20]
    assert small.test == large.test[:10]


def test_ids_and_questions_are_distinct(problems: list[Problem]) -> None:
    assert len({problem.id for problem in problems}) == len(problems) == 2500
    assert len({problem.prompt for problem in problems}) == len(problems)
    assert problems[12].id == "arithmetic-train-00012"


def test_solutions_calculate_the_ground_truth(problems: list[Problem]) -> None:
    """Each written step is right and continues the one before; the last one gives the answer."""
    for problem in problems:
        steps = STEP.findall(problem.metadata["solution"])
        assert 1 <= len(steps) <= 2
        results = [
            {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[operation]
            for a, operation, b in ((int(left), operation, int(right)) for left, operation, right, _ in steps)
        ]
        assert results == [int(step[3]) for step in steps]
        assert all(step[0] == before[3] for before, step in pairwise(steps))
        assert problem.truth["answer"] == steps[-1][3] == re.findall(r"\d+", problem.metadata["solution"])[-1]


def test_answers_are_small_whole_numbers_and_solutions_long_enough_to_count(problems: list[Problem]) -> None:
    for problem in problems:
        assert re.fullmatch(r"0|[1-9]\d{0,2}", problem.truth["answer"])
        assert len(re.sub(r"\s", "", problem.metadata["solution"])) >= 8


def test_questions_hold_the_numbers_of_the_solution_and_no_gaps() -> None:
    rng = random.Random(7)
    for _ in range(500):
        question, chain = draw("train", rng)
        assert sorted(map(int, re.findall(r"\d+", question))) == sorted((chain.start, *chain.numbers))
        assert not set("{}\n") & set(question)
        assert question.endswith("?")


@pytest.mark.parametrize("key", ["train_problems", "test_problems"])
@pytest.mark.parametrize("value", [0, -1, MOST_PROBLEMS + 1, 2.5, "many", None])
def test_bad_sizes_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^dataset\.{key}={value}: (must lie in \[1, {MOST_PROBLEMS}\]|.* valid integer)"):
        data_source({"_target_": "rlvr.data.datasets.arithmetic.Arithmetic", key: value})


def test_the_base_model_is_small() -> None:
    assert sum(file.stat().st_size for file in TINY.iterdir()) < 4 * 2**20
    assert AutoConfig.from_pretrained(TINY).model_type == "qwen2"


def test_tags_are_single_tokens_that_survive_decoding(tokenizer) -> None:
    for tag in ("<think>", "</think>", "<answer>", "</answer>"):
        ids = tokenizer(tag)["input_ids"]
        assert len(ids) == 1
        assert tokenizer.decode(ids, skip_special_tokens=True) == tag


def test_digits_are_single_tokens(tokenizer) -> None:
    assert tokenizer.convert_ids_to_tokens(tokenizer("1234567890")["input_ids"]) == list("1234567890")


def test_the_end_ends_and_pads(tokenizer) -> None:
    assert tokenizer.eos_token == tokenizer.pad_token == "<|endoftext|>"
    assert tokenizer("<|endoftext|>")["input_ids"] == [tokenizer.eos_token_id]
    assert tokenizer.decode([tokenizer.eos_token_id], skip_special_tokens=True) == ""
    assert tokenizer.chat_template is None
    assert len(tokenizer) == AutoConfig.from_pretrained(TINY).vocab_size == 512


@pytest.mark.parametrize(
    "text",
    [
        "a , b . c ? it 's  two   spaces\n\n\ttab ",
        "<think>3*4=12. 12+5=17</think><answer>\\boxed{17}</answer>",
        "Çå, 日本語 🙂\r\n",
    ],
)
def test_text_survives_the_tokenizer(tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


@given(st.text(st.characters(min_codepoint=1, max_codepoint=127)))
@settings(deadline=None)
def test_any_ascii_survives_the_tokenizer(tokenizer, text: str) -> None:
    assume("<|endoftext|>" not in text)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
