"""Exact canonical forms: quotients of polynomials over letters, constants, roots and functions.

Two formulas with the same form are equal. Two with different forms differ if they contain nothing but letters, `pi` and roots
of primes (`decides`); otherwise they may still be equal (identities of functions, nested roots): `rlvr.answers.numeric` and
`rlvr.answers.symbolic` decide.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache

from rlvr.answers.expression import INFINITY, Tree, has_infinity
from rlvr.answers.polynomials import MAX_BITS, ONE, Ratio, TooBig, atom, inverse, joined, number, plus, raised, times

MAX_FACTORIAL = 400
MAX_EXPANSION = 100
"""Largest sum of the exponents of powers of sums."""
_LARGEST_DIVISOR = 2000
_PLAIN = re.compile(r"[a-zA-Z]+(?:_\w+)?")
_SINES = {Fraction(0): (0, 1), Fraction(1, 6): (1, 1), Fraction(1, 4): (1, 2), Fraction(1, 3): (1, 3), Fraction(1, 2): (2, 1)}
"""Sines of multiples of pi, as pairs (a, b) that stand for a sqrt(b) / 2."""


def decides(form: Ratio) -> bool:
    """Whether equal values imply equal forms. True for polynomials in letters, at most one of pi and e, and roots of primes:
    such roots are linearly independent over the rationals (Besicovitch 1940), pi and e are transcendental."""
    if form.under != {(): 1}:
        return False
    atoms = {name for monomial in form.over for name, _ in monomial}
    primes = all(int(name[1:]) < _LARGEST_DIVISOR**2 for name in atoms if name[0] == "#")
    return primes and not {"pi", "e"} <= atoms and all(name[0] == "#" or _PLAIN.fullmatch(name) for name in atoms)


def canonical(tree: Tree) -> Ratio:
    """The canonical form of a formula. Errors: `TooBig`; `ZeroDivisionError`, also for infinity inside a formula."""
    if has_infinity(tree) and tree not in (INFINITY, ("mul", ("num", Fraction(-1)), INFINITY)):
        raise ZeroDivisionError("infinity is no number to compute with")
    if _expansion(tree) > MAX_EXPANSION:
        raise TooBig("an expansion of high powers of sums")
    return _canonical(tree)


def _expansion(tree: Tree) -> Fraction | int:
    """The sum of the exponents of powers of sums."""
    parts = [part for part in tree[1:] if isinstance(part, tuple)]
    raised_sum = tree[0] == "pow" and tree[2][0] == "num" and tree[1][0] not in ("num", "sym", "const")
    return sum(map(_expansion, parts)) + (max(abs(tree[2][1]) - 1, 0) if raised_sum else 0)


def _canonical(tree: Tree) -> Ratio:
    kind = tree[0]
    if kind == "num":
        return number(tree[1])
    if kind in ("sym", "const"):
        return atom(tree[1])
    parts = [_canonical(each) for each in tree[2 if kind == "fn" else 1 :]]
    if kind == "fn":
        return _function(tree[1], parts)
    if kind == "pow":
        return _power(*parts)
    if kind == "root":
        return _root(*parts)
    total = parts[0]
    for part in parts[1:]:
        total = plus(total, part) if kind == "add" else times(total, part)
    return total


def _power(base: Ratio, exponent: Ratio) -> Ratio:
    by = exponent.rational
    if by is None:
        return _rotation(base, exponent) or atom(f"({base.key()})^({exponent.key()})")
    if by.denominator != 1:
        return _root_of(base, by)
    n = int(by)
    if n < 0:
        base, n = inverse(base), -n
    bits = max((v.numerator.bit_length() + v.denominator.bit_length() for v in base.over.values()), default=1)
    if n > 1 and (n > MAX_BITS or ((bits > 2 or len(base.over) > 1) and (bits - 1) * n > MAX_BITS)):
        raise TooBig(f"a power with exponent {n}")
    result, square = number(ONE), base
    while n:
        if n & 1:
            result = times(result, square)
        n >>= 1
        if n:
            square = times(square, square)
    return result


def _root(degree: Ratio, inside: Ratio) -> Ratio:
    by, value = degree.rational, inside.rational
    if by is None or by.denominator != 1 or by < 2:
        return _power(inside, inverse(degree))
    if value is not None and value < 0 and by % 2:  # the real root, which is what \sqrt[3]{-8} means
        return times(number(Fraction(-1)), _root_of(number(-value), 1 / by))
    return _root_of(inside, 1 / by)


def _root_of(inside: Ratio, exponent: Fraction) -> Ratio:
    """`inside` to a fractional power: numbers by their primes, single letters by their exponents; else an atom."""
    value = inside.rational
    if value is None:
        if inside.under == {(): 1} and len(inside.over) == 1:
            ((monomial, factor),) = inside.over.items()
            if len(monomial) == 1 and monomial[0][1] == 1 and monomial[0][0] not in ("i", "oo") and factor > 0:
                letter = Ratio({raised(monomial, exponent): ONE}, {(): ONE})
                return times(_root_of(number(factor), exponent), letter)
        return atom(f"({inside.key()})^({exponent})")
    if value < 0:
        if exponent.denominator != 2:
            return atom(f"({value})^({exponent})")
        return times(_power(atom("i"), number(Fraction(exponent.numerator))), _root_of(number(-value), exponent))
    if not value:
        if exponent < 0:
            raise ZeroDivisionError("a division by zero")
        return number(Fraction(0))
    if exponent.numerator > 64 or exponent.denominator > 64:
        raise TooBig(f"a power with exponent {exponent}")
    result = number(ONE)
    for whole, sign in ((value.numerator, 1), (value.denominator, -1)):
        for prime, count in _primes(whole):
            monomial, factor = joined(((f"#{prime}", sign * count * exponent),), (), ONE)
            result = times(result, Ratio({monomial: factor}, {(): ONE}))
    return result


@lru_cache(maxsize=1024)
def _primes(number: int) -> tuple[tuple[int, int], ...]:
    """Prime factors with multiplicities; a cofactor without factors below 2,000 is left whole, or split if it is a square."""
    found = []
    for prime in range(2, _LARGEST_DIVISOR):
        if prime * prime > number:
            break
        count = 0
        while number % prime == 0:
            number, count = number // prime, count + 1
        if count:
            found.append((prime, count))
    if number > 1:
        root = math.isqrt(number)
        found.append((root, 2) if root * root == number else (number, 1))
    return tuple(found)


def _function(name: str, arguments: list[Ratio]) -> Ratio:
    values = [each.rational for each in arguments]
    first = values[0]
    if name == "factorial" and first is not None and first.denominator == 1:
        if first < 0:
            raise ZeroDivisionError("the factorial of a negative number")
        if first > MAX_FACTORIAL:
            raise TooBig(f"{first}!")
        return number(Fraction(math.factorial(int(first))))
    if name == "binomial" and None not in values and all(v is not None and v.denominator == 1 and v >= 0 for v in values):
        n, k = (int(v) for v in values if v is not None)
        if n > MAX_BITS:
            raise TooBig(f"a binomial coefficient of {n}")
        return number(Fraction(math.comb(n, k)))
    if first is not None and name in ("floor", "ceiling", "abs"):
        return number(Fraction({"floor": math.floor, "ceiling": math.ceil, "abs": abs}[name](first)))
    if name == "log" and first == 0:
        raise ZeroDivisionError("the logarithm of zero")
    known = _logarithm(arguments[0]) if name == "log" else _trigonometric(name, arguments[0])
    return known or atom(f"{name}({', '.join(each.key() for each in arguments)})")


def _logarithm(of: Ratio) -> Ratio | None:
    """The logarithm of a product of primes and powers of e, as a sum: log_2 8 becomes 3, log_e x the natural logarithm."""
    if of.under != {(): 1} or len(of.over) != 1:
        return None
    ((monomial, factor),) = of.over.items()
    if factor <= 0 or any(name != "e" and name[0] != "#" for name, _ in monomial):
        return None
    terms = [(name, exponent) for name, exponent in monomial]
    for whole, sign in ((factor.numerator, 1), (factor.denominator, -1)):
        terms += [(f"#{prime}", Fraction(sign * count)) for prime, count in _primes(whole)]
    total = number(Fraction(0))
    for name, times_ in terms:
        logarithm = number(ONE) if name == "e" else atom(f"log({name[1:]})")
        total = plus(total, times(number(times_), logarithm))
    return total


def _trigonometric(name: str, of: Ratio) -> Ratio | None:
    """The value for multiples of 30 and 45 degrees; None for other angles."""
    if name not in ("sin", "cos", "tan", "cot", "sec", "csc"):
        return None
    turns = Fraction(0) if not of.over else of.over.get(_PI) if len(of.over) == 1 and of.under == {(): 1} else None
    if turns is None:
        return None
    sine, cosine = _sine(turns), _sine(turns + Fraction(1, 2))
    if sine is None or cosine is None:
        return None
    over, under = {"sin": (sine, None), "cos": (cosine, None), "tan": (sine, cosine), "cot": (cosine, sine),
                   "sec": (number(ONE), cosine), "csc": (number(ONE), sine)}[name]  # fmt: skip
    return over if under is None else times(over, inverse(under))


def _rotation(base: Ratio, exponent: Ratio) -> Ratio | None:
    """e to the power of a known multiple of i pi; None for other powers."""
    if base != atom("e") or list(exponent.over) != [_I_PI] or exponent.under != {(): 1}:
        return None
    turns = exponent.over[_I_PI]
    sine, cosine = _sine(turns), _sine(turns + Fraction(1, 2))
    return plus(cosine, times(atom("i"), sine)) if sine is not None and cosine is not None else None


_I_PI = (("i", ONE), ("pi", ONE))
_PI = (("pi", ONE),)


def _sine(turns: Fraction) -> Ratio | None:
    """The sine of `turns` times pi, if it is in the table."""
    sign = 1 if turns % 2 < 1 else -1
    known = _SINES.get(min(turns % 1, 1 - turns % 1))
    return known and times(number(Fraction(sign * known[0], 2)), _root_of(number(Fraction(known[1])), Fraction(1, 2)))
