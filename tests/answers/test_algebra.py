"""Canonical forms against sympy, floating-point rejection, and the size guards."""

from __future__ import annotations

import time

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.answers.algebra import canonical
from rlvr.answers.expression import Tree, Unreadable, parse
from rlvr.answers.numeric import differ, real_value
from rlvr.answers.polynomials import TooBig, same
from rlvr.answers.symbolic import equal

LEAVES = st.sampled_from(["x", "y", "1", "2", "3", "\\frac{1}{2}", "\\sqrt{2}", "\\sqrt{8}", "x^2", "\\pi"])


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map(lambda p: f"({p[0]}+{p[1]})"),
        pair.map(lambda p: f"({p[0]}-{p[1]})"),
        pair.map(lambda p: f"({p[0]})({p[1]})"),
        pair.map(lambda p: f"\\frac{{{p[0]}}}{{{p[1]}}}"),
        inner.map(lambda a: f"({a})^2"),
    )


FORMULAS = st.recursive(LEAVES, _grow, max_leaves=5)


def _sympy(tree: Tree) -> sympy.Expr:
    kind, *parts = tree
    if kind == "num":
        return sympy.Rational(parts[0].numerator, parts[0].denominator)
    if kind == "sym":
        return sympy.Symbol(parts[0])
    if kind == "const":
        return sympy.pi
    made = [_sympy(part) for part in parts]
    return {"add": sympy.Add, "mul": sympy.Mul, "pow": sympy.Pow, "root": lambda n, a: sympy.root(a, n)}[kind](*made)


@settings(max_examples=20)
@given(FORMULAS, FORMULAS)
def test_forms_are_equal_exactly_when_sympy_says_so(a: str, b: str) -> None:
    trees = parse(a), parse(b)
    try:
        forms = [canonical(tree) for tree in trees]
    except ZeroDivisionError:
        return
    difference = sympy.radsimp(sympy.cancel(sympy.together(_sympy(trees[0]) - _sympy(trees[1]))))
    assert same(*forms) == (sympy.simplify(difference) == 0)
    if same(*forms):
        assert not differ(*trees), "values never contradict forms"


@pytest.mark.parametrize(
    ("a", "b", "by_form", "by_sympy"),
    [
        ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}", True, True),
        ("\\frac{1}{1+\\sqrt{2}}", "\\sqrt{2}-1", True, True),
        ("\\sqrt[3]{-8}", "-2", True, True),
        ("\\frac{x^2-1}{x-1}", "x+1", True, True),
        ("\\binom{5}{2}", "\\frac{5!}{2!3!}", True, True),
        ("\\sqrt{3+2\\sqrt{2}}", "1+\\sqrt{2}", False, True),
        ("\\sin^2 x+\\cos^2 x", "1", False, True),
        ("2^{n+1}", "2\\cdot 2^n", False, True),
        ("e^{i\\pi}", "-1", True, True),
        ("\\cos 36^\\circ", "\\frac{1+\\sqrt{5}}{4}", False, True),
        ("\\sqrt{2}", "1.4142135623730951", False, False),  # as floats the same
        ("|x|", "\\sqrt{x^2}", False, True),
    ],
)
def test_what_each_tier_can_say(a: str, b: str, by_form: bool, by_sympy: bool) -> None:
    trees = parse(a), parse(b)
    assert same(*map(canonical, trees)) == by_form
    assert not differ(*trees)
    assert equal(*trees) == by_sympy


@pytest.mark.parametrize(
    ("a", "b"), [("x+1", "x-1"), ("|x|", "x"), ("\\sin x", "\\cos x"), ("\\sqrt{2}", "1.41421"), ("x^y", "y^x")]
)
def test_values_tell_apart(a: str, b: str) -> None:
    assert differ(parse(a), parse(b))


@pytest.mark.parametrize(
    "text",
    [
        "9^{9^9}",
        "1000000!",
        "(a+b+c)^{999}",
        "2^{2^{100}}",
        "((x+1)^{60})^{60}",
        "\\sqrt{9^{99999}}",
        "\\binom{10^9}{5}",
        "((2^{4000})^{4000})",
    ],
)
def test_absurd_sizes_are_refused_at_once(text: str) -> None:
    start = time.process_time()
    with pytest.raises(TooBig):
        canonical(parse(text))
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "text", ["", "(", "1+", "3 4", "x2", "\\frac{1}", "\\foo", "1/*2", "(1]", "\\sqrt", "()", "(" * 300 + "1" + ")" * 300, "."]
)
def test_what_is_not_a_formula(text: str) -> None:
    with pytest.raises(Unreadable):
        parse(text)


def test_real_values() -> None:
    assert real_value(parse("\\frac{\\pi}{2}")) == pytest.approx(1.5707963)
    assert real_value(parse("x")) is None
    assert real_value(parse("1+i")) is None
    assert real_value(parse("\\frac{1}{0}")) is None
