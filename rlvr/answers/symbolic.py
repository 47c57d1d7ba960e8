"""The last resort: sympy. Slow, and it may hang, so it only ever runs in a supervised process."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from rlvr.answers.expression import Tree

MAX_NODES = 150
"""Largest formulas that are handed to sympy, both together."""
_DIGITS = 40


def size(tree: Tree) -> int:
    """Number of nodes."""
    return 1 + sum(size(part) for part in tree[1:] if isinstance(part, tuple))


def equal(a: Tree, b: Tree) -> bool:
    """Does sympy prove the two equal, for real letters?

    Formulas that come here agree in floating point (`rlvr.answers.numeric`), so not proven mostly means: equal to many digits.
    """
    if size(a) + size(b) > MAX_NODES:
        return False
    import sympy  # half a second, and only the worker process needs it

    try:
        difference = _expression(a, sympy) - _expression(b, sympy)
        if difference == 0:
            return True
        if _apart(difference, sympy):
            return False
        steps = (sympy.expand, sympy.radsimp, sympy.trigsimp, sympy.logcombine, sympy.gammasimp, sympy.simplify)
        return any(step(difference) == 0 for step in steps)
    except (ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError):
        return False  # sympy raises all of these on formulas that it cannot handle
    except sympy.polys.polyerrors.BasePolynomialError:
        return False


def _apart(difference: Any, sympy: Any) -> bool:
    """Is it more than nothing at some point, computed with more digits than floating point has?"""
    for shift in (0, 1):
        values = {letter: sympy.Rational(7 + 4 * at + 10 * shift, 9 + at) for at, letter in enumerate(_letters(difference))}
        value = sympy.N(difference.subs(values), _DIGITS, maxn=3 * _DIGITS)
        if value.is_number and value.is_finite and abs(value) > Fraction(1, 10**_DIGITS):
            return True
    return False


def _letters(difference: Any) -> list[Any]:
    return sorted(difference.free_symbols, key=lambda letter: letter.name)


def _expression(tree: Tree, sympy: Any) -> Any:
    """Built node by node: no text is ever given to sympy, whose parser evaluates it."""
    kind = tree[0]
    if kind == "num":
        return sympy.Rational(tree[1].numerator, tree[1].denominator)
    if kind == "sym":
        return sympy.Symbol(tree[1], real=True)
    if kind == "const":
        return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "oo": sympy.oo}[tree[1]]
    parts = [_expression(each, sympy) for each in tree[2 if kind == "fn" else 1 :]]
    if kind == "add":
        return sympy.Add(*parts)
    if kind == "mul":
        return sympy.Mul(*parts)
    if kind == "pow":
        return sympy.Pow(*parts)
    if kind == "root":
        degree, inside = parts
        return sympy.real_root(inside, degree) if degree.is_odd else sympy.root(inside, degree)
    name = str(tree[1])
    names = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "abs": "Abs"}
    return getattr(sympy, names.get(name, name))(*parts)
