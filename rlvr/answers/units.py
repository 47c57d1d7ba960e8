"""Units of quantities: splitting them off, and one name for synonyms."""

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
    "am": "a.m.",
    "pm": "p.m.",
}
_COMPOUND = {"mi per h": "mph", "km per h": "kmh", "kph": "kmh"}
_CANONICAL = {name: unit for unit, names in _SYNONYMS.items() for name in [unit, *names.split()]}
_TEXT = r"\\(?:text|mbox|mathrm|textrm|textnormal|operatorname|rm)\s*\{\s*([^{}]*?)\s*\}"
_BEHIND_TEXT = re.compile(rf"(.*\S)\s*{_TEXT}\s*(?:\^\s*\{{?\s*(\d)\s*\}}?)?\s*", re.DOTALL)
_BEHIND_WORDS = re.compile(
    r"(.*[\d)}])\s*([A-Za-z][a-z]+(?:[ /-][A-Za-z][a-z]*){0,3})\s*\.?\s*(?:\^\s*\{?\s*(\d)\s*\}?)?\s*", re.DOTALL
)
_BEHIND_SIGN = re.compile(
    r"(.*[^\s\\])\s*(\\?%|\^\s*\{?\s*\\circ\s*\}?|\u00b0)\s*([CF]\b)?\s*"
    r"|(.*\d)\s*(\u20ac|\u00a3|\u00a5)",
    re.DOTALL,
)
_MODULO = re.compile(
    r"(.*\S)\s*(?:\\pmod\s*\{?|\(\s*(?:\\mod\s*\{?|\\(?:text|mathrm)\s*\{\s*mod\s*\}))\s*(\d{1,6})\s*\}?\s*\)?", re.DOTALL
)
_BEFORE = re.compile(r"(-?)\s*(\\?\$|\u20ac|\u00a3|\u00a5)\s*(?=[\d.\\(])(.*)", re.DOTALL)
_FUNCTION = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)")
_NO_UNITS = {
    "and", "or", "not", "is", "to", "if", "where", "for", "mod", "than", "pi", "sqrt", "sin", "cos", "tan", "log", "ln", "oo",
    "infty", "union", "frac", "times", "no", "about", "less", "more", "exp", "abc", "xyz",
    "least", "most", "plus", "minus", "negative", "squared", "cubed", "factorial", "except", "because", "maybe", "but",
    "either", "neither", "nor", "half", "halves", "thirds", "fourths", "fifths", "sixths", "sevenths", "eighths", "ninths",
    "tenths", "hundredths", "thousandths", "modulo", "divided", "over", "point", "unless", "between", "percentile", "power",
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty",
    "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "wrong", "incorrect", "false", "unknown", "then",
}  # fmt: skip
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
           "hundreds": 100, "thousands": 10**3, "millions": 10**6, "billions": 10**9}  # fmt: skip
_LETTERS, _VOWELS = set("abcdhkmnpqrstuvwxyz"), set("aeiou")


def split_unit(text: str) -> tuple[str, str | None]:
    """The quantity without its unit, and the canonical name of the unit, or None."""
    before = _BEFORE.fullmatch(text)
    if before:
        currency = _CANONICAL[before[2].removeprefix("\\")]
        amount, unit = split_unit(before[3])  # the million of $2.5 million
        return before[1] + (amount if unit in (None, currency) else before[3]), currency
    sign = _BEHIND_SIGN.fullmatch(text)
    if sign and sign[5]:
        return sign[4], _CANONICAL[sign[5]]
    if sign and ("%" in sign[2] or not _FUNCTION.search(sign[1])):  # \\sin 30^\\circ is a number
        return sign[1], "percent" if "%" in sign[2] else f"degree {sign[3]}" if sign[3] else "degree"
    modulo = _MODULO.fullmatch(text)
    if modulo:
        return modulo[1], f"mod {modulo[2]}"
    for pattern in (_BEHIND_TEXT, _BEHIND_WORDS):
        match = pattern.fullmatch(text)
        if match:
            words, _, power = match[2].partition("^")
            if words.strip() and _may_be_unit(words, behind=None if pattern is _BEHIND_TEXT else text[len(match[1])]):
                return _scaled(match[1], words, match[3] or power.strip("{} "))
    return text, None


def _scaled(body: str, words: str, power: str) -> tuple[str, str | None]:
    """5 million dollars: the million belongs to the number."""
    times, rest = 1, words.split()
    while rest and rest[0].lower() in _SCALES:
        times *= _SCALES[rest.pop(0).lower()]
    if times == 1:
        return body, unit_name(words, power)
    return f"({body}) \\cdot {times}", unit_name(" ".join(rest), power) if rest else None


def _may_be_unit(words: str, *, behind: str | None) -> bool:
    """`behind`: the character after the number; None if the words are marked as text."""
    parts = re.split(r"[\s/-]+", words.strip().lower())
    if all(part in _CANONICAL for part in parts):
        return True
    if any(part in _NO_UNITS or (part and not part.strip(".").isalpha()) for part in parts):
        return False
    if behind is None:
        return len(words) > 1
    if not behind.isspace() and len(words) <= 4 and set(words.lower()) <= _LETTERS:  # 5abc is a product
        return False
    return len(words) > 3 or (len(words) == 3 and not _VOWELS.isdisjoint(words.lower()))


def unit_name(words: str, power: str | None = None) -> str:
    """The canonical name of a unit: `square inches`, `in^2` and `sq. in.` are the same."""
    parts = [part.strip(".") for part in words.strip().lower().replace("/", " per ").split()]
    for square, exponent in (("square", "2"), ("sq", "2"), ("cubic", "3"), ("cu", "3")):
        if square in parts:
            parts.remove(square)
            power = exponent
    named = [_CANONICAL.get(part) or _CANONICAL.get(part.removesuffix("s")) or part.removesuffix("s") for part in parts]
    named = [_COMPOUND.get(" ".join(named), " ".join(named))]
    return " ".join(named) + (f"^{power}" if power and power != "1" else "")
