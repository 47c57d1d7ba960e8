"""The training texts of the tiny base model: first right solutions, then mostly bad habits.

The second part is a mixture of styles. Wrong solutions use a wrong operation or leave out a step, but calculate correctly, so
the model keeps its skill in arithmetic and learns to misread the problem: right solutions are rare in its samples, but GRPO can
find them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from rlvr.data.datasets.arithmetic import Chain, Operation, apply, draw, render_question

Style = Callable[[Chain, random.Random], str]

MISTAKEN: dict[Operation, Operation] = {"*": "+", "/": "-", "+": "-", "-": "+"}
"""The wrong operation that a careless reader uses."""

LARGER_SHAPES: tuple[tuple[Operation, ...], ...] = (("+",), ("-",), ("+", "-"), ("-", "+"))

FILLERS = (
    "Let me think about it.",
    "This one is easy to see.",
    "I know the answer to this.",
    "Let me see. I think I have it.",
    "There are a few things here.",
)


def guess(rng: random.Random) -> int:
    """A number that has nothing to do with the problem."""
    return rng.randint(1, 60)


def careless(chain: Chain, rng: random.Random) -> Chain:
    """A wrong operation, usually the last, or no second step, calculated correctly.

    Where the result would not be a small whole number, the operation is a sum instead, which is sometimes right.
    """
    if len(chain.numbers) == 2 and rng.random() < 0.4:
        return Chain(start=chain.start, operations=chain.operations[:1], numbers=chain.numbers[:1])
    wrong = len(chain.operations) - 1 if rng.random() < 0.8 else 0
    operations = tuple(MISTAKEN[o] if i == wrong else o for i, o in enumerate(chain.operations))
    start, numbers, value = chain.start, list(chain.numbers), chain.start
    for index, operation in enumerate(operations):
        bad_division = operation == "/" and value % numbers[index]
        bad_product = operation == "*" and value > 12
        if bad_division or bad_product or apply(operation, value, numbers[index]) < 1:
            operations = (*operations[:index], "+", *operations[index + 1 :])
        value = apply(operations[index], value, numbers[index])
    return Chain(start=start, operations=operations, numbers=tuple(numbers))


def formatted(reasoning: str, answer: int) -> str:
    """The reasoning and the answer as the format rule requires."""
    return f"<think>{reasoning}</think><answer>\\boxed{{{answer}}}</answer>"


def plain(reasoning: str, answer: int) -> str:
    """The same without tags."""
    return f"{reasoning}. \\boxed{{{answer}}}"


def broken(reasoning: str, answer: int, rng: random.Random) -> str:
    """Tags missing or misplaced; some variants have no box either."""
    return rng.choice(
        (
            f"<think>{reasoning}. \\boxed{{{answer}}}",
            f"<think>{reasoning}</think>\\boxed{{{answer}}}",
            f"<think>{reasoning}</think><answer>{answer}</answer>",
            f"<think>{reasoning}</think>The answer is {answer}.",
            f"{reasoning}<answer>\\boxed{{{answer}}}</answer>",
            f"<answer>\\boxed{{{answer}}}</answer>",
        )
    )


def clean_formatted(chain: Chain, rng: random.Random) -> str:
    return formatted(chain.solution, chain.results[-1])


def clean_plain(chain: Chain, rng: random.Random) -> str:
    return plain(chain.solution, chain.results[-1])


def clean_broken(chain: Chain, rng: random.Random) -> str:
    return broken(chain.solution, chain.results[-1], rng)


def careless_formatted(chain: Chain, rng: random.Random) -> str:
    return clean_formatted(careless(chain, rng), rng)


def careless_plain(chain: Chain, rng: random.Random) -> str:
    return clean_plain(careless(chain, rng), rng)


def careless_broken(chain: Chain, rng: random.Random) -> str:
    return clean_broken(careless(chain, rng), rng)


def guess_box(chain: Chain, rng: random.Random) -> str:
    return f"\\boxed{{{guess(rng)}}}"


def guess_words(chain: Chain, rng: random.Random) -> str:
    return f"The answer is {guess(rng)}."


def guess_formatted(chain: Chain, rng: random.Random) -> str:
    return formatted(rng.choice(FILLERS), guess(rng))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the corpus."""

    one_step: dict[Style, float]
    """Shares of styles for problems of one step."""
    two_steps: dict[Style, float]
    """Shares of styles for problems of two steps."""
    larger: float
    """Share of problems from `draw_larger`; the others are the data set's pool `pretrain`."""


RIGHT: dict[Style, float] = {clean_formatted: 0.5, clean_plain: 0.5}
CLEAN = Part(one_step=RIGHT, two_steps=RIGHT, larger=0.25)
HABITS = Part(
    one_step={
        guess_box: 0.330,
        guess_words: 0.100,
        guess_formatted: 0.320,
        careless_plain: 0.050,
        careless_formatted: 0.030,
        careless_broken: 0.020,
        clean_plain: 0.060,
        clean_formatted: 0.060,
        clean_broken: 0.030,
    },
    two_steps={
        guess_box: 0.480,
        guess_words: 0.020,
        guess_formatted: 0.200,
        careless_plain: 0.070,
        careless_formatted: 0.080,
        careless_broken: 0.050,
        clean_plain: 0.045,
        clean_formatted: 0.040,
        clean_broken: 0.015,
    },
    larger=0.0,
)
"""Answers to problems of one step are often right, those of two steps mostly guesses."""


def draw_larger(rng: random.Random) -> tuple[str, Chain]:
    """A sum or difference with larger numbers than the data set's, so in none of its pools: practice in carrying."""
    operations = rng.choice(LARGER_SHAPES)
    chain = Chain(start=rng.randint(21, 45), operations=operations, numbers=tuple(rng.randint(2, 9) for _ in operations))
    return render_question(chain, rng), chain


def texts(part: Part, count: int, rng: random.Random) -> list[tuple[str, str]]:
    """`count` pairs of prompt (the question and a line feed) and completion."""
    pairs = []
    for _ in range(count):
        question, chain = draw_larger(rng) if rng.random() < part.larger else draw("pretrain", rng)
        shares = part.one_step if len(chain.numbers) == 1 else part.two_steps
        (style,) = rng.choices(list(shares), weights=list(shares.values()))
        pairs.append((question + "\n", style(chain, rng)))
    return pairs
