"""Quotients of polynomials with exact coefficients: the arithmetic of canonical forms.

A monomial is a sorted tuple of (atom, exponent) pairs, a polynomial a dict from monomial to Fraction. Atoms are strings:
letters, `pi`, `e`, `i`, primes (`#2`, with an exponent between 0 and 1, from roots), and functions of canonical forms.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction

Monomial = tuple[tuple[str, Fraction], ...]
Polynomial = dict[Monomial, Fraction]

MAX_BITS = 4096
"""Largest number that is computed, in bits."""
MAX_TERMS = 100
"""Most terms of an expanded product."""
MAX_KEY = 120
"""Longest key of a form, in characters; longer ones are hashed, because in nested functions they grow with every level."""
ONE = Fraction(1)


class TooBig(ValueError):
    """The formula asks for an absurdly large number or expansion: 9^{9^9}, 1000000!, (a+b)^{999}."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A quotient of two polynomials; the denominator is 1 or has several terms."""

    over: Polynomial
    under: Polynomial

    @property
    def rational(self) -> Fraction | None:
        """The value, if it is a rational number; else None."""
        if not self.over:
            return Fraction(0)
        if len(self.over) == 1 and () in self.over and self.under == {(): 1}:
            return self.over[()]
        return None

    def key(self) -> str:
        """A text that is equal for equal forms."""
        shown = f"({_show(self.over)})/({_show(self.under)})"
        return shown if len(shown) <= MAX_KEY else hashlib.blake2b(shown.encode(), digest_size=24).hexdigest()


def _show(polynomial: Polynomial) -> str:
    return "+".join(
        sorted("*".join([str(value), *(f"{a}^{x}" for a, x in monomial)]) for monomial, value in polynomial.items())
    )


def same(a: Ratio, b: Ratio) -> bool:
    """Whether two forms are equal as quotients of polynomials. Errors: `TooBig`."""
    if a.under == b.under:
        return a.over == b.over
    return _multiply(a.over, b.under) == _multiply(b.over, a.under)


def number(value: Fraction) -> Ratio:
    return Ratio({(): value} if value else {}, {(): ONE})


def atom(name: str, exponent: Fraction = ONE) -> Ratio:
    return Ratio({((name, exponent),): ONE}, {(): ONE})


def plus(a: Ratio, b: Ratio) -> Ratio:
    if a.under == b.under:
        return reduced(_sum(a.over, b.over), a.under)
    return reduced(_sum(_multiply(a.over, b.under), _multiply(b.over, a.under)), _multiply(a.under, b.under))


def times(a: Ratio, b: Ratio) -> Ratio:
    if a.over == b.under:
        return Ratio(b.over, a.under)
    if b.over == a.under:
        return Ratio(a.over, b.under)
    return reduced(_multiply(a.over, b.over), _multiply(a.under, b.under))


def inverse(a: Ratio) -> Ratio:
    if not a.over:
        raise ZeroDivisionError("a division by zero")
    return reduced(a.under, a.over)


def reduced(over: Polynomial, under: Polynomial) -> Ratio:
    """The quotient, normalised: a denominator of one term moves to the numerator; else its first coefficient becomes 1."""
    if not over:
        return Ratio({}, {(): ONE})
    if over == under:
        return Ratio({(): ONE}, {(): ONE})
    first, value = min(under.items())
    if len(under) == 1:
        back = {raised(first, Fraction(-1)): 1 / value}
        return Ratio(_multiply(over, back), {(): ONE})
    if value != 1:
        over, under = ({monomial: each / value for monomial, each in p.items()} for p in (over, under))
    return Ratio(over, under)


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    total = dict(a)
    for monomial, value in b.items():
        new = total.get(monomial, 0) + value
        if new:
            total[monomial] = new
        else:
            total.pop(monomial, None)
    return total


def _multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > 12 * MAX_TERMS:
        raise TooBig(f"a product of {len(a)} by {len(b)} terms")
    product: Polynomial = {}
    for left, x in a.items():
        for right, y in b.items():
            monomial, value = joined(left, right, _small(x * y))
            new = product.get(monomial, 0) + value
            if new:
                product[monomial] = new
            else:
                product.pop(monomial, None)
    if len(product) > MAX_TERMS:
        raise TooBig(f"a sum of {len(product)} terms")
    return product


def _small(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > 2 * MAX_BITS:
        raise TooBig("a number of thousands of digits")
    return value


def raised(monomial: Monomial, exponent: Fraction) -> Monomial:
    return tuple((atom, each * exponent) for atom, each in monomial)


def joined(left: Monomial, right: Monomial, value: Fraction) -> tuple[Monomial, Fraction]:
    """The product of two monomials and a number, with integer powers of primes and of i moved into the number."""
    if not left and not right:
        return (), value
    exponents = dict(left)
    for atom, exponent in right:
        exponents[atom] = exponents.get(atom, Fraction(0)) + exponent
    for atom, exponent in list(exponents.items()):
        if atom[0] == "#":
            whole = math.floor(exponent)
            value *= Fraction(int(atom[1:])) ** whole
            exponents[atom] = exponent - whole
        elif atom == "i" and exponent.denominator == 1:
            turns = int(exponent) % 4
            value *= -1 if turns in (2, 3) else 1
            exponents[atom] = Fraction(turns % 2)
        if not exponents[atom]:
            del exponents[atom]
    return tuple(sorted(exponents.items())), value
