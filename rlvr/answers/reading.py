"""Parses an answer: `read` turns a text into one of the nodes of `rlvr.answers.nodes`, and caches them."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from rlvr.answers.algebra import canonical
from rlvr.answers.expression import Unreadable, num, parse
from rlvr.answers.extract import boxes
from rlvr.answers.intervals import MINUS_INFINITY, PLUS_INFINITY, conjunction, merged, reals_without
from rlvr.answers.nodes import Bracketed, Collection, Equation, Label, Matrix, Node, Quantity, letter_of
from rlvr.answers.numbers import decimals_of, parse_number
from rlvr.answers.numeric import rounds_to
from rlvr.answers.relations import has_relation, relation
from rlvr.answers.splitting import clean, closing_at, split_top
from rlvr.answers.units import split_unit

MAX_CHARS = 1000
"""Longest answer that is read."""
MAX_ITEMS = 50
"""Most entries of a list, set, tuple or matrix."""


_MATRIX = re.compile(r"(.*?)[(\[]?\s*\\begin\{([pbB]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\2\}\s*[)\]]?", re.DOTALL)
_MEMBER = re.compile(r"([a-zA-Z](?:_\{?\w\}?)?|\\[a-z]+)\s*(?:\\in(?![a-z])|\u2208)\s*(.*)", re.DOTALL)
_BASED = re.compile(
    r"\(?\s*([0-9]+|(?=[A-F]*[0-9])[0-9A-F]+)\s*\)?\s*_\s*\{?\s*(?:\\(?:text|mathrm|mbox)\{\s*)?(\d{1,2}|[a-z]+)[\s}]*"
)
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12,
          "sixteen": 16}  # fmt: skip
_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf|textit|textrm|textnormal|operatorname)\s*\{([^{}]*)\}")
_CHOICE = re.compile(r"(?:(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s+)?\(?\s*([A-Z])\s*[).]?")
_CHOICE_FIRST = re.compile(  # (B) 12, \textbf{(B)}\ 12, B. 12
    r"(?:\\(?:text|textbf|mathbf|mathrm|textrm|mbox)\s*\{\s*(?:\(\s*([A-H])\s*\)|([A-H])[).:])\s*\}|\(\s*([A-H])\s*\)|([A-H])[).:](?=[\s~\\]))"
    r"[\s~.:]*(?:\\(?:quad|qquad|[ ,;:!])[\s~]*)*(?![()\s^_+*/=-])(.+)",
    re.DOTALL,
)
_CLOCK = re.compile(r"(\d{1,2}:\d{2}(?::\d{2})?)\s*([ap])\.?\s*m\.?", re.IGNORECASE)
_ROWS = re.compile(r"(.*?)\\begin\{(cases|aligned|align\*?|gathered)\}(.*)\\end\{\2\}", re.DOTALL)
_NUMERALS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_APPROXIMATELY = re.compile(r"\\approx(?![a-zA-Z])|\u2248")
_BOX_IN_WORDS = re.compile(
    r"(?:the\s+)?(?:final\s+)?(?:answer|result|solution)(?:\s+is)?\s*:?\s*\$?\s*(.*?)[\s.$]*", re.DOTALL | re.IGNORECASE
)
_PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![a-zA-Z])")
_REALS = ("all real numbers", "all reals", "the set of all real numbers", "all real")
_WORDS = re.compile(r"[^\W\d_]{2,}")
_LABEL = re.compile(r"[\w\s'.,:&/-]+")
_LETTERS = re.compile(r"\s*[A-Z](?:\s*(?:,|,?\s*\\?and|&)\s*[A-Z])+\s*")
_REALS_WITHOUT = re.compile(r"\(-\\infty,\\infty\)\s*(?:\\setminus|\\backslash|-)\s*(\\\{.*\\\})", re.DOTALL)
_BUILDER = re.compile(r"\\\{\s*[a-zA-Z]\s*(?:\\mid(?![a-zA-Z])|\||:)(.*[<>=].*)\\\}", re.DOTALL)
_QUOTES = "\"'`"
_COMMAS = (",", ";", "\\or", "\\and")
_GROUPS = re.compile(r"(\A[^,]*\d),(?=\d{3}(?!\d)[^,]*$)")  # 20,000\pi: the comma of thousands, where it is the only one
_PRODUCTS = set("abcdhkmnpqrstuvwxyz")


@lru_cache(maxsize=8192)
def read(text: str) -> Node:
    """What a text says. Errors: `Unreadable`, with the reason; `TooBig`."""
    if len(text) > MAX_CHARS:
        raise Unreadable(f"longer than {MAX_CHARS} characters")
    value = parse_number(text)
    if value is not None and not any(sign in text for sign in "%$\u20ac\u00a3\u00a5"):
        return _number(value, text)
    in_words = _BOX_IN_WORDS.fullmatch(text)
    return _read(clean(in_words[1] if in_words and boxes(text) else text), 0)


def is_choice(node: Node) -> bool:
    """Whether it is the letter of a choice."""
    letter = node.text if isinstance(node, Label) else letter_of(node)
    return letter is not None and len(letter) == 1 and letter.isupper()


def chosen(text: str, *, letter: bool) -> str:
    """Of a text with both, as (B) 12: the letter if `letter`, else the answer. Other texts are returned unchanged."""
    match = _CHOICE_FIRST.fullmatch(text)
    return text if not match else next(filter(None, match.groups())) if letter else match[5]


def label_of(text: str) -> str:
    """A text as it is compared as words: without case, LaTeX text commands, quotation marks, and brackets around one letter."""
    plain = " ".join(_TEXT.sub(r"\1", text).replace("$", "").replace("\\ ", " ").split()).strip(" .*")
    if plain[:1] in _QUOTES and plain[:1] == plain[-1:]:
        plain = plain[1:-1].strip(" .*")
    choice = _CHOICE.fullmatch(plain)
    return choice[1] if choice else plain.casefold()


def _number(value: Fraction, text: str, unit: str | None = None) -> Quantity:
    tree = num(value)
    return Quantity(tree, canonical(tree), unit, decimals_of(text))


def _read(text: str, depth: int) -> Node:
    if depth > 6:
        raise Unreadable("nested too deep")
    if not text:
        raise Unreadable("it is empty")
    inner = boxes(text)
    if len(inner) == 1 and re.fullmatch(r"\\f?box(?:ed)?\s*\{.*\}", text, re.DOTALL):
        return _read(clean(inner[0]), depth + 1)
    rows = _ROWS.fullmatch(text)
    if rows and not rows[1].strip():
        return _read(_one_row(rows[3]), depth + 1)
    matrix = _MATRIX.fullmatch(text)
    if matrix and "=" not in matrix[1]:
        return _matrix(matrix[1].strip(), matrix[3], depth)
    whole = _TEXT.fullmatch(text)
    if whole and (whole[1].lstrip(" (-.$\\")[:1].isdigit() or _LETTERS.fullmatch(whole[1])):
        return _read(clean(whole[1]), depth + 1)
    label = _label(text)
    if label:
        return label
    unions = split_top(text, ("\\cup",))
    if len(unions) > 1:
        return merged(_all(unions, depth))
    reals = _REALS_WITHOUT.fullmatch(text)
    without = reals_without(_read(reals[1], depth + 1)) if reals else None
    if without:
        return without
    builder = _BUILDER.fullmatch(text)
    if builder:
        return _read(builder[1].strip(), depth + 1)
    member = _MEMBER.fullmatch(text)
    if member:
        inside = _read(member[2].strip(), depth + 1)
        return Bracketed(inside.left, inside.right, inside.items, member[1]) if isinstance(inside, Bracketed) else inside
    if "," in text and parse_number(split_unit(text)[0]) is not None:  # 1,234 dollars
        return _quantity(text)
    clock = _CLOCK.fullmatch(_TEXT.sub(r"\1", text))
    if clock:
        return Bracketed(":", ":", _all(clock[1].split(":"), depth), f"{clock[2].lower()}m")
    approximate = _APPROXIMATELY.split(text)
    if len(approximate) == 2:
        return _approximate(*(_read(each.strip(), depth + 1) for each in approximate))
    listed = split_top(_GROUPS.sub(r"\1", text), _COMMAS)
    if len(listed) > 1 and closing_at(text) != len(text):
        nodes = _all(listed, depth)
        ranges = all(isinstance(node, Bracketed) and node.letter for node in nodes)
        between = conjunction(nodes) if ranges and "\\or" not in text else None
        return between or (merged(nodes) if ranges and "\\and" not in text else Collection(nodes))
    if has_relation(text):
        return relation(text, lambda side: _read(side, depth + 1))
    bracketed = _bracketed(text, depth)
    if bracketed:
        return bracketed
    if _PLUS_MINUS.search(text):
        signs = (("+", "-"), ("-", "+"))
        both = [text.replace("\\pm", plus).replace("\\mp", minus).replace("+ -", "-").lstrip("+ ") for plus, minus in signs]
        return Collection(_all(both, depth))
    return _quantity(text)


def _one_row(rows: str) -> str:
    """Equations in rows as a list; a row that begins with `=` continues the one above."""
    joined = re.sub(r"\\\\\s*&?\s*=", "=", rows)
    if re.search(r"(?<!=)&(?!\s*=)", joined):  # x & x > 0
        raise Unreadable("a definition by cases")
    return ",".join(filter(None, map(str.strip, joined.replace("&", "").split("\\\\"))))


def _all(texts: list[str], depth: int) -> tuple[Node, ...]:
    if len(texts) > MAX_ITEMS:
        raise Unreadable(f"more than {MAX_ITEMS} entries")
    nodes = [_read(each.strip(), depth + 1) for each in texts]
    return tuple(
        part for node in nodes for part in (node.items if isinstance(node, Collection) and not node.braces else (node,))
    )


def _matrix(factor: str, body: str, depth: int) -> Matrix:
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", body) if row.strip()]
    entries = [_all(row.split("&"), depth) for row in rows]
    if factor:
        times = parse(factor + "1" if factor in ("-", "+") else factor)
        if not all(isinstance(each, Quantity) for row in entries for each in row):
            raise Unreadable("a number times what is no number")
        trees = [[("mul", times, each.tree) for each in row if isinstance(each, Quantity)] for row in entries]
        entries = [tuple(Quantity(tree, canonical(tree)) for tree in row) for row in trees]
    return Matrix(tuple(entries))


def _label(text: str) -> Node | None:
    label = _words(text)
    if label and label.text in _REALS:
        return Bracketed("(", ")", (MINUS_INFINITY, PLUS_INFINITY))
    return _number(Fraction(_NUMERALS.index(label.text)), "") if label and label.text in _NUMERALS else label


def _words(text: str) -> Label | None:
    whole = _TEXT.fullmatch(text)
    if whole and not parse_number(whole[1]):
        return Label(label_of(text))
    plain = _TEXT.sub(r"\1", text)
    if not _LABEL.fullmatch(plain) or not _WORDS.search(plain) or plain[:1].isdigit() or "_" in plain:
        return None
    words = _WORDS.findall(plain)
    if re.search(r"[\d-]", plain) and max(map(len, words)) < 3:  # xy - 1 is a formula
        return None
    letters = len(words) == 1 and words[0] == plain and len(plain) <= 3 and set(plain) <= _PRODUCTS
    known = {"sqrt", "pi", "sin", "cos", "tan", "log", "ln", "exp", "infty", "oo"}
    return None if letters or known & set(words) else Label(label_of(text))


def _bracketed(text: str, depth: int) -> Node | None:
    if text.startswith("{") and closing_at(text) == len(text) and split_top(text[1:-1], _COMMAS)[1:]:
        return Collection(_all(split_top(text[1:-1], _COMMAS), depth), braces=True)  # a set whose backslashes were forgotten
    for opening in ("\\{", "(", "[", "]", "\\langle"):
        if not text.startswith(opening):
            continue
        if opening == "\\{":
            if closing_at(text) != len(text):
                return None
            inside = text[2:-2].strip()
            return Collection(_all(split_top(inside, _COMMAS), depth) if inside else (), braces=True)
        closing = next((c for c in (")", "]", "[", "\\rangle") if text.endswith(c)), "")
        if not closing or closing_at(text) != len(text):
            return None
        items = split_top(text[len(opening) : -len(closing)], (",", ";"))
        if len(items) == 1:
            return _read(items[0].strip(), depth + 1) if (opening, closing) == ("(", ")") and "," in items[0] else None
        left, right = {"]": "(", "\\langle": "("}.get(opening, opening), {"[": ")", "\\rangle": ")"}.get(closing, closing)
        nodes = _all(items, depth)
        return Bracketed(left, right, nodes)
    parts = split_top(text, (":",))
    return Bracketed(":", ":", _all(parts, depth)) if len(parts) > 1 else None


def _approximate(exact: Node, rounded: Node) -> Node:
    """`2\\sqrt{3} \\approx 3.46` means the exact value, if it rounds to the decimal; x \\approx 3.14 is x = 3.14."""
    if isinstance(rounded, Quantity) and letter_of(exact):
        return Equation(exact.tree, rounded, letter_of(exact)) if isinstance(exact, Quantity) else rounded
    value = exact.right if isinstance(exact, Equation) else exact
    if isinstance(value, Quantity) and isinstance(rounded, Quantity) and value.unit in (rounded.unit, None):
        near = rounded.form.rational
        if near is not None and rounds_to(value.tree, near, rounded.decimals):
            return exact
    raise Unreadable("an approximation of something else")


def _quantity(text: str) -> Quantity | Label:
    based = _BASED.fullmatch(text)
    if based and not based[1].isdigit():
        return Label(f"{based[1]} base {_BASES.get(based[2], based[2])}")
    if based:
        return _number(Fraction(int(based[1])), "", f"base {_BASES.get(based[2], based[2])}")
    body, unit = split_unit(text)
    value = parse_number(body)
    if value is not None:
        return _number(value, body, unit)
    try:
        tree = parse(_TEXT.sub(r"\1", _GROUPS.sub(r"\1", body)))
        return Quantity(tree, canonical(tree), unit)
    except (ZeroDivisionError, RecursionError, OverflowError) as error:
        raise Unreadable(str(error) or type(error).__name__) from error
