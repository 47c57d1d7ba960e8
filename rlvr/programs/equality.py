"""Whether two values, or two texts, are equal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

Whitespace = Literal["lines", "exact", "tokens"]


def same_value(value: Any, expected: Any, *, tolerance: float = 0.0) -> bool:
    """Strictly by type, since JSON says which is meant: a boolean is no number, a string no list.

    An integer may stand for a float (3 for 3.0) but not the other way round; a tuple equals a list; NaN equals NaN, and -0.0
    equals 0.0. `tolerance`: relative, where a float is expected.
    """
    if isinstance(expected, list | tuple):
        if type(value) not in (list, tuple) or len(value) != len(expected):
            return False
        return all(same_value(a, b, tolerance=tolerance) for a, b in zip(value, expected, strict=True))
    if isinstance(expected, Mapping):
        if not isinstance(value, dict) or value.keys() != expected.keys():
            return False
        return all(same_value(value[key], expected[key], tolerance=tolerance) for key in expected)
    if type(expected) is float and type(value) in (int, float):
        if math.isnan(expected):
            return type(value) is float and math.isnan(value)
        return value == expected or (tolerance > 0 and _close(value, expected, tolerance))
    return type(value) is type(expected) and value == expected


def _close(value: float, expected: float, tolerance: float) -> bool:
    try:
        return math.isclose(value, expected, rel_tol=tolerance)
    except OverflowError:  # an integer beyond all floats
        return False


def same_text(written: str, expected: str, whitespace: Whitespace) -> bool:
    """`exact`: every character counts. `lines`: except trailing blanks of lines, and empty lines at the end of the text.
    `tokens`: except the amount and kind of white space."""
    if whitespace == "exact":
        return written == expected
    if whitespace == "tokens":
        return written.split() == expected.split()
    return _lines(written) == _lines(expected)


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines
