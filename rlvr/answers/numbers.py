"""Exact parsing of numbers as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

from rlvr.answers.normalise import normalise

MAX_CHARS = 200
"""Longest text that is read as a number, so that no input makes the arithmetic slow."""
MAX_EXPONENT = 300
"""Largest power of ten in scientific notation."""

_PLAIN = re.compile(r"-?\d{1,18}")
THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\!,|\\[,!])\s*(?=\d{3}(?!\d))")  # separators in LaTeX
_SPACED = re.compile(r"\d{1,3}(?: \d{3})+(?![\d/])")
_LATEX_FRACTION = re.compile(r"(-?)\s*(\d*)\s*\\[dtc]?frac\s*(?:\{\s*([^{}]+?)\s*\}|(\d))\s*(?:\{\s*([^{}]+?)\s*\}|(\d))")
_MIXED = re.compile(r"(-?)\s*(\d+)\s+(\d+)\s*/\s*(\d+)")
_SCIENTIFIC = re.compile(
    r"(.+?)\s*(?:(?:\\times|\\cdot|\*|x|\u00d7)\s*10\s*\^\s*(?:\{\s*([+-]?\d+)\s*\}|([+-]?\d+))|[eE]([+-]?\d+))"
)
_REPEATING = re.compile(r"([+-]?)(\d*)\.(\d*)\\(?:overline|bar)\s*\{\s*(\d+)\s*\}")
_INTEGER = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_DECIMAL = re.compile(rf"([+-]?)\s*({_INTEGER})?(?:\.(\d*))?")


def parse_number(text: str) -> Fraction | None:
    """The exact value of an integer, decimal, fraction, mixed number or number in scientific notation, or None.

    Thousands separators, a currency sign, a percent sign (read as a unit), `\\frac`, LaTeX spacing and a final full stop
    are understood; anything else is not a number, so that `x=1=5`, `12 cm` or `3 4` never equal one.
    """
    if _PLAIN.fullmatch(text):
        return Fraction(int(text))
    text = normalise(text)
    if not text or len(text) > MAX_CHARS:
        return None
    text = _SPACED.sub(lambda match: match[0].replace(" ", ","), THOUSANDS.sub(",", text))
    text = text.replace("\\$", "$").replace("\\%", "%")
    text = text.removeprefix("\\(").removesuffix("\\)").strip("$ ").rstrip(".").rstrip("% ").strip()
    text = re.sub(r"^([+-]?)\s*[$\u20ac\u00a3\u00a5]\s*", r"\1", text)
    latex = _LATEX_FRACTION.fullmatch(text)
    if latex:
        sign, whole, top, top_digit, bottom, bottom_digit = latex.groups()
        return _mixed(sign, whole, top or top_digit, bottom or bottom_digit)
    mixed = _MIXED.fullmatch(text)
    if mixed:
        return _mixed(*mixed.groups())
    if text.count("/") == 1:
        return _divide(*text.split("/"))
    return _decimal(text) if "\\" not in text and "e" not in text.lower() and "^" not in text else _special(text)


def _special(text: str) -> Fraction | None:
    repeating = _REPEATING.fullmatch(text)
    if repeating:
        sign, whole, once, again = repeating.groups()
        value = Fraction(int(whole + once + again or "0") - int(whole + once or "0"), (10 ** len(again) - 1) * 10 ** len(once))
        return -value if sign == "-" else value
    scientific = _SCIENTIFIC.fullmatch(text)
    if not scientific:
        return None
    mantissa, power = _decimal(scientific[1]), int(scientific[2] or scientific[3] or scientific[4])
    return None if mantissa is None or abs(power) > MAX_EXPONENT else mantissa * Fraction(10) ** power


def _mixed(sign: str, whole: str, top: str, bottom: str) -> Fraction | None:
    value = _divide(top, bottom)
    if value is None or (whole and not 0 <= value < 1):  # 3\frac{-1}{2}, 2\frac{5}{2}: a product, if anything
        return None
    value += int(whole or 0)
    return -value if sign else value


def _divide(top: str, bottom: str) -> Fraction | None:
    numerator, denominator = _decimal(top.strip()), _decimal(bottom.strip())
    return numerator / denominator if numerator is not None and denominator else None


def _decimal(text: str) -> Fraction | None:
    match = _DECIMAL.fullmatch(text)
    if not match or not (match[2] or match[3]):
        return None
    sign, whole, decimals = match[1], (match[2] or "0").replace(",", ""), match[3] or ""
    value = Fraction(int(whole + decimals), 10 ** len(decimals))
    return -value if sign == "-" else value


def decimals_of(text: str) -> int:
    """Number of decimals of a plain decimal; 0 for anything else."""
    match = re.search(r"\.(\d+)[%$\s}.]*$", text)
    return len(match[1]) if match else 0
