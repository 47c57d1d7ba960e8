"""Surface forms of the ground truths of MATH-500, as people and models write them, equal by construction.

A form keeps the value and changes the spelling: white space, `\\dfrac` or a slash, `\\left \\right`, dollar signs, units,
a full stop, `x =`, the order of sums, sets and lists, decimals, separators, full-width digits. Nothing here uses rlvr.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from random import Random

Forms = Iterator[tuple[str, str]]
"""Pairs of the change and the changed answer."""

FRACTION = re.compile(r"(-?)\\[dt]?frac\s*(?:\{(\d+)\}|(\d))\s*(?:\{(\d+)\}|(\d+))")
GROUPED = re.compile(r"\d{1,3}(?:,(?:\\!)?\s*\d{3})+")
WORDS = {2: "two", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}
FULL_WIDTH = str.maketrans("0123456789", "".join(chr(0xFF10 + digit) for digit in range(10)))
KINDS = [
    ("letter", re.compile(r"\\text\{\([A-E]\)\}")),
    ("word", re.compile(r"\\text\{[A-Za-z]+\}")),
    ("base", re.compile(r"\d+_\{?\d+\}?")),
    ("matrix", re.compile(r"\\begin\{pmatrix\}.*", re.DOTALL)),
    ("degrees", re.compile(r"\d+\^\\circ|.*\\text\{ degrees\}")),
    ("currency", re.compile(r"\\\$.*")),
    ("unit", re.compile(r".*\\(?:text|mbox)\{ ?\w+\}.*")),
    ("integer", re.compile(r"-?\d+|" + GROUPED.pattern)),
    ("decimal", re.compile(r"-?\d*\.\d+")),
    ("mixed", re.compile(r"\d+\s*\\frac\{\d+\}\{\d+\}")),
    ("fraction", FRACTION),
    ("membership", re.compile(r"x \\in .*")),
    ("union", re.compile(r".*\\cup.*")),
    ("set", re.compile(r"\\\{.*\\\}")),
    ("interval", re.compile(r"(?:\\left)?[(\[].*(?:\]|\\infty\))|\(-(.*), \1\)")),
    ("tuple", re.compile(r"(?:\\left\s*)?\([^()]*,.*\)")),
    ("equation", re.compile(r".*=.*")),
    ("plus_minus", re.compile(r".*\\pm.*")),
    ("list", re.compile(r"[^(){}\\]*,.*")),
]


def kind_of(truth: str) -> str:
    """One of the names in `KINDS`, or `expression`."""
    return next((name for name, pattern in KINDS if pattern.fullmatch(truth)), "expression")


def value_of(truth: str) -> Fraction | None:
    """The rational number that a ground truth denotes, without its unit; None for everything else."""
    text = re.sub(r"\\(?:text|mbox)\{.*?\}(?:\^2)?|\^\\circ|\\\$|^x=", "", truth).strip()
    if kind_of(text) == "integer":
        return Fraction(re.sub(r"[^\d-]", "", text))
    if kind_of(text) == "decimal":
        return Fraction(text)
    if kind_of(text) == "mixed":
        whole, fraction = re.match(r"(\d+)(.*)", text).groups()  # type: ignore[union-attr]
        return Fraction(int(whole)) + (value_of(fraction.strip()) or 0)
    match = FRACTION.fullmatch(text)
    if match:
        value = Fraction(int(match[2] or match[3]), int(match[4] or match[5]))
        return -value if match[1] else value
    return None


def split(text: str, marks: str) -> list[str]:
    """Cut before every mark outside brackets that is no sign of a first term: `a - b` gives `["a ", "- b"]`."""
    parts, depth = [""], 0
    for at, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        after = text[:at].rstrip()[-1:]
        if char in marks and depth == 0 and parts[-1].strip() and after not in "^_*/=,({[" and text[at - 1] != "\\":
            parts.append("")
        parts[-1] += char
    return parts


def items(text: str) -> list[str]:
    """The entries of a list, tuple or set, without its brackets."""
    return [part.lstrip(",").strip() for part in split(text, ",")]


def rational(value: Fraction) -> Forms:
    """Ways to write a number."""
    sign, top, bottom = "-" if value < 0 else "", abs(value.numerator), value.denominator
    if bottom == 1:
        yield "plain", f"{sign}{top}"
        yield "point_zero", f"{sign}{top}.0"
        yield "reducible", f"{sign}\\frac{{{2 * top}}}{{2}}"
        if value < 0:
            yield "unicode_minus", f"\u2212{top}"
        if top >= 1000:
            for name, mark in (("comma", ","), ("braced_comma", "{,}"), ("tight_comma", ",\\!"), ("thin_space", "\\,")):
                yield f"thousands_{name}", f"{sign}{top:,}".replace(",", mark)
        return
    for name in ("frac", "dfrac", "tfrac"):
        yield name, f"{sign}\\{name}{{{top}}}{{{bottom}}}"
    yield "slash", f"{sign}{top}/{bottom}"
    yield "spaced", f"{sign} \\frac {{ {top} }} {{ {bottom} }}"
    yield "reducible", f"{sign}\\frac{{{2 * top}}}{{{2 * bottom}}}"
    if value < 0:
        yield "sign_inside", f"\\frac{{-{top}}}{{{bottom}}}"
    if top < 10 and bottom < 10:
        yield "no_braces", f"{sign}\\frac{top}{bottom}"
    if top > bottom:
        yield "mixed", f"{sign}{top // bottom}\\frac{{{top % bottom}}}{{{bottom}}}"
    if (10**8) % bottom == 0:
        text = f"{top * (10**8 // bottom):09d}"
        decimal = f"{text[:-8]}.{text[-8:]}".rstrip("0")
        yield "decimal", f"{sign}{decimal}"
        yield "decimal_zero", f"{sign}{decimal}0"


def measured(truth: str) -> Forms:
    """A number with a unit, a currency or degrees."""
    value, kind = value_of(truth), kind_of(truth)
    assert value is not None, truth
    words = re.search(r"\{ ?(\w+)\}", truth)
    power = "^2" if "^2" in truth else ""
    numbers = [form for form in rational(value) if form[0] in ("plain", "frac", "dfrac", "slash", "decimal", "thousands_comma")]
    for name, number in numbers:
        yield f"unit_dropped_{name}", number
        if kind == "degrees":
            for unit in ("^\\circ", "^{\\circ}", "\u00b0", "\\,^\\circ", "\\text{ degrees}", " degrees"):
                yield f"degrees_{name}", number + unit
        elif kind == "currency":
            money = number if value.denominator == 1 else f"{float(value):.2f}"
            for text in (f"\\${money}", f"\\$ {money}", f"{money}\\text{{ dollars}}", f"{money} dollars"):
                yield f"currency_{name}", text
        elif words:
            for form in ("\\text{{ {}}}", "\\mbox{{ {}}}", "\\,\\text{{{}}}", "\\ \\mathrm{{{}}}", " {}"):
                yield f"unit_{name}", number + form.format(words[1]) + power


def worded(truth: str) -> Forms:
    """A word, or the letter of a choice."""
    word = truth.removeprefix("\\text{").removesuffix("}")
    yield "bare", word
    if kind_of(truth) == "letter":
        yield from (
            ("letter", form) for form in (word[1], f"\\text{{{word[1]}}}", f"\\textbf{{{word}}}", f"\\mathrm{{{word}}}")
        )
        return
    for form in (
        word.capitalize(),
        f"\\text{{{word.upper()}}}",
        f"\\mathrm{{{word}}}",
        f"\\textbf{{{word}}}",
        f"\\text{{ {word} }}",
    ):
        yield "word", form


def structured(truth: str) -> Forms:
    """Tuples, intervals, unions, sets, lists: brackets, spaces and, where order is free, the order."""
    kind, text = kind_of(truth), re.sub(r"\\(?:left|right)(?![a-z])\s*", "", truth)
    slashed = re.sub(r"\\frac\{([^{}\\]*)\}\{([^{}\\]*)\}", r"\1/\2", text)
    yield "fractions", slashed if slashed != text else text.replace("\\frac", "\\dfrac")
    yield "tight", re.sub(r"(?<![a-zA-Z]) | (?![a-zA-Z])", "", text)
    yield "spaced", re.sub(r"\s*,\s*", " , ", text)
    sized = re.sub(r"(?<!\\)([(\[])", r"\\left\1", text)
    yield "sized", re.sub(r"(?<!\\)([)\]])", r"\\right\1", sized).replace("\\{", "\\left\\{").replace("\\}", "\\right\\}")
    if kind in ("interval", "union"):
        yield "membership", f"x \\in {text}"
    if kind == "membership":
        yield "bare", text.removeprefix("x \\in ")
    if kind == "union":
        left, right = text.split("\\cup")
        yield "order", f"{right.strip()} \\cup {left.strip()}"
    if kind == "set":
        yield "order", "\\{" + ", ".join(reversed(items(text[2:-2]))) + "\\}"
    if kind == "list":
        parts = items(text)
        yield "order", ", ".join(reversed(parts))
        yield "and", ", ".join(parts[:-1]) + " \\text{ and } " + parts[-1]
    rays = re.fullmatch(r"([(\[])(.*?),\s*(.*?)([)\]])", text) if kind in ("interval", "membership") else None
    if rays and "\\infty" in rays[2] + rays[3]:
        low = "x \\ge " if rays[1] == "[" else "x > "
        yield "inequality", low + rays[2] if "\\infty" in rays[3] else ("x \\le " if rays[4] == "]" else "x < ") + rays[3]


def matrices(truth: str) -> Forms:
    """Columns and matrices: brackets, spaces, fractions."""
    yield "brackets", truth.replace("pmatrix", "bmatrix")
    yield "tight", truth.replace(" ", "")
    yield "row_end", truth.replace(" \\end", " \\\\ \\end")
    columns = "c" * (truth.split("\\\\", maxsplit=1)[0].count("&") + 1)
    array = truth.replace("{pmatrix}", "{array}").replace("\\begin{array}", f"\\begin{{array}}{{{columns}}}")
    yield "array", f"\\left( {array} \\right)"
    yield "fractions", re.sub(r"(\d+)/(\d+)", r"\\frac{\1}{\2}", truth).replace("} \\\\ ", "}\\\\\n")


def equations(truth: str) -> Forms:
    left, right = (side.strip() for side in truth.split("="))
    yield "sides_swapped", f"{right} = {left}"
    yield "tight", truth.replace(" ", "")
    if value_of(right) is None:
        yield "to_one_side", f"{left} - ({right}) = 0"
    elif value_of(right):
        yield "value", right


def expressions(truth: str) -> Forms:
    """Sums, products, roots: order, signs of multiplication, spaces, fractions."""
    terms = [term.strip() for term in split(truth, "+-")]
    if len(terms) > 1:
        signed = [term if term[0] in "+-" else f"+ {term}" for term in reversed(terms)]
        yield "order", " ".join(signed).removeprefix("+").strip()
    yield "tight", re.sub(r" (?=[^a-zA-Z])|(?<=[^a-zA-Z]) ", "", truth)
    yield "spaced", "".join(f" {t[0]} {t[1:].strip()}" if t[0] in "+-" and at else t for at, t in enumerate(terms))
    dotted = re.sub(r"(\d)\s*(?=\\sqrt|\\pi|[a-zA-Z])(?![^{]*\\sqrt\[)", r"\1 \\cdot ", truth)
    if dotted != truth:
        yield "cdot", dotted
        yield "times", dotted.replace("\\cdot", "\\times")
        yield "star", dotted.replace(" \\cdot ", "*")
    yield "braces", re.sub(r"\^(\d)", r"^{\1}", re.sub(r"\\sqrt(\d)", r"\\sqrt{\1}", truth)).replace("\\frac", "\\dfrac")
    root = re.fullmatch(r"(\d+)\s*\\sqrt\{?(\d+)\}?", truth)
    if root:
        yield "root_of_all", f"\\sqrt{{{int(root[1]) ** 2 * int(root[2])}}}"
        yield "factor_behind", f"\\sqrt{{{root[2]}}} \\cdot {root[1]}"
    over = re.fullmatch(r"(-?)\\frac\{(.+)\}\{([^{}]+)\}", truth)
    if over:
        top = f"({over[2]})" if len(split(over[2], "+-")) > 1 else over[2]
        yield "slash", f"{over[1]}{top}/{over[3]}"
        yield "sign_inside", f"\\frac{{{over[1]}{over[2]}}}{{{over[3]}}}"
    if truth == "\\cot x":
        yield from (("trig", form) for form in ("\\cot(x)", "\\frac{\\cos x}{\\sin x}", "\\frac{1}{\\tan x}"))
    if truth == "(a+5)(b+2)":
        yield from (("factors", form) for form in ("(b+2)(a+5)", "ab + 2a + 5b + 10", "(a+5) \\cdot (b+2)"))


def plus_minus(truth: str) -> Forms:
    plus, minus = truth.replace("\\pm", "+"), truth.replace("\\pm", "-")
    yield "both", f"{plus}, {minus}"
    yield "both_swapped", f"{minus} \\text{{ and }} {plus}"
    yield "assigned", f"x = {truth}"
    yield "tight", truth.replace(" ", "")


def bases(truth: str) -> Forms:
    digits, base = truth.replace("{", "").replace("}", "").split("_")
    yield "braces", f"{digits}_{{{base}}}"
    yield "no_braces", f"{digits}_{base}"
    yield "brackets", f"({digits})_{{{base}}}"
    yield "word", f"{digits}_{{\\text{{{WORDS[int(base)]}}}}}"


REWRITES: dict[str, Callable[[str], Forms]] = {
    **dict.fromkeys(("degrees", "currency", "unit"), measured),
    **dict.fromkeys(("letter", "word"), worded),
    **dict.fromkeys(("tuple", "interval", "union", "set", "list", "membership"), structured),
    "base": bases, "matrix": matrices, "equation": equations, "plus_minus": plus_minus, "expression": expressions,
}  # fmt: skip


def plain_forms(truth: str) -> list[tuple[str, str]]:
    """Distinct spellings of a ground truth, and how each is made: `[("as_is", "\\frac{14}{3}"), ("slash", "14/3"), ...]`."""
    kind = kind_of(truth)
    value = value_of(truth) if kind in ("integer", "decimal", "fraction", "mixed") else None
    forms = [("as_is", truth), *(REWRITES[kind](truth) if value is None else rational(value))]
    return list({form: (name, form) for name, form in reversed(forms)}.values())[::-1]


def dressed(truth: str, form: str, rng: Random, *, odd: bool = False) -> tuple[str, str]:
    """The form as it is (half of the time), or decorated without changing its value.

    `odd`: always decorated as models do against all LaTeX conventions: a full stop inside the box, full-width digits.
    """
    kind = kind_of(truth)
    if odd:
        full_width = form.translate(FULL_WIDTH)
        choices = [("+full_stop", f"{form}.", 1), ("+full_width", full_width, 1)]
        return rng.choice(choices[: 1 if full_width == form or kind == "matrix" else 2])[:2]
    choices = [("", form, 50), ("+dollars", f"${form}$", 10), ("+thin_space", f"\\,{form}\\,", 8)]
    if kind not in ("letter", "word", "currency"):
        choices.append(("+displaystyle", f"\\displaystyle {form}", 8))
    letters = re.sub(r"\\[a-zA-Z]+", "", form)
    if kind in ("integer", "decimal", "fraction", "mixed", "expression") and not re.search("[a-hj-zA-Z]", letters):
        choices.append(("+assigned", f"{rng.choice('xnS')} = {form}", 12))
    return rng.choices([choice[:2] for choice in choices], [choice[2] for choice in choices])[0]


def equal_forms(truth: str, n: int, rng: Random, *, odd: bool = False) -> list[tuple[str, str]]:
    """At most `n` distinct forms; spellings are taken in a random order."""
    plain = [form for form in plain_forms(truth) if odd or form[0] != "unicode_minus"]
    rng.shuffle(plain)
    found: dict[str, tuple[str, str]] = {}
    for name, form in (plain * 4)[: 4 * n]:
        extra, answer = dressed(truth, form, rng, odd=odd)
        found.setdefault(answer, (name + extra, answer))
    return list(found.values())[:n]
