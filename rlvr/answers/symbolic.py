"""The last resort: sympy. Slow, and it may hang, so it only ever runs in a supervised process."""

from __future__ import annotations

from typing import Any

from rlvr.answers.expression import Tree

MAX_NODES = 200
"""Largest formula that is handed to sympy."""


def size(tree: Tree) -> int:
    """Number of nodes."""
    return 1 + sum(size(part) for part in tree[1:] if isinstance(part, tuple))


def equal(a: Tree, b: Tree) -> bool:
    """Does sympy prove the two equal, for real letters?

    Formulas that come here agree numerically (`rlvr.answers.numeric`), so not proven mostly means: equal to many digits.
    """
    import sympy  # half a second, and only the worker process needs it

    if size(a) + size(b) > MAX_NODES:
        return False
    difference = _expression(a, sympy) - _expression(b, sympy)
    if difference == 0:
        return True
    for simplify in (sympy.simplify, sympy.radsimp, sympy.expand, sympy.logcombine, sympy.trigsimp):
        if simplify(difference) == 0:
            return True
    return difference.equals(0) is True


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
