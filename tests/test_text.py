"""Texts fitted into a line or a number of characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rlvr.text import clip, one_line


def test_one_line() -> None:
    assert one_line(ValueError(" a\n\tb  c\u2028d ")) == "a b c d"


def test_what_is_left_out_is_marked() -> None:
    assert [clip("abcdef", most) for most in (6, 5, 1)] == ["abcdef", "abcd…", "…"]
    assert clip("abcdef", 5, tail=2) == "ab…ef"


@given(st.text(), st.integers(1, 20), st.integers(0, 20))
def test_never_longer_than_asked(text: str, most: int, tail: int) -> None:
    found = clip(text, most, tail=min(tail, most - 1))
    assert len(found) == min(len(text), most)
    assert found == text or text.startswith(found.partition("…")[0])
