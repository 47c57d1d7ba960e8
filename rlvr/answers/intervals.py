"""Sets of real numbers: unions of intervals with rational or infinite ends, in a normal form."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from rlvr.answers.algebra import canonical
from rlvr.answers.expression import INFINITY, Tree, num
from rlvr.answers.nodes import Bracketed, Collection, Node, Quantity, Union

_Ends = tuple[Fraction | float, bool, Fraction | float, bool]  # low, closed, high, closed


def quantity(tree: Tree) -> Quantity:
    return Quantity(tree, canonical(tree))


PLUS_INFINITY = quantity(INFINITY)
MINUS_INFINITY = quantity(("mul", num(-1), INFINITY))


def reals_without(points: Node, letter: str | None = None) -> Union | None:
    """All real numbers except one or more rational ones."""
    nodes = points.items if isinstance(points, Collection) else (points,)
    values = [node.form.rational if isinstance(node, Quantity) else None for node in nodes]
    known = sorted({value for value in values if value is not None})
    if None in values or not known:
        return None
    ends = [MINUS_INFINITY, *(quantity(num(value)) for value in known), PLUS_INFINITY]
    return Union(tuple(Bracketed("(", ")", pair, letter) for pair in pairwise(ends)))


def conjunction(parts: Sequence[Node]) -> Bracketed | None:
    """The interval between a lower bound and a greater upper bound: x > 2, x < 5. None for anything else (x < 2, x > 5)."""
    known = [(ends, part) for part in parts if (ends := _ends(part)) and isinstance(part, Bracketed)]
    below = [(ends, part) for ends, part in known if ends[0] == -float("inf") and ends[2] != float("inf")]
    above = [(ends, part) for ends, part in known if ends[2] == float("inf") and ends[0] != -float("inf")]
    if len(parts) != 2 or len(below) != 1 or len(above) != 1 or below[0][1].letter != above[0][1].letter:
        return None
    (low, left), (high, right) = above[0], below[0]
    return Bracketed(left.left, right.right, (left.items[0], right.items[1]), left.letter) if low[0] < high[2] else None


def merged(parts: Sequence[Node]) -> Node:
    """The union of the parts, with intervals that overlap or touch merged: [1, 2) and [2, 3] give [1, 3]."""
    known = [_ends(part) for part in parts]
    intervals = sorted((each for each in known if each is not None), key=lambda each: (each[0], not each[1]))
    if len(intervals) < len(parts):
        return Union(tuple(parts))
    joined = [intervals[0]]
    for low, closed, high, high_closed in intervals[1:]:
        last_low, last_closed, last_high, last_high_closed = joined[-1]
        if low < last_high or (low == last_high and (closed or last_high_closed)):
            end = max((last_high, last_high_closed), (high, high_closed))
            joined[-1] = (last_low, last_closed, *end)
        else:
            joined.append((low, closed, high, high_closed))
    if len(joined) == len(parts):
        return Union(tuple(parts))
    letter = next((part.letter for part in parts if isinstance(part, Bracketed) and part.letter), None)
    nodes = tuple(
        Bracketed("[" if c else "(", "]" if d else ")", (_end(low), _end(high)), letter) for low, c, high, d in joined
    )
    return nodes[0] if len(nodes) == 1 else Union(nodes)


def _ends(node: Node) -> _Ends | None:
    if not isinstance(node, Bracketed) or len(node.items) != 2 or node.left not in "([" or node.right not in ")]":
        return None
    low, high = (_value(item) for item in node.items)
    return None if low is None or high is None else (low, node.left == "[", high, node.right == "]")


def _value(node: Node) -> Fraction | float | None:
    if not isinstance(node, Quantity):
        return None
    if node.form in (PLUS_INFINITY.form, MINUS_INFINITY.form):
        return float("inf") if node.form == PLUS_INFINITY.form else -float("inf")
    return node.form.rational


def _end(value: Fraction | float) -> Quantity:
    if isinstance(value, float):
        return PLUS_INFINITY if value > 0 else MINUS_INFINITY
    return quantity(num(value))
