"""Units behind a quantity, and when two are the same."""

from __future__ import annotations

import re

_SYNONYMS = {
    "degree": "degrees deg \u00b0",
    "percent": "% percents percentage pct",
    "dollar": "$ dollars usd bucks",
    "euro": "\u20ac euros eur",
    "pound sterling": "\u00a3 gbp",
    "yen": "\u00a5 jpy",
    "cent": "\u00a2 cents",
    "cm": "centimeter centimeters centimetre centimetres",
    "mm": "millimeter millimeters millimetre millimetres",
    "km": "kilometer kilometers kilometre kilometres kms",
    "m": "meter meters metre metres",
    "in": "inch inches",
    "ft": "foot feet",
    "yd": "yard yards",
    "mi": "mile miles",
    "g": "gram grams",
    "kg": "kilogram kilograms kilo kilos kgs",
    "mg": "milligram milligrams",
    "lb": "pound pounds lbs",
    "oz": "ounce ounces",
    "l": "liter liters litre litres",
    "ml": "milliliter milliliters millilitre millilitres",
    "s": "second seconds sec secs",
    "min": "minute minutes mins",
    "h": "hour hours hr hrs",
    "day": "days",
    "week": "weeks",
    "year": "years yr yrs",
    "mph": "miles-per-hour",
    "unit": "units",
}
_COMPOUND = {"mi per h": "mph", "km per h": "kmh", "kph": "kmh"}
_CANONICAL = {name: unit for unit, names in _SYNONYMS.items() for name in [unit, *names.split()]}
_SHORT = {name for name in _CANONICAL if name.isalpha() and len(name) == 2}
_TEXT = r"\\(?:text|mbox|mathrm|textrm|textnormal|operatorname|rm)\s*\{\s*([^{}]*?)\s*\}"
_BEHIND_TEXT = re.compile(rf"(.*\S)\s*{_TEXT}\s*(?:\^\s*\{{?\s*(\d)\s*\}}?)?\s*", re.DOTALL)
_BEHIND_WORDS = re.compile(
    r"(.*[\d)}])\s*([A-Za-z][a-z]+(?:[ /-][A-Za-z][a-z]*){0,3})\s*\.?\s*(?:\^\s*\{?\s*(\d)\s*\}?)?\s*", re.DOTALL
)
_BEHIND_SIGN = re.compile(r"(.*[^\s\\])\s*(\\?%|\^\s*\{?\s*\\circ\s*\}?|\u00b0)\s*(?:[CF]\b)?\s*", re.DOTALL)
_BEFORE = re.compile(r"(-?)\s*(\\?\$|\u20ac|\u00a3|\u00a5)\s*(?=[\d.\\(])(.*)", re.DOTALL)
_FUNCTION = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)")
_NO_UNITS = {
    "and", "or", "not", "is", "to", "if", "where", "for", "mod", "than", "pi", "sqrt", "sin", "cos", "tan", "log", "ln", "oo",
    "infty", "union", "frac", "times", "no", "about", "less", "more", "exp",
}  # fmt: skip


def split_unit(text: str) -> tuple[str, str | None]:
    """The quantity without its unit, and the unit's one name, or None where there is none."""
    before = _BEFORE.fullmatch(text)
    if before:
        return before[1] + before[3], _CANONICAL[before[2].removeprefix("\\")]
    sign = _BEHIND_SIGN.fullmatch(text)
    if sign and ("%" in sign[2] or not _FUNCTION.search(sign[1])):  # \\sin 30^\\circ is a number
        return sign[1], "percent" if "%" in sign[2] else "degree"
    for pattern in (_BEHIND_TEXT, _BEHIND_WORDS):
        match = pattern.fullmatch(text)
        if match:
            words, _, power = match[2].partition("^")
            if words.strip() and _may_be_unit(words, written_as_text=pattern is _BEHIND_TEXT):
                return match[1], unit_name(words, match[3] or power.strip("{} "))
    return text, None


def _may_be_unit(words: str, *, written_as_text: bool) -> bool:
    parts = re.split(r"[\s/-]+", words.strip().lower())
    if any(part in _NO_UNITS or (part and not part.strip(".").isalpha() and part not in _CANONICAL) for part in parts):
        return False
    if len(words) == 1:
        return words.lower() in _CANONICAL
    return written_as_text or len(words) > 2 or words.lower() in _SHORT


def unit_name(words: str, power: str | None = None) -> str:
    """One name for one unit: `square inches`, `in^2` and `sq. in.` are the same."""
    parts = [part.strip(".") for part in words.strip().lower().replace("/", " per ").split()]
    for square, exponent in (("square", "2"), ("sq", "2"), ("cubic", "3"), ("cu", "3")):
        if square in parts:
            parts.remove(square)
            power = exponent
    named = [_CANONICAL.get(part) or _CANONICAL.get(part.removesuffix("s")) or part.removesuffix("s") for part in parts]
    named = [_COMPOUND.get(" ".join(named), " ".join(named))]
    return " ".join(named) + (f"^{power}" if power and power != "1" else "")
