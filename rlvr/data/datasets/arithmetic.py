"""Procedurally generated word problems of one or two steps: the embedded data set, and the corpus of its base model.

A problem is a chain of operations (`Chain`) put into words. A stable hash of the chain alone decides which of three pools
the problem belongs to, so no two pools share a calculation, however it is worded: `train` is for GRPO, `test` for evaluation,
and `experiments/pretrain_tiny` makes the base model from `pretrain`.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Literal

from rlvr.config.bounds import check_fields
from rlvr.data.source import DataSource, Splits
from rlvr.types import Problem

Operation = Literal["+", "-", "*", "/"]
Pool = Literal["train", "test", "pretrain"]

_ONE_STEP: tuple[tuple[Operation, ...], ...] = (("+",), ("-",), ("*",), ("/",))
_TWO_STEPS: tuple[tuple[Operation, ...], ...] = (
    ("*", "+"),
    ("*", "-"),
    ("+", "*"),
    ("-", "*"),
    ("+", "-"),
    ("-", "+"),
    ("/", "+"),
    ("+", "/"),
)
SHAPES = _ONE_STEP + _TWO_STEPS
"""The operations of a problem, in order; every shape is equally frequent."""

MOST_PROBLEMS = 20_000
"""Most problems of a pool; there are several times as many different questions, so drawing distinct ones stays quick."""

NAMES = ("Ann", "Ben", "Mia", "Tom", "Eva", "Sam", "Lily", "Max", "Zoe", "Dan")
THINGS = ("apples", "pens", "cards", "coins", "shells", "books", "stones", "eggs", "plums", "stamps", "nuts", "balls")
HOLDERS = ("bags", "boxes", "jars", "packs")

FIRST: dict[Operation, tuple[str, ...]] = {
    "+": (
        "{name} has {a} {things} and finds {b} more.",
        "{name} has {a} red {things} and {b} blue {things}.",
        "{name} owns {a} {things} and buys {b} more.",
        "{name} gets {a} {things} from {other} and finds {b}.",
    ),
    "-": (
        "{name} has {a} {things} and loses {b}.",
        "{name} has {a} {things} and gives {b} to {other}.",
        "{name} owns {a} {things} and sells {b}.",
        "From {a} {things}, {name} drops {b}.",
    ),
    "*": (
        "{name} has {a} {holders} of {b} {things}.",
        "{name} buys {a} {holders} with {b} {things} each.",
        "{name} gets {a} {things} a day for {b} days.",
        "{name} fills {a} {holders} with {b} {things} each.",
    ),
    "/": (
        "{name} splits {a} {things} into {b} equal piles and keeps one.",
        "{name} and friends, {b} in all, share {a} {things} equally.",
        "{name} gets one of {b} equal shares of {a} {things}.",
    ),
}
"""The first sentence: then {name} has the result of the first operation."""

SECOND: dict[Operation, tuple[str, ...]] = {
    "+": ("Then {name} finds {c} more.", "{other} gives {name} {c} more.", "Later {name} buys {c} more."),
    "-": ("Then {name} loses {c}.", "{name} gives {c} to {other}.", "Later {name} sells {c}."),
    "*": ("{other} has {c} times as many.", "Each one costs {c} dollars.", "Each one weighs {c} grams."),
    "/": ("{name} shares them equally among {c} friends.", "{name} packs them in {holders} of {c}."),
}
"""The second operation, applied to the result of the first."""

ASK = (
    "How many {things} does {name} have?",
    "How many {things} are there for {name}?",
    "What is the number of {things} now?",
)
ASK_AFTER = {
    "{other} has {c} times as many.": "How many does {other} have?",
    "Each one costs {c} dollars.": "How many dollars in all?",
    "Each one weighs {c} grams.": "How many grams in all?",
    "{name} shares them equally among {c} friends.": "How many does each friend get?",
    "{name} packs them in {holders} of {c}.": "How many {holders} are there?",
}
"""The question, if the second step changes what is counted; else one of `ASK`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A calculation from left to right: `start`, then each operation applied to the result so far."""

    start: int
    """The first number."""
    operations: tuple[Operation, ...]
    """One or two."""
    numbers: tuple[int, ...]
    """The right-hand side of each operation."""

    @property
    def results(self) -> tuple[int, ...]:
        """The result of each operation; the last one is the answer."""
        results, value = [], self.start
        for operation, number in zip(self.operations, self.numbers, strict=True):
            value = apply(operation, value, number)
            results.append(value)
        return tuple(results)

    @property
    def solution(self) -> str:
        """The reasoning, as short as eight visible characters allow: `3*4=12. 12+5=17`, `Just 3+4=7`."""
        lefts = (self.start, *self.results)
        steps = zip(lefts, self.operations, self.numbers, self.results, strict=False)
        written = ". ".join(f"{left}{operation}{number}={result}" for left, operation, number, result in steps)
        return written if len(self.numbers) > 1 else f"Just {written}"

    @property
    def pool(self) -> Pool:
        """From a hash of the calculation, the same in every process: 1 in 10 test, 2 in 10 train, else pretrain."""
        # With the salt `rlvr` every shape, even the multiplication table, has its share in every pool.
        start, numbers = self.start, self.numbers
        if self.operations[0] in "+*":  # 3*4 and 4*3 are the same calculation
            start, numbers = min(start, numbers[0]), (max(start, numbers[0]), *numbers[1:])
        content = f"rlvr {start} {' '.join(f'{o}{n}' for o, n in zip(self.operations, numbers, strict=True))}"
        bucket = int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big") % 10
        return "test" if bucket == 0 else "train" if bucket <= 2 else "pretrain"


def apply(operation: Operation, left: int, right: int) -> int:
    """The result of one operation; problems only divide exactly."""
    match operation:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left // right


def draw_chain(pool: Pool, rng: random.Random) -> Chain:
    """A random calculation of a pool: all shapes equally likely, every number and result from 1 to 54."""
    operations = rng.choice(SHAPES)
    while True:
        start, number = _first_numbers(operations, rng)
        numbers = (number,)
        if len(operations) == 2:
            result = apply(operations[0], start, number)
            choices = _second_numbers(operations[1], result)
            if not choices:
                continue
            numbers = (number, rng.choice(choices))
        chain = Chain(start=start, operations=operations, numbers=numbers)
        if chain.pool == pool:
            return chain


def _first_numbers(operations: tuple[Operation, ...], rng: random.Random) -> tuple[int, int]:
    small, large = rng.randint(2, 5), rng.randint(2, 9)
    if operations[0] == "*":
        return rng.choice([(small, large), (large, small)])
    if operations[0] == "/":
        return small * large, small
    if operations[0] == "-":
        start = rng.randint(4, 20)
        return start, rng.randint(2, start - 2)
    return rng.randint(2, 12), rng.randint(2, 12)


def _second_numbers(operation: Operation, result: int) -> list[int]:
    """Second operands that may follow `result`: differences stay positive, products within 5 x 9, divisions exact."""
    match operation:
        case "+":
            return list(range(2, 10))
        case "-":
            return list(range(2, min(result, 10)))
        case "*":
            return list(range(2, 6)) if result <= 9 else []
        case "/":
            return [n for n in range(2, 6) if result % n == 0 and 2 <= result // n <= 9]


def render_question(chain: Chain, rng: random.Random) -> str:
    """The calculation as a word problem: two or three short sentences, the last a question."""
    name, other = rng.sample(NAMES, 2)
    sentences = [rng.choice(FIRST[chain.operations[0]])]
    if len(chain.operations) == 2:
        sentences.append(rng.choice(SECOND[chain.operations[1]]))
    sentences.append(ASK_AFTER.get(sentences[-1]) or rng.choice(ASK))
    return " ".join(sentences).format(
        name=name,
        other=other,
        things=rng.choice(THINGS),
        holders=rng.choice(HOLDERS),
        a=chain.start,
        b=chain.numbers[0],
        c=chain.numbers[-1],
    )


def draw(pool: Pool, rng: random.Random) -> tuple[str, Chain]:
    """A random problem of a pool: its question and its calculation."""
    chain = draw_chain(pool, rng)
    return render_question(chain, rng), chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic(DataSource):
    """The embedded data set. Its problems do not depend on the seed of a run, so all runs are evaluated on the same ones."""

    train_problems: int = 2000
    """How many there are to train on."""
    test_problems: int = 500
    """How many there are to evaluate on."""

    def __post_init__(self) -> None:
        check_fields(self, "train_problems", "test_problems", at_least=1, at_most=MOST_PROBLEMS)

    def load(self) -> Splits:
        return Splits(train=_problems("train", self.train_problems), test=_problems("test", self.test_problems))


def _problems(pool: Pool, count: int) -> list[Problem]:
    """The first `count` different questions of a pool: a larger count keeps them."""
    rng = random.Random(f"rlvr arithmetic {pool}")
    chains: dict[str, Chain] = {}
    while len(chains) < count:
        question, chain = draw(pool, rng)
        chains.setdefault(question, chain)
    return [
        Problem(
            id=f"arithmetic-{pool}-{index:05d}",
            prompt=question,
            truth={"answer": str(chain.results[-1])},
            metadata={"solution": chain.solution},
        )
        for index, (question, chain) in enumerate(chains.items())
    ]
