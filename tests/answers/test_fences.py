"""Fenced blocks: the one reader of them, and the place `fenced` that is built on it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.answers.extract import passage
from rlvr.answers.fences import Fence, fences


@pytest.mark.parametrize(
    ("text", "label", "content", "closed"),
    [
        ("```python\na = 1\n```", "python", "a = 1\n", True),
        ("So:\n\n```\na\n\nb\n```\nDone.", "", "a\n\nb\n", True),
        ("```  Python title=x \na\n```", "Python title=x", "a\n", True),
        ("```sql\n```", "sql", "", True),
        ("```sql\na\n``` \t\n", "sql", "a\n", True),
        # Marks: as many or more, of the same kind.
        ("~~~sql\n```\na\n```\n~~~", "sql", "```\na\n```\n", True),
        ("~~~ a`b\na\n~~~", "a`b", "a\n", True),
        ("````sql\n```\na\n```\n`````", "sql", "```\na\n```\n", True),
        ("```sql\na\n~~~", "sql", "a\n~~~", False),
        ("```sql\na\n``` b", "sql", "a\n``` b", False),
        # Not closed: to the end of the text.
        ("```sql\na", "sql", "a", False),
        ("```sql\na\n", "sql", "a\n", False),
        ("```sql", "sql", "", False),
        ("```sql\n", "sql", "", False),
        # Indented: by spaces or tabs, the closing fence by at most three more.
        ("- So:\n      ```sql\n      a\n        b\n    c\n      ```", "sql", "a\n  b\nc\n", True),
        ("\t```sql\n\ta\n\t```", "sql", "a\n", True),
        ("```sql\na\n   ```", "sql", "a\n", True),
        ("```sql\na\n    ```\nb", "sql", "a\n    ```\nb", False),
        ("      ```sql\n      a\n```", "sql", "a\n", True),
        # Ends of lines.
        ("```sql\r\na\r\n\r\nb\r\n```\r\n", "sql", "a\n\nb\n", True),
        ("```sql\r\n a\r\n", "sql", " a\n", False),
        ("```sql\ra\n```", "sql\ra", "", True),
    ],
)
def test_one_block(text: str, label: str, content: str, closed: bool) -> None:
    (fence,) = fences(text)
    assert (fence.label, fence.content, fence.closed) == (label, content, closed)
    written = text[fence.start : fence.end].replace("\r\n", "\n")
    assert [line.strip() for line in written.split("\n")] == [line.strip() for line in content.split("\n")]


@pytest.mark.parametrize("text", ["", "``\na\n``", "a ```b\nc\n", "```x```", "```x`\na\n", "\u00a0```sql\na\n", "\x0b```\na\n"])
def test_no_block(text: str) -> None:
    assert fences(text) == []


def test_offsets_are_those_of_the_text_as_given() -> None:
    text = "A\r\n  ```sql\r\n  b\r\n  ```\n~~~\nc"
    assert fences(text) == [
        Fence(label="sql", content="b\n", start=13, end=18, closed=True),
        Fence(label="", content="c", start=28, end=29, closed=False),
    ]
    assert (text[13:18], text[28:29]) == ("  b\r\n", "c")


def test_the_last_closed_block_with_the_label() -> None:
    text = "```sql\na\n```\n```SQL\nb\n```\n```sql x\nc\n```\n```\nd\n```\n```sql\ne"
    found = [passage(text, ("fenced",), tag="answer", language=label) for label in ("sql", "sql x", "", "json")]
    assert [piece and piece.text for piece in found] == ["b", "c", "d", None]


@pytest.mark.parametrize(
    ("response", "text", "written"),
    [
        # What the place `fenced` and programs read alike.
        ("~~~sql\nA\n~~~", "A", "A"),
        ("```sql\nA\n    ```\nB\n```", "A\n    ```\nB", "A\n    ```\nB"),
        ("```sql\nA\n    ```", None, None),
        ("~~~\n```sql\nA\n```\n~~~", None, None),
        ("\u00a0```sql\nA\n```", None, None),
        ("  ```sql\n  A\n   B\n  ```", "A\n B", "A\n   B"),
        ("```sql\r\n\r\nA\r\nB\r\n```", "A\nB", "A\r\nB"),
        # Unlike programs: closed blocks only, whose whole label is the language.
        ("```sql\nA", None, None),
        ("```sql\nA\n```\n```sql\nB", "A", "A"),
        ("```sql title=x\nA\n```", None, None),
    ],
)
def test_the_place_fenced(response: str, text: str | None, written: str | None) -> None:
    found = passage(f"<think>```sql\nno\n```</think>{response}", ("fenced",), tag="answer", language="sql")
    assert (found and found.text) == text
    if found:
        assert f"<think>```sql\nno\n```</think>{response}"[slice(*found.span)] == written


@given(st.lists(st.sampled_from(["```", "````", "~~~", "sql", "\n", "\r\n", " ", "\t", "    ", "x", "`", "\r"]), max_size=40))
def test_any_text(parts: list[str]) -> None:
    text = "".join(parts)
    end = 0
    for fence in fences(text):
        assert end <= fence.start <= fence.end <= len(text)
        assert fence.closed or fence.end == len(text)
        assert re.sub(r"\s", "", fence.content) == re.sub(r"\s", "", text[fence.start : fence.end])
        end = fence.end
