"""What an answer can be: a quantity, a set, a tuple or interval, a matrix, an equation, a word. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.answers.algebra import Ratio
from rlvr.answers.expression import Tree


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number or formula, maybe with a unit."""

    tree: Tree
    form: Ratio
    unit: str | None = None
    decimals: int = 0
    """How many decimals it was written with."""


@dataclass(frozen=True, slots=True)
class Bracketed:
    """A tuple, an interval (which looks the same when open), a ratio `a:b`."""

    left: str
    right: str
    items: tuple[Node, ...]
    letter: str | None = None
    """The variable, where it was written as an inequality or `x \\in`."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A set, or a list of answers: in any order, each counted once."""

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
    """`left = right`; `name` where the left is a lone letter (or f(x)), so that the right alone may be meant."""

    left: Tree
    right: Node
    name: str | None
    letters: bool = False
    """The left is a sum or product of letters (m + n = 5): an answer may mean the right alone, a truth does not."""


@dataclass(frozen=True, slots=True)
class Relation:
    """An inequality that is no interval of one letter; greater-than is turned round."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Label:
    """A word or two, or the letter of a choice; compared without case."""

    text: str


Node = Quantity | Bracketed | Collection | Union | Matrix | Equation | Relation | Label


def letter_of(node: Node) -> str | None:
    """The name of a lone letter."""
    return node.tree[1] if isinstance(node, Quantity) and node.tree[0] == "sym" and node.unit is None else None
