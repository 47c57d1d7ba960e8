"""Equations, chains of equations, and inequalities (those that bound one letter become intervals)."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from rlvr.answers.algebra import canonical
from rlvr.answers.expression import Unreadable, has_letters, num, parse
from rlvr.answers.intervals import MINUS_INFINITY, PLUS_INFINITY, quantity, reals_without
from rlvr.answers.nodes import Bracketed, Equation, Node, Quantity, Relation, letter_of

_RELATION = re.compile(r"<=|>=|!=|[<>=]")
_SUBSCRIPT = r"(?:_(?:\w|\{[^{}]{1,20}\}))?"
# Names of a value: x, x_1, AB, f(2), (x, y), \\angle ABC, |AB|, \\text{Area}
_NAME = re.compile(
    rf"\{{?(?:[a-zA-Z]|[A-Z]{{2,4}}|\\[a-zA-Z]+){_SUBSCRIPT}\}}?'?(?:\s*\(\s*[\w.-]+(?:\s*,\s*[\w.-]+)*\s*\))?"
    r"|\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])+\s*\)|m?\\angle\s*\{?[A-Z]{1,3}\}?|\|?[A-Z]{2}\|?|\\overline\s*\{\w+\}"
    r"|\\(?:text|mathrm|mbox)\s*\{[^{}]+\}|[A-Za-z]{3,20}"
)
# Sums and products of letters, and notation of probability and analysis: m + n, P(X = 2), f(g(2))
_LETTERS_ONLY = re.compile(rf"-?\s*[a-zA-Z]{_SUBSCRIPT}(?:\s*(?:[+-]|\*|\\cdot(?![a-zA-Z]))?\s*[a-zA-Z]{_SUBSCRIPT})+")
_HEADED = re.compile(
    r"(?:\\mathbb\s*\{?\s*[PE]\s*\}?|\\Pr|[PE])\s*(?:\((?:[^()]|\([^()]*\))*\)|\[[^\[\]]*\])\s*(?==)|[a-z]\([a-z]\([\w.-]+\)\)\s*(?==)"
)
Read = Callable[[str], Node]


def has_relation(text: str) -> bool:
    return _RELATION.search(text) is not None


def relation(text: str, read: Read) -> Node:
    """The node of a text with one or more relation signs; `read` parses its sides. Errors: `Unreadable`."""
    headed = _HEADED.match(text)
    if headed:
        text = "P" + text[headed.end() :]
    signs = _RELATION.findall(text)
    sides = [each.strip() for each in _RELATION.split(text)]
    if "" in sides or len(sides) > 6:
        raise Unreadable("a relation without a side")
    if set(signs) == {"="}:
        return _equation(sides, read)
    if len(signs) == 2 and "=" not in signs and "!=" not in signs:
        return _between(signs, sides, read)
    if len(signs) != 1:
        raise Unreadable("a chain of different relations")
    return _inequality(signs[0], *map(read, sides))


def _inequality(sign: str, left: Node, right: Node) -> Node:
    if sign[0] == ">":
        left, right, sign = right, left, sign.replace(">", "<")
    if sign == "!=":
        letter = letter_of(left) or letter_of(right)
        without = reals_without(right if letter_of(left) else left, letter) if letter else None
        return without or Relation(sign, left, right)
    closed = sign == "<="
    if isinstance(left, Quantity) and left.tree[:2] == ("fn", "abs") and left.tree[2][0] == "sym":
        ends = (quantity(("mul", num(-1), right.tree)), right) if isinstance(right, Quantity) else None
        if ends and not _has_letters([right]):
            return Bracketed("[" if closed else "(", "]" if closed else ")", ends, left.tree[2][1])
    if not (letter_of(left) and not _has_letters([right])) and not (letter_of(right) and not _has_letters([left])):
        solved = _solved(left, right)
        if solved is None:
            return Relation(sign, left, right)
        left, right = solved
    if letter_of(left):
        return Bracketed("(", "]" if closed else ")", (MINUS_INFINITY, right), letter_of(left))
    return Bracketed("[" if closed else "(", ")", (left, PLUS_INFINITY), letter_of(right))


def _solved(left: Node, right: Node) -> tuple[Node, Node] | None:
    """`left < right` solved for its letter: the new left and right side. None unless it is linear in one letter with rational
    coefficients."""
    if not isinstance(left, Quantity) or not isinstance(right, Quantity):
        return None
    difference = canonical(("add", left.tree, ("mul", num(-1), right.tree)))
    letters = [monomial for monomial in difference.over if monomial]
    if difference.under != {(): 1} or len(letters) != 1 or len(letters[0]) != 1:
        return None
    (name, exponent), factor = letters[0][0], difference.over[letters[0]]
    if exponent != 1 or not name.isalpha() or name in ("pi", "e", "i", "oo"):
        return None
    letter, bound = quantity(("sym", name)), quantity(num(-difference.over.get((), Fraction(0)) / factor))
    return (letter, bound) if factor > 0 else (bound, letter)


def _between(signs: list[str], sides: list[str], read: Read) -> Node:
    """The interval a < x <= b."""
    if {sign[0] for sign in signs} == {">"}:
        signs, sides = [sign.replace(">", "<") for sign in signs[::-1]], sides[::-1]
    low, letter, high = (read(side) for side in sides)
    if {sign[0] for sign in signs} != {"<"} or not letter_of(letter):
        raise Unreadable("an inequality that is no interval")
    return Bracketed("[" if signs[0] == "<=" else "(", "]" if signs[1] == "<=" else ")", (low, high), letter_of(letter))


def _equation(sides: list[str], read: Read) -> Node:
    """An equation of two sides; a chain, if all of its values are equal (x = 2 + 3 = 5), is that value."""
    name = sides[0] if _NAME.fullmatch(sides[0]) and sides[0] not in ("e", "i", "\\pi") else None
    letters = not name and _LETTERS_ONLY.fullmatch(sides[0]) is not None and not _has_letters([read(sides[-1])])
    values = [read(side) for side in (sides[1:] if name or letters else sides)]
    first = values[-1]
    if len(values) > 1 and not (len(sides) == 2 and _has_letters(values)):
        forms = [value.form for value in values if isinstance(value, Quantity)]
        units = {value.unit for value in values if isinstance(value, Quantity)} - {None}
        if len(forms) < len(values) or any(form != forms[0] for form in forms) or len(units) > 1:
            raise Unreadable("a chain of values that are not the same")
        if letters:
            return Equation(parse(sides[0]), first, None, letters=True)
        return Equation(("sym", name), first, name) if name else first
    if name:
        try:
            return Equation(parse(name), first, name)
        except Unreadable:
            return Equation(("sym", name), first, name)
    if letters:
        return Equation(parse(sides[0]), first, None, letters=True)
    left, right = values
    if not isinstance(left, Quantity):
        raise Unreadable("an equation of something else than formulas")
    alone = _NAME.fullmatch(sides[1])
    return Equation(right.tree, left, sides[1]) if alone and isinstance(right, Quantity) else Equation(left.tree, right, None)


def _has_letters(values: list[Node]) -> bool:
    return any(has_letters(value.tree) for value in values if isinstance(value, Quantity))
