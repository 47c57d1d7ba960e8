"""Whether two answers mean the same: exact comparison, cheapest first; undecided only where sympy must decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rlvr.answers.algebra import canonical, decides
from rlvr.answers.expression import Tree, has_infinity, num
from rlvr.answers.nodes import Bracketed, Collection, Equation, Label, Matrix, Node, Quantity, Relation, Union, letter_of
from rlvr.answers.normalise import normalise
from rlvr.answers.numeric import differ, real_value
from rlvr.answers.polynomials import Ratio, same
from rlvr.answers.reading import label_of, read

MAX_EXACT_DENOMINATOR = 8
"""A decimal ground truth that is a fraction with a denominator up to this (0.125, 2.5) is exact; others (3.14, 0.33) are
rounded."""

_NO_SOLUTION = {"no solution", "no solutions", "no real solution", "no real solutions", "empty set", "the empty set"}
MAX_SPELLINGS = 100
"""More different texts than this count as different answers: nobody writes one answer in a hundred ways."""
Symbolic = Callable[[Tree, Tree], bool]


@dataclass(frozen=True, slots=True)
class Matching:
    """How leniently answers are compared."""

    units: Literal["drop", "strict"] = "drop"
    """`drop`: a missing unit is accepted, a different one is not; `strict`: the units must be equal, or both missing."""
    tolerance: float = 0.0
    """Accepted relative difference of real numbers; 0: none."""
    rounded: bool = True
    """A ground truth that is a rounded decimal equals what rounds to it."""
    symbolic: Symbolic | None = None
    """Decides what exact forms and values leave undecided; None: nothing does."""


def compare(truth: Node, given: Node, how: Matching) -> bool | None:
    """Whether they mean the same; None: only a symbolic step could decide. Not symmetric: the ground truth determines units and
    rounding. Errors: `TooBig`."""
    if isinstance(truth, Label) or isinstance(given, Label):
        return _words(truth) == _words(given) or _nothing(truth) is _nothing(given) is True
    if isinstance(truth, Bracketed) != isinstance(given, Bracketed):
        truth, given = _as_point(truth), _as_point(given)
    if isinstance(given, Collection) and not given.braces and not isinstance(truth, Collection | Union):
        return len(given.items) > 1 and _all(compare(truth, item, how) for item in given.items)  # 1/2 or 0.5
    if isinstance(truth, Equation) or isinstance(given, Equation):
        return _equations(truth, given, how)
    if isinstance(truth, Quantity) and isinstance(given, Quantity):
        return _quantities(truth, given, how)
    if isinstance(truth, Matrix) and isinstance(given, Bracketed):
        truth = _as_tuple(truth)
    elif isinstance(truth, Bracketed) and isinstance(given, Matrix):
        given = _as_tuple(given)
    if isinstance(truth, Bracketed) and isinstance(given, Bracketed):
        letters = {truth.letter, given.letter} - {None}
        if (truth.left, truth.right) != (given.left, given.right) or len(letters) > 1:
            return False
        return _in_order(truth.items, given.items, how)
    if isinstance(truth, Matrix) and isinstance(given, Matrix):
        if [len(row) for row in truth.rows] != [len(row) for row in given.rows]:
            return False
        pairs = zip(truth.rows, given.rows, strict=True)
        return _all(_in_order(a, b, how) for a, b in pairs)
    if isinstance(truth, Collection) and isinstance(given, Collection):
        if _names(truth) != _names(given) and None in (_names(truth), _names(given)):  # a = 1, b = 2 is not 2, 1
            return _in_order(truth.items, given.items, how)
        return _in_any_order(truth.items, given.items, how)
    if isinstance(truth, Union) and isinstance(given, Union):
        return _in_any_order(truth.parts, given.parts, how)
    if isinstance(truth, Relation) and isinstance(given, Relation):
        return _relations(truth, given, how)
    return False


def _words(node: Node) -> str | None:
    """The text of a word or of a single letter: the choice (C) may be written as \\text{(C)}, (C) or C."""
    return node.text if isinstance(node, Label) else letter_of(node)


def _nothing(node: Node) -> bool:
    """Whether it is the empty set, in symbols or in words."""
    return (isinstance(node, Collection) and not node.items) or (isinstance(node, Label) and node.text in _NO_SOLUTION)


def _as_tuple(matrix: Matrix) -> Node:
    """A matrix of one row or column as the tuple (a, b, c); a different matrix unchanged."""
    if all(len(row) == 1 for row in matrix.rows) or len(matrix.rows) == 1:
        return Bracketed("(", ")", tuple(node for row in matrix.rows for node in row))
    return matrix


def _all(decisions: Iterable[bool | None]) -> bool | None:
    decided: bool | None = True
    for decision in decisions:
        if decision is False:
            return False
        decided = None if decision is None else decided
    return decided


def _names(collection: Collection) -> tuple[str, ...] | None:
    """The names of a list like x = 1, y = 2 in which each letter occurs once; else None."""
    names = [item.name for item in collection.items if isinstance(item, Equation) and item.name]
    return tuple(names) if len(set(names)) == len(collection.items) > 1 else None


def _as_point(node: Node) -> Node:
    """x = 1, y = 2 as a tuple of values, in alphabetical order of the names."""
    names = _names(node) if isinstance(node, Collection) and not node.braces else None
    if names is None or not isinstance(node, Collection):
        return node
    items = [item.right for item in node.items if isinstance(item, Equation)]
    return Bracketed("(", ")", tuple(item for _, item in sorted(zip(names, items, strict=True), key=lambda pair: pair[0])))


def _in_order(truth: Sequence[Node], given: Sequence[Node], how: Matching) -> bool | None:
    if len(truth) != len(given):
        return False
    return _all(compare(a, b, how) for a, b in zip(truth, given, strict=True))


def _in_any_order(truth: Sequence[Node], given: Sequence[Node], how: Matching) -> bool | None:
    """Comparison as sets: every entry of each has an equal one in the other."""
    decisions = [[compare(a, b, how) for b in given] for a in truth]
    rows = [*decisions, *map(list, zip(*decisions, strict=True))] if decisions and given else []
    if not rows:
        return len(truth) == len(given)
    if any(True not in row and None not in row for row in rows):
        return False
    return True if all(True in row for row in rows) else None


def _equations(truth: Node, given: Node, how: Matching) -> bool | None:
    if isinstance(truth, Equation) and isinstance(given, Equation):
        if truth.name and given.name:
            decided = truth.name == given.name and compare(truth.right, given.right, how)
            if decided is not False:
                return decided
        return _same_zeros(truth, given)
    equation, other = (truth, given) if isinstance(truth, Equation) else (given, truth)
    if not isinstance(equation, Equation) or not (equation.name or (equation.letters and equation is given)):
        return False
    return compare(equation.right, given, how) if equation is truth else compare(other, equation.right, how)


def _same_zeros(truth: Equation, given: Equation) -> bool:
    """Whether left minus right of one equation is a constant multiple of that of the other."""
    if not isinstance(truth.right, Quantity) or not isinstance(given.right, Quantity):
        return False
    return _factor(*(_minus(each.left, _tree(each.right)) for each in (truth, given))) is not None


def _relations(truth: Relation, given: Relation, how: Matching) -> bool | None:
    if truth.sign != given.sign:
        return False
    sides = (truth.left, truth.right, given.left, given.right)
    if not all(isinstance(side, Quantity) for side in sides):
        return _in_order(sides[:2], sides[2:], how)
    factor = _factor(*(_minus(_tree(each.left), _tree(each.right)) for each in (truth, given)))
    return factor is not None and (factor > 0 or truth.sign == "!=")


def _minus(left: Tree, right: Tree) -> Ratio:
    return canonical(("add", left, ("mul", num(-1), right)))


def _factor(a: Ratio, b: Ratio) -> Fraction | None:
    """The rational number by which a must be multiplied to give b, or None."""
    if not a.over or not b.over:
        return None if a.over or b.over else Fraction(1)
    first = min(a.over)
    if first not in b.over or a.under != b.under:
        return None
    factor = b.over[first] / a.over[first]
    return factor if {monomial: value * factor for monomial, value in a.over.items()} == b.over else None


def _tree(node: Node) -> Tree:
    assert isinstance(node, Quantity)
    return node.tree


def _quantities(truth: Quantity, given: Quantity, how: Matching) -> bool | None:
    if truth.unit != given.unit:
        percent = _percent(truth, given)
        if percent is not None:
            return percent
        if given.unit and given.unit.startswith("base ") and not truth.unit:
            return _in_base(given) == truth.form.rational
        if how.units == "strict" or (truth.unit and given.unit):
            return False
    a, b = truth.form.rational, given.form.rational
    if a is not None and b is not None:
        return a == b or _near(truth, a, b, how)
    if a is not None or b is not None or how.tolerance:
        near = _near_value(truth, given, how)
        if near:
            return True
    if same(truth.form, given.form):
        return True
    if has_infinity(truth.tree) or has_infinity(given.tree) or (decides(truth.form) and decides(given.form)):
        return False
    if differ(truth.tree, given.tree):
        return False
    return how.symbolic(truth.tree, given.tree) if how.symbolic else None


def _in_base(quantity: Quantity) -> int | None:
    """The value of 40_9, which was read as the digits 40 with the unit `base 9`; None if it has none."""
    try:
        return int(str(quantity.form.rational), int(str(quantity.unit).removeprefix("base ")))
    except ValueError:
        return None


def _percent(truth: Quantity, given: Quantity) -> bool | None:
    """50% is 50 if the question asks for percent, and 1/2 if it does not; but 500% is never 5. None: this does not decide."""
    if {truth.unit, given.unit} != {"percent", None}:
        return None
    a, b = truth.form.rational, given.form.rational
    if a is None or b is None:
        return None
    share, other = (a, b) if truth.unit else (b, a)
    return True if other.denominator != 1 and other == share / 100 else None


def _near(truth: Quantity, a: Fraction, b: Fraction, how: Matching) -> bool:
    if how.tolerance and abs(a - b) <= Fraction(how.tolerance) * abs(a):
        return True
    # Half a unit of the last decimal of the ground truth.
    return _is_rounded(truth, how) and abs(a - b) * 2 <= Fraction(1, 10**truth.decimals)


def _is_rounded(truth: Quantity, how: Matching) -> bool:
    value = truth.form.rational
    return how.rounded and truth.decimals >= 2 and value is not None and value.denominator > MAX_EXACT_DENOMINATOR


def _near_value(truth: Quantity, given: Quantity, how: Matching) -> bool:
    """Compares a formula with a real value to a rounded decimal, or under a declared tolerance."""
    if not how.tolerance and not _is_rounded(truth, how):
        return False
    a, b = real_value(truth.tree), real_value(given.tree)
    if a is None or b is None:
        return False
    rounding = 0.5 * 10.0**-truth.decimals if _is_rounded(truth, how) else 0.0
    return abs(a - b) <= max(how.tolerance * abs(a), rounding)


def same_answer(a: str, b: str) -> bool:
    """Whether two extracted texts state the same answer, as text or exactly; if only sympy could decide: no. Never raises."""
    if a == b:
        return True
    try:
        return compare(read(normalise(a)), read(normalise(b)), Matching(rounded=False)) is True
    except (ValueError, ArithmeticError, RecursionError):
        return label_of(a) == label_of(b)


def distinct(texts: Sequence[str]) -> list[str]:
    """The different answers among the texts, in order; at most 8."""
    found: list[str] = []
    spellings = list(dict.fromkeys(texts))
    if len(spellings) > MAX_SPELLINGS:
        return spellings[:8]
    for text in spellings:
        if not any(same_answer(text, other) for other in found):
            found.append(text)
        if len(found) == 8:
            break
    return found
