"""The kinds of answers, as plain data: a quantity, a set, a tuple or interval, a matrix, an equation, a word."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.answers.expression import Tree
from rlvr.answers.polynomials import Ratio


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number or formula, possibly with a unit."""

    tree: Tree
    form: Ratio
    unit: str | None = None
    decimals: int = 0
    """Number of decimals as written."""


@dataclass(frozen=True, slots=True)
class Bracketed:
    """A tuple, an interval (an open one looks like a tuple), or a ratio `a:b`."""

    left: str
    right: str
    items: tuple[Node, ...]
    letter: str | None = None
    """The variable, if it was written as an inequality or with `x \\in`."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A set, or a list of answers: order and repetition do not count."""

    items: tuple[Node, ...]
    braces: bool = False


@dataclass(frozen=True, slots=True)
class Union:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Equation:
    """`left = right`; `name` if the left side is a single letter (or f(x)), so that the right side alone may be meant."""

    left: Tree
    right: Node
    name: str | None
    letters: bool = False
    """The left side is a sum or product of letters (m + n = 5): an answer may mean the right side alone, a ground truth not."""


@dataclass(frozen=True, slots=True)
class Relation:
    """An inequality that is not an interval of one letter; greater-than is turned into less-than."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Label:
    """Words, or the letter of a choice; compared without case."""

    text: str


Node = Quantity | Bracketed | Collection | Union | Matrix | Equation | Relation | Label


def letter_of(node: Node) -> str | None:
    """The name of a node that is a single letter, or None."""
    return node.tree[1] if isinstance(node, Quantity) and node.tree[0] == "sym" and node.unit is None else None
