"""Extractors and places: where the answer is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.answers.extract import EXTRACTORS, PLACES, boxes, find, passage
from rlvr.answers.normalise import origin, plain


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\boxed{2}", ["2"]),
        (r"\boxed{1} or \boxed {2}", ["1", "2"]),
        (r"\boxed{\frac{1}{2}}", [r"\frac{1}{2}"]),
        (r"\boxed{\boxed{3}}", [r"\boxed{3}"]),
        (r"\boxed{a\}b}", [r"a\}b"]),
        (r"\boxed{5", []),
        (r"I write \boxed{ and then \boxed{5}", ["5"]),
        (r"} \boxed{5} {", ["5"]),
        (r"boxed{5}", []),
        ("", []),
    ],
)
def test_boxes(text: str, found: list[str]) -> None:
    assert boxes(text) == found


@pytest.mark.parametrize(
    ("name", "response", "texts"),
    [
        ("boxed", r"so \boxed{ 4 }", ("4",)),
        ("boxed", r"so \fbox{4}", ("4",)),
        ("boxed", r"so \boxed{}", None),
        ("tag", "<think>4</think><answer> 5 </answer>", ("5",)),
        ("tag", "<answer>4</answer> or <answer>5</answer>", ("4", "5")),
        ("tag", "<answer>3 <answer>4</answer>", ("4",)),
        ("tag", "<answer>4", None),
        ("tag", "4</answer>", None),
        ("hashes", "3 + 4\n#### 7\n", ("7",)),
        ("phrase", "The answer is 7.", ("7",)),
        ("phrase", "Answer: **7**", ("7",)),
        ("phrase", "the final answer is: $3.50. And that is all.", ("$3.50",)),
        ("phrase", "the answer is 5. No, the answer is 6!", ("5", "6")),
        ("phrase", "no answers here", None),
        ("number", "from 3 apples to 1,234.5 of them", ("3", "1,234.5")),
        ("number", "it is -5", ("-5",)),
        ("number", "none", None),
        ("whole", "<think>a</think> b ", ("b",)),
        ("whole", "b", ("b",)),
    ],
)
def test_each_extractor(name: str, response: str, texts: tuple[str, ...] | None) -> None:
    found = find(response, (name,))
    assert (found and (found.source, *(piece.text for piece in found.pieces()))) == (texts and (name, *texts))
    if found:
        assert found.last == found.pieces()[-1]
        assert all(response[slice(*found.place(piece))] == piece.text for piece in found.pieces())


def test_the_first_that_finds_something_counts() -> None:
    order = ("boxed", "tag", "phrase", "number")
    for response, *expected in (
        ("the answer is 3 <answer>4</answer> \\boxed{5}", "boxed", "5"),
        ("the answer is 3 <answer>4</answer>", "tag", "4"),
        ("the answer is 3", "phrase", "3"),
        ("3", "number", "3"),
    ):
        found = find(response, order)
        assert found
        assert [found.source, *(piece.text for piece in found.pieces())] == expected
    assert find("", order) is None


@pytest.mark.parametrize(
    ("response", "written", "text"),
    [
        ("\\boxed{ \uff15\uff12 }", "\uff15\uff12", "52"),
        ("\u200b \u00a0\\boxed{4\u200b2}", "4\u200b2", "42"),
        ("\\boxed{\u200b42\u200b}", "42", "42"),
        ("\\boxed{10\u207b\u00b3}", "10\u207b\u00b3", "10^{-3}"),
        ("x\u00b2\u2026 \U0001f600\u200d\U0001f600 \\boxed{\u2460\u00bd} \u00bd", "\u2460\u00bd", "1 1/2"),
        ("\\boxed{\u00bd}", "\u00bd", "1/2"),  # which is read as ` 1/2`
        ("\uff1cthink\uff1e\u2026</think>\r\n\r\n\\boxed{\u22127}\r\n", "\u22127", "-7"),
        ("\\boxed{1} \u2122 \\boxed{\u00b22}", "\u00b22", "^22"),
        ("\ufb03 \ufdfa \\boxed{\u0e01\u0e33\u0315\u0300}", "\u0e01\u0e33\u0315\u0300", "\u0e01\u0e4d\u0e32\u0315\u0300"),
    ],
)
def test_what_was_found_is_shown_as_written(response: str, written: str, text: str) -> None:
    found = find(response, ("boxed",), scope="after_think")
    assert found
    assert found.last.text == text
    assert response[slice(*found.place(found.last))] == written


ALPHABET = [
    "\uff15",
    "\u200b",
    "\u00b2",
    "\u207b\u00b3",
    "\u00bd",
    "\u2026",
    "\U0001f600",
    "\ufb03",
    " ",
    "\r\n",
    "7",
    "a",
    "\u0300",
]


@given(st.lists(st.sampled_from(ALPHABET), max_size=12), st.integers(0, 40), st.integers(0, 40))
def test_the_origin_of_any_part(pieces: list[str], start: int, length: int) -> None:
    """It is the shortest part of the text whose characters make that part."""
    text = "".join(pieces)
    normal = plain(text)
    start = min(start, len(normal))
    end = min(start + length, len(normal))
    first, last = origin(text, normal, start, end)
    assert 0 <= first <= last <= len(text)
    if start < end:
        assert normal[start:end] in plain(text[first:last])
        ends = [at for at in range(len(text) + 1) if plain(text[:at]) + plain(text[at:]) == normal]
        assert first == max(at for at in ends if len(plain(text[:at])) <= start)
        assert last == min(at for at in ends if len(plain(text[:at])) >= end)


@pytest.mark.parametrize(
    ("name", "response", "text"),
    [
        ("fenced", "```sql\nA\n```\nor\n```sql\nB\n```", "B"),
        ("fenced", "  ```sql\n  A\n  ```\n", "A"),
        ("fenced", "<answer> ```sql\r\nA\r\n``` </answer>", "A"),
        ("fenced", "<think>\n```sql\nA\n```\n</think>B", None),
        ("fenced", "```sql\nA", None),
        ("fenced", "```\nA\n```", None),
        ("tag", "<answer>A</answer> or <answer> B </answer>", "B"),
        ("tag", "<answer>So:\n```sql\nA\n```\n</answer>", "A"),
        ("tag", r"<answer>So \boxed{A}</answer>", "A"),
        ("boxed", r"\boxed{A} or \boxed{B} or \boxed{ }", "B"),
        ("whole", "<think>A</think> B ", "B"),
        ("whole", "<answer> A </answer>", "A"),
        ("whole", "A <think> B", "A"),
        ("whole", "<think>A</think>", None),
        ("whole", "10\u00b2", "10\u00b2"),  # not normalised
    ],
)
def test_each_place(name: str, response: str, text: str | None) -> None:
    found = passage(response, (name,), tag="answer", language="sql")
    assert (found and found.text) == text
    assert found is None or response[slice(*found.span)] == text


def test_the_text_of_an_indented_block_is_not_indented() -> None:
    response = "1. So:\n   ```sql\n   A\n     B\n   ```"
    found = passage(response, ("fenced",), tag="answer", language="sql")
    assert found == ("A\n  B", response.index("A"), response.index("B") + 1)


def test_the_first_place_that_is_there_counts() -> None:
    order = ("tag", "boxed", "whole")
    for response, text in ((r"C \boxed{B} <answer>A</answer>", "A"), (r"C \boxed{B} <answer> </answer>", "B"), ("C", "C")):
        found = passage(response, order, tag="answer", language="")
        assert found
        assert found.text == text
    assert passage("", order, tag="answer", language="") is None


@given(st.text(), st.sampled_from(EXTRACTORS))
def test_any_text(text: str, name: str) -> None:
    found = find(text, (name,))
    assert found is None or all(each == each.strip() != "" for each in (piece.text for piece in found.pieces()))
    for place in PLACES:
        there = passage(text, (place,), tag="answer", language="")
        assert there is None or there.text == text[slice(*there.span)].strip() != ""
