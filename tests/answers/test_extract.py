"""Extractors and places: where the answer is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.answers.extract import EXTRACTORS, PLACES, Found, blocks, boxes, declared_order, declared_places, find, passage


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
    ("text", "found"),
    [
        ("<answer>4</answer>", ["4"]),
        ("<answer>4</answer> or <answer>5</answer>", ["4", "5"]),
        ("<answer>3 <answer>4</answer>", ["4"]),
        ("<answer>4", []),
        ("4</answer>", []),
    ],
)
def test_blocks(text: str, found: list[str]) -> None:
    assert blocks(text, "answer") == found


@pytest.mark.parametrize(
    ("name", "response", "texts"),
    [
        ("boxed", r"so \boxed{ 4 }", ("4",)),
        ("boxed", r"so \fbox{4}", ("4",)),
        ("boxed", r"so \boxed{}", None),
        ("tag", "<think>4</think><answer> 5 </answer>", ("5",)),
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
    assert find(response, (name,)) == (Found(name, texts) if texts else None)


def test_the_first_that_finds_something_counts() -> None:
    order = declared_order(["boxed", "tag", "phrase", "number"])
    assert find("the answer is 3 <answer>4</answer> \\boxed{5}", order) == Found("boxed", ("5",))
    assert find("the answer is 3 <answer>4</answer>", order) == Found("tag", ("4",))
    assert find("the answer is 3", order) == Found("phrase", ("3",))
    assert find("3", order) == Found("number", ("3",))
    assert find("", order) is None


@pytest.mark.parametrize(
    ("extract", "message"), [("box", "extract=box"), ([], "extract=\\[\\]"), (["boxed", "tags"], "extract=tags")]
)
def test_unknown_extractors_are_refused_with_what_is_allowed(extract: str | list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}: must be one of boxed, tag, hashes, phrase, number, whole"):
        declared_order(extract)


@pytest.mark.parametrize(
    ("name", "response", "text"),
    [
        ("fenced", "```sql\nA\n```\nor\n```sql\nB\n```", "B"),
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
    assert passage(response, (name,), tag="answer", language="sql") == text


def test_the_first_place_that_is_there_counts() -> None:
    order = declared_places(["tag", "boxed", "whole"])
    assert passage(r"C \boxed{B} <answer>A</answer>", order, tag="answer", language="") == "A"
    assert passage(r"C \boxed{B} <answer> </answer>", order, tag="answer", language="") == "B"
    assert passage("C", order, tag="answer", language="") == "C"
    assert passage("", order, tag="answer", language="") is None
    with pytest.raises(ValueError, match="extract=hashes: must be one of fenced, tag, boxed, whole, or a list of them"):
        declared_places("hashes")


@given(st.text(), st.sampled_from(EXTRACTORS))
def test_any_text(text: str, name: str) -> None:
    found = find(text, (name,))
    assert found is None or all(each.strip() for each in found.texts)
    for place in PLACES:
        there = passage(text, (place,), tag="answer", language="")
        assert there is None or there == there.strip() != ""
