"""Wrong answers to MATH-500 that look right: the answer to a different problem, off by one, a different sign or bracket.

Each differs from the ground truth by construction: rational values are compared as fractions, structures change in one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from random import Random

from surface_forms import dressed, items, kind_of, rational, split, value_of

Wrong = Iterator[tuple[str, str]]
MAX_DENOMINATOR = 8  # of a ground truth whose rounded value is not tried


def numbers(truth: str) -> Wrong:
    """Near values of a rational number, with the unit of the ground truth or without."""
    value = value_of(truth)
    assert value is not None, truth
    near = {
        "one_more": value + 1,
        "one_less": value - 1,
        "opposite": -value,
        "times_ten": 10 * value,
        "half_more": value + Fraction(1, 2),
    }
    if value:
        near |= {"inverse": 1 / value, "square": value * value}
    digits = str(abs(value.numerator))
    near["digits_reversed"] = Fraction(int(digits[::-1]), value.denominator)
    if value.denominator > MAX_DENOMINATOR or value.denominator == 3:
        near["rounded"] = Fraction(round(float(value), 2)).limit_denominator(100)
    for name, other in near.items():
        if other != value and not ("." in truth and abs(other - value) < 1):
            form = dict(rational(other))
            yield name, form.get("decimal") or form.get("plain") or form["frac"]
            unit = re.search(r"\^\\circ|\s*\\(?:text|mbox)\{.*", truth)
            if unit and "frac" not in truth:
                yield f"{name}_in_unit", (form.get("plain") or form.get("decimal") or form["frac"]) + unit[0]


def words(truth: str) -> Wrong:
    word = truth.removeprefix("\\text{").removesuffix("}")
    if kind_of(truth) == "letter":
        other = "ABCDE"[("ABCDE".index(word[1]) + 1) % 5]
        yield from (("next_letter", f"\\text{{({other})}}"), ("next_letter", other), ("two_letters", f"{word[1]}{other}"))
        return
    yield from (("reversed", word[::-1]), ("cut", word[:-1]), ("longer", f"\\text{{{word}s}}"), ("not", f"not {word}"))
    yield "anagram", word[1:] + word[0]


def structures(truth: str) -> Wrong:
    """Tuples, intervals, unions, sets, lists."""
    kind, text = kind_of(truth), re.sub(r"\\(?:left|right)(?![a-z])\s*", "", truth)
    if kind in ("interval", "membership", "union"):
        for name, mark in (("open_left", "[("), ("close_left", "(["), ("open_right", "])"), ("close_right", ")]")):
            changed = re.sub(
                rf"\{mark[0]}(?!-\\infty)(?=[^\])]*$)" if "left" in name else rf"(?<!infty)\{mark[0]}$", mark[1], text
            )
            if changed != text:
                yield name, changed
    if kind == "union":
        yield "one_part", text.split("\\cup")[0].strip()
        yield "intersection", text.replace("\\cup", "\\cap")
    if kind in ("tuple", "interval"):
        inner = items(text[1:-1])
        yield "reversed", text[0] + ", ".join(reversed(inner)) + text[-1]
        yield "as_set", "\\{" + ", ".join(inner) + "\\}"
        yield "one_more_entry", text[:-1] + ", 17" + text[-1]
        yield "last_plus_one", f"{text[:-1]}+1{text[-1]}" if "infty" not in inner[-1] else f"({inner[0]}+1, \\infty)"
        if kind == "tuple":
            yield "square_brackets", f"[{text[1:-1]}]"
            yield "first_opposite", "(" + ", ".join([f"-({inner[0]})", *inner[1:]]) + ")"
    if kind in ("list", "set"):
        inner = items(text.removeprefix("\\{").removesuffix("\\}"))
        wrap = "\\{{{}\\}}" if kind == "set" else "{}"
        for name, parts in (
            ("dropped", inner[1:]),
            ("added", [*inner, "17"]),
            ("last_opposite", [*inner[:-1], f"-({inner[-1]})"]),
        ):
            yield name, wrap.format(", ".join(parts))
        if kind == "set":
            yield "as_tuple", f"({', '.join(inner)})"


def matrices(truth: str) -> Wrong:
    body = truth.split("}", 1)[1].rsplit("\\end", 1)[0].strip()
    first = re.match(r"-?\d+", body)
    assert first is not None, truth
    for name, number in (("one_more", int(first[0]) + 1), ("opposite", -int(first[0])), ("times_ten", int(first[0]) * 10)):
        yield name, truth.replace(body, f"{number}{body[first.end() :]}")
    if "&" not in body:
        yield "row", truth.replace("\\\\", "&")
        yield "last_dropped", truth.replace(body, body.rsplit("\\\\", 1)[0])
        yield "reversed", truth.replace(body, " \\\\ ".join(entry.strip() for entry in reversed(body.split("\\\\"))))


def relations(truth: str) -> Wrong:
    left, right = (side.strip() for side in truth.split("="))
    yield "one_more", f"{left} = {right} + 1"
    yield "left_plus_two", f"{left} + 2 = {right}"
    yield "less", f"{left} < {right}"
    value = value_of(right)
    if value:
        yield from (("opposite", f"{left} = {-value}"), ("chain", f"{left} = {value - 1} = {value}"), ("value", f"{value + 1}"))


def expressions(truth: str) -> Wrong:
    """Irrational constants and polynomials, none of which is 0."""
    yield "plus_one", f"{truth} + 1"
    terms = [term.strip() for term in split(truth, "+-")]
    yield "opposite", f"-({truth})" if len(terms) > 1 else f"-{truth}".removeprefix("--")
    if len(terms) > 1:
        yield "last_dropped", " ".join(terms[:-1])
        flipped = ("+" if terms[-1][0] == "-" else "-") + terms[-1][1:]
        yield "last_sign", " ".join([*terms[:-1], flipped])
    yield "doubled", f"2({truth})" if len(terms) > 1 else f"2 \\cdot {truth}".replace("\\cdot -", "\\cdot (-1) \\cdot ")
    if re.search(r"\\sqrt\{\d+\}", truth):
        yield "other_root", re.sub(r"\\sqrt\{(\d+)\}", lambda match: f"\\sqrt{{{int(match[1]) + 1}}}", truth)
        yield "root_lost", re.sub(r"\\sqrt\{(\d+)\}", r"(\1)", truth)
    letter = re.search(r"(?<![a-zA-Z\\])[a-hj-zA-Z](?![a-zA-Z])", truth)
    if letter:
        yield "other_letter", re.sub(rf"(?<![a-zA-Z\\]){letter[0]}(?![a-zA-Z])", "w", truth)


def plus_minus(truth: str) -> Wrong:
    yield "plus_only", truth.replace("\\pm", "+")
    yield "minus_only", truth.replace("\\pm", "-")
    yield "first_opposite", f"-{truth}"
    yield "first_lost", truth[truth.index("\\pm") :]


def bases(truth: str) -> Wrong:
    digits, base = truth.replace("{", "").replace("}", "").split("_")
    yield "other_base", f"{digits}_{{{int(base) + 1}}}"
    yield "glued", digits + base
    yield "reversed", f"{digits[::-1]}_{base}"
    yield "opposite", f"-{digits}_{base}"


CHANGES: dict[str, Callable[[str], Wrong]] = {
    **dict.fromkeys(("degrees", "currency", "unit", "integer", "decimal", "fraction", "mixed"), numbers),
    **dict.fromkeys(("letter", "word"), words),
    **dict.fromkeys(("tuple", "interval", "union", "set", "list", "membership"), structures),
    "base": bases, "matrix": matrices, "equation": relations, "plus_minus": plus_minus, "expression": expressions,
}  # fmt: skip
ALIKE = [{"plus_minus", "list", "set"}, {"interval", "membership", "tuple", "union"}]


def certainly_differ(one: str, other: str) -> bool:
    """Whether two ground truths differ for certain: as rational numbers, or as two kinds that are never equal."""
    values = value_of(one), value_of(other)
    if values[0] is not None and values[1] is not None:
        return values[0] != values[1] and abs(values[0] - values[1]) >= Fraction(1, 10)
    if "base" in (kind_of(one), kind_of(other)):
        return False
    kinds = {kind_of(one) if values[0] is None else "number", kind_of(other) if values[1] is None else "number"}
    return len(kinds) == 2 and not any(kinds <= alike for alike in ALIKE)


def wrong_forms(truth: str, n: int, others: list[str], rng: Random, *, odd: bool = False) -> list[tuple[str, str]]:
    """At most `n` distinct wrong answers, about a third of them ground truths of other problems."""
    near = list(CHANGES[kind_of(truth)](truth))
    rng.shuffle(near)
    other = [("other_problem", each) for each in rng.sample(others, 4 * n) if certainly_differ(truth, each)][: max(1, n // 3)]
    found = {answer: name for name, answer in [*other, *near] if answer != truth}
    chosen = [(name, *dressed(answer, answer, rng, odd=odd)) for answer, name in list(found.items())[:n]]
    return [(name + extra, answer) for name, extra, answer in chosen]
