"""Numerical refutation of equality.

Every letter gets fixed values, and both formulas are computed in floating point with a bound on the error; if they differ by
more than the bounds, they are different. Agreement proves nothing: that is left to `rlvr.answers.symbolic`.
"""

from __future__ import annotations

import cmath
import hashlib
import math
from collections.abc import Callable
from fractions import Fraction

from rlvr.answers.expression import Tree

_EPSILON = 2.0**-50
_SLACK = 1e3
"""Safety factor: error bounds are first order, so differences below this many of them prove nothing."""

_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "log": cmath.log, "sinh": cmath.sinh, "cosh": cmath.cosh,
    "tanh": cmath.tanh, "arcsin": cmath.asin, "arccos": cmath.acos, "arctan": cmath.atan,
    "cot": lambda z: 1 / cmath.tan(z), "sec": lambda z: 1 / cmath.cos(z), "csc": lambda z: 1 / cmath.sin(z),
    "floor": lambda z: complex(math.floor(z.real)), "ceiling": lambda z: complex(math.ceil(z.real)),
    "abs": lambda z: complex(abs(z)), "factorial": lambda z: complex(math.gamma(z.real + 1)),
}  # fmt: skip
_CONSTANTS = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}


class NoValue(ArithmeticError):
    """The formula has no value here, or none that floating point can represent."""


def differ(a: Tree, b: Tree) -> bool:
    """True: the two certainly differ at some point. False: no such point was found."""
    for point in (0, 1, 2):
        try:
            (x, x_error), (y, y_error) = _value(a, point), _value(b, point)
        except (ArithmeticError, ValueError):  # cmath: out of range or domain
            continue
        if abs(x - y) > _SLACK * (x_error + y_error):
            return True
    return False


def _letter(name: str, point: int) -> float:
    """The value of a letter, fixed by its name; positive at two of the points, where roots and logarithms are real."""
    share = int.from_bytes(hashlib.blake2b(f"{name} {point}".encode(), digest_size=6).digest()) / 2**48
    return (0.4 + 2.2 * share) * (-1 if point == 2 else 1)


def _value(tree: Tree, point: int) -> tuple[complex, float]:
    """Value and a bound on its error."""
    kind = tree[0]
    if kind == "num":
        value = complex(tree[1].numerator / tree[1].denominator)
        return value, abs(value) * _EPSILON
    if kind == "sym":
        return complex(_letter(tree[1], point)), _EPSILON
    if kind == "const":
        if tree[1] not in _CONSTANTS:
            raise NoValue(tree[1])
        return _CONSTANTS[tree[1]], _EPSILON
    parts = [_value(each, point) for each in tree[1 if kind != "fn" else 2 :]]
    if kind == "add":
        total = sum(value for value, _ in parts)
        return _checked(total, sum(error for _, error in parts) + abs(total) * _EPSILON)
    if kind == "mul":
        product, error = 1 + 0j, 0.0
        for value, its in parts:
            product, error = product * value, abs(product) * its + abs(value) * error
        return _checked(product, error + abs(product) * _EPSILON * len(parts))
    if kind == "root":
        (degree, _), (inside, error) = parts
        odd = degree.real % 2 == 1 and not degree.imag
        base = -inside if odd and inside.real < 0 and not inside.imag else inside
        value = base ** (1 / degree) * (-1 if base is not inside else 1) if inside else 0j
        return _checked(value, abs(value) * (error / abs(inside) if inside else 0.0) + 4 * _EPSILON * abs(value) + 1e-300)
    if kind == "pow":
        return _power(*parts)
    return _function(tree[1], parts)


def _power(base: tuple[complex, float], exponent: tuple[complex, float]) -> tuple[complex, float]:
    (x, x_error), (n, n_error) = base, exponent
    if not x:
        if n.real <= 0:
            raise NoValue("a power of zero")
        return 0j, 0.0
    value = x**n
    return _checked(value, abs(value) * (abs(n) * x_error / abs(x) + abs(cmath.log(x)) * n_error + 4 * _EPSILON))


def _function(name: str, parts: list[tuple[complex, float]]) -> tuple[complex, float]:
    if name == "binomial":
        raise NoValue(name)
    x, x_error = parts[0]
    if name == "factorial" and (x.imag or x.real < 0 or x.real > 100):
        raise NoValue(name)
    value = _FUNCTIONS[name](x)
    if name in ("floor", "ceiling") and abs(x.real - round(x.real)) < 1e-9:
        raise NoValue("a step")
    step = max(abs(x), 1.0) * 1e-7
    slope = abs(_FUNCTIONS[name](x + step) - value) / step if name not in ("floor", "ceiling") else 0.0
    return _checked(value, slope * x_error + (abs(value) + 1) * 4 * _EPSILON)


def _checked(value: complex, error: float) -> tuple[complex, float]:
    if not (cmath.isfinite(value) and math.isfinite(error)):
        raise NoValue("out of range")
    return value, error


def rounds_to(tree: Tree, rounded: Fraction, decimals: int) -> bool:
    """Whether `rounded` is the formula's value, truncated or rounded to that many decimals."""
    value = real_value(tree)
    if value is None:
        return False
    last = 10.0**-decimals
    return abs(value - float(rounded)) <= 0.501 * last or 0 <= abs(value) - abs(float(rounded)) < last * (1 - 1e-9)


def real_value(tree: Tree) -> float | None:
    """The value of a formula without letters, if it is real; else None."""
    try:
        value, error = _value(tree, 0)
        other, _ = _value(tree, 1)  # the same, if no letter is in it
    except (ArithmeticError, ValueError):
        return None
    return value.real if value == other and abs(value.imag) <= _SLACK * error else None
