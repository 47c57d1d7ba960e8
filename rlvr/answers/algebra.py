"""Exact canonical forms: quotients of polynomials over letters, constants, roots and functions.

A monomial is a sorted tuple of (atom, exponent) pairs, a polynomial a dict from monomial to Fraction. Atoms are strings:
letters, `pi`, `e`, `i`, primes (`#2`, with an exponent between 0 and 1: what is left of a root), and functions of canonical
forms. Two formulas with the same form are equal; two that are equal may still have different forms (identities of functions,
nested roots): that is for `rlvr.answers.numeric` and `rlvr.answers.symbolic` to find out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from rlvr.answers.expression import Tree

Monomial = tuple[tuple[str, Fraction], ...]
Polynomial = dict[Monomial, Fraction]

MAX_BITS = 4096
"""Largest number that is computed, in bits."""
MAX_TERMS = 100
"""Most terms that a product is expanded to."""
MAX_FACTORIAL = 400
_ONE = Fraction(1)


class TooBig(ValueError):
    """The formula asks for a number or an expansion that nobody needs: 9^{9^9}, 1000000!, (a+b)^{999}."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A quotient of two polynomials; the denominator is 1 or has several terms."""

    over: Polynomial
    under: Polynomial

    @property
    def rational(self) -> Fraction | None:
        """The value, where it is a rational number."""
        if not self.over:
            return Fraction(0)
        if len(self.over) == 1 and () in self.over and self.under == {(): 1}:
            return self.over[()]
        return None

    def key(self) -> str:
        """A text that is the same for the same form."""
        return f"{_show(self.over)}/{_show(self.under)}"


def _show(polynomial: Polynomial) -> str:
    return "+".join(
        sorted(f"{value}{monomial and [(a, str(x)) for a, x in monomial]}" for monomial, value in polynomial.items())
    )


def same(a: Ratio, b: Ratio) -> bool:
    """Are the two equal as quotients of polynomials? Errors: `TooBig`."""
    if a.under == b.under:
        return a.over == b.over
    return _multiply(a.over, b.under) == _multiply(b.over, a.under)


def canonical(tree: Tree) -> Ratio:
    """Errors: `TooBig`; `ZeroDivisionError`."""
    kind = tree[0]
    if kind == "num":
        return _number(tree[1])
    if kind == "sym":
        return _atom(tree[1])
    if kind == "const":
        return _atom({"pi": "pi", "e": "e", "i": "i", "oo": "oo"}[tree[1]])
    if kind == "add":
        total = canonical(tree[1])
        for term in tree[2:]:
            total = _plus(total, canonical(term))
        return total
    if kind == "mul":
        product = canonical(tree[1])
        for factor in tree[2:]:
            product = _times(product, canonical(factor))
        return product
    if kind == "pow":
        return _power(canonical(tree[1]), canonical(tree[2]))
    if kind == "root":
        return _root(canonical(tree[1]), canonical(tree[2]))
    return _function(tree[1], [canonical(each) for each in tree[2:]])


def _number(value: Fraction) -> Ratio:
    return Ratio({(): value} if value else {}, {(): _ONE})


def _atom(name: str, exponent: Fraction = _ONE) -> Ratio:
    return Ratio({((name, exponent),): _ONE}, {(): _ONE})


def _plus(a: Ratio, b: Ratio) -> Ratio:
    if a.under == b.under:
        return _reduced(_sum(a.over, b.over), a.under)
    return _reduced(_sum(_multiply(a.over, b.under), _multiply(b.over, a.under)), _multiply(a.under, b.under))


def _times(a: Ratio, b: Ratio) -> Ratio:
    if a.over == b.under:
        return Ratio(b.over, a.under)
    if b.over == a.under:
        return Ratio(a.over, b.under)
    return _reduced(_multiply(a.over, b.over), _multiply(a.under, b.under))


def _inverse(a: Ratio) -> Ratio:
    if not a.over:
        raise ZeroDivisionError("a division by zero")
    return _reduced(a.under, a.over)


def _reduced(over: Polynomial, under: Polynomial) -> Ratio:
    """A denominator of one term goes into the numerator; of several, its first coefficient becomes 1."""
    if not over:
        return Ratio({}, {(): _ONE})
    if over == under:
        return Ratio({(): _ONE}, {(): _ONE})
    first, value = min(under.items())
    if len(under) == 1:
        back = {_raised(first, Fraction(-1)): 1 / value}
        return Ratio(_multiply(over, back), {(): _ONE})
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
    if len(a) * len(b) > 20 * MAX_TERMS:
        raise TooBig(f"a product of {len(a)} by {len(b)} terms")
    product: Polynomial = {}
    for left, x in a.items():
        for right, y in b.items():
            monomial, value = _joined(left, right, _small(x * y))
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


def _raised(monomial: Monomial, exponent: Fraction) -> Monomial:
    return tuple((atom, each * exponent) for atom, each in monomial)


def _joined(left: Monomial, right: Monomial, value: Fraction) -> tuple[Monomial, Fraction]:
    """The product of two monomials and a number, with whole powers of primes and of i taken into the number."""
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


def _power(base: Ratio, exponent: Ratio) -> Ratio:
    by = exponent.rational
    if by is None:
        return _atom(f"({base.key()})^({exponent.key()})")
    if by.denominator != 1:
        return _root_of(base, by)
    n = int(by)
    if n < 0:
        base, n = _inverse(base), -n
    bits = max((v.numerator.bit_length() + v.denominator.bit_length() for v in base.over.values()), default=1)
    if n > 1 and (n > MAX_BITS or ((bits > 2 or len(base.over) > 1) and (bits - 1) * n > MAX_BITS)):
        raise TooBig(f"a power with exponent {n}")
    result, square = _number(_ONE), base
    while n:
        if n & 1:
            result = _times(result, square)
        n >>= 1
        if n:
            square = _times(square, square)
    return result


def _root(degree: Ratio, inside: Ratio) -> Ratio:
    by, value = degree.rational, inside.rational
    if by is None or by.denominator != 1 or by < 2:
        return _power(inside, _inverse(degree))
    if value is not None and value < 0 and by % 2:  # the real root, as \sqrt[3]{-8} is meant
        return _times(_number(Fraction(-1)), _root_of(_number(-value), 1 / by))
    return _root_of(inside, 1 / by)


def _root_of(inside: Ratio, exponent: Fraction) -> Ratio:
    """`inside` to a fractional power: numbers by their primes, single letters by their exponents; else an atom."""
    value = inside.rational
    if value is None:
        if inside.under == {(): 1} and len(inside.over) == 1:
            ((monomial, number),) = inside.over.items()
            if len(monomial) == 1 and monomial[0][1] == 1 and monomial[0][0] not in ("i", "oo") and number > 0:
                atom = Ratio({_raised(monomial, exponent): _ONE}, {(): _ONE})
                return _times(_root_of(_number(number), exponent), atom)
        return _atom(f"({inside.key()})^({exponent})")
    if value < 0:
        if exponent.denominator != 2:
            return _atom(f"({value})^({exponent})")
        return _times(_power(_atom("i"), _number(Fraction(exponent.numerator))), _root_of(_number(-value), exponent))
    if not value:
        return _number(Fraction(0))
    if exponent.numerator > 64 or exponent.denominator > 64:
        raise TooBig(f"a power with exponent {exponent}")
    result = _number(_ONE)
    for number, sign in ((value.numerator, 1), (value.denominator, -1)):
        for prime, count in _primes(number):
            monomial, factor = _joined(((f"#{prime}", sign * count * exponent),), (), _ONE)
            result = _times(result, Ratio({monomial: factor}, {(): _ONE}))
    return result


def _primes(number: int) -> list[tuple[int, int]]:
    """Prime factors with their counts; what has no factor below 2,000 is left whole (or as the square that it is)."""
    found = []
    for prime in range(2, 2000):
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
    return found


def _function(name: str, arguments: list[Ratio]) -> Ratio:
    values = [each.rational for each in arguments]
    first = values[0]
    if name == "factorial" and first is not None and first.denominator == 1 and first >= 0:
        if first > MAX_FACTORIAL:
            raise TooBig(f"{first}!")
        return _number(Fraction(math.factorial(int(first))))
    if name == "binomial" and None not in values and all(v is not None and v.denominator == 1 and v >= 0 for v in values):
        n, k = (int(v) for v in values if v is not None)
        if n > MAX_BITS:
            raise TooBig(f"a binomial coefficient of {n}")
        return _number(Fraction(math.comb(n, k)))
    if first is not None and name in ("floor", "ceiling", "abs"):
        return _number(Fraction({"floor": math.floor, "ceiling": math.ceil, "abs": abs}[name](first)))
    if name == "log" and first == 1:
        return _number(Fraction(0))
    return _atom(f"{name}({', '.join(each.key() for each in arguments)})")
