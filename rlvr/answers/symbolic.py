"""Symbolic equality by sympy, the last tier. It is slow and may hang, so it runs only in a supervised process."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from rlvr.answers.expression import Tree

MAX_NODES = 150
"""Largest total size of two formulas that are given to sympy, in nodes."""
_DIGITS = 40


def size(tree: Tree) -> int:
    """Number of nodes."""
    return 1 + sum(size(part) for part in tree[1:] if isinstance(part, tuple))


def equal(a: Tree, b: Tree) -> bool:
    """Whether sympy proves two formulas equal, for real letters.

    Formulas that get here agree in floating point (`rlvr.answers.numeric`), so those not proven mostly agree to many digits.
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
        return False  # sympy raises these on formulas that it cannot handle
    except sympy.polys.polyerrors.BasePolynomialError:
        return False


def _apart(difference: Any, sympy: Any) -> bool:
    """Whether a difference is not 0 at some point, computed with more digits than floating point has."""
    for shift in (0, 1):
        values = {letter: sympy.Rational(7 + 4 * at + 10 * shift, 9 + at) for at, letter in enumerate(_letters(difference))}
        value = sympy.N(difference.subs(values), _DIGITS, maxn=3 * _DIGITS)
        if value.is_number and value.is_finite and abs(value) > Fraction(1, 10**_DIGITS):
            return True
    return False


def _letters(difference: Any) -> list[Any]:
    return sorted(difference.free_symbols, key=lambda letter: letter.name)


def _expression(tree: Tree, sympy: Any) -> Any:
    """A sympy expression, built node by node: sympy's parser, which evaluates text, is never used."""
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
