"""Whether two values, or two outputs, are equal: strictly, and to the last digit."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.programs.equality import same_text, same_value
from rlvr.sandbox.inside.wire import Opaque
from rlvr.types import frozen

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (3, 3.0), (3.0, 3.0), ("a", "a"), (None, None), (True, True), ([1, 2], [1, 2]), ((1, 2), [1, 2]), ([], ()),
     ({"a": [1]}, {"a": (1,)}), (math.nan, math.nan), ([math.nan], [math.nan]), (-0.0, 0.0), (10**30, 10**30), (1e30, 1e30),
     (OrderedDict(b=1, a=2), {"a": 2, "b": 1}), (math.inf, math.inf), ([[], {}], [[], {}])],
)  # fmt: skip
def test_same(value: Any, expected: Any) -> None:
    assert same_value(value, expected)
    assert same_value([{"k": value}], frozen([{"k": expected}])), "nested, and as a ground truth holds it"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, 1), (1, True), (False, 0), (1.0, 1), (0, None), ("1", 1), (1, "1"), (True, 1.0), ("", None), ([1], 1),
     ("ab", ["a", "b"]),
     ([1, 2], [1]), ([1], [1, 2]), ([1, 2], [2, 1]), ({1, 2}, [1, 2]), ({"a": 1}, {"a": 1, "b": 2}), ({1: "a"}, {"1": "a"}),
     (math.nan, 1.0), (1.0, math.nan), (math.nan, None), (math.inf, -math.inf),
     (10**400, math.nan), (10**400, 1.5), (b"a", "a"),
     (998244352, 998244353), (9007199254740993, 9007199254740992), (9007199254740993, 9007199254740992.0),
     (0.1 + 0.2, 0.3),
     (deque([1]), [1]), (range(2), [0, 1]), (iter([1]), [1]), (1 + 0j, 1), (Opaque("int"), 1), ([Opaque("int")], [1]),
     (frozenset(), []), (Counter("a"), ["a"]), ({}, []), ([], {}), (int, "int"), (None, False)],
    ids=lambda value: type(value).__name__ if " at 0x" in str(value) else str(value),  # the same in every process
)  # fmt: skip
def test_not_the_same(value: Any, expected: Any) -> None:
    for tolerance in (0.0, 1e-9):
        if not (tolerance and isinstance(expected, float) and isinstance(value, int | float) and not isinstance(value, bool)):
            assert not same_value(value, expected, tolerance=tolerance)
            assert not same_value([{"k": value}], [{"k": expected}], tolerance=tolerance)
    assert not same_value(value, expected)


def test_a_tolerance_is_relative_and_for_floats_only() -> None:
    assert same_value(0.1 + 0.2, 0.3, tolerance=1e-9)
    assert same_value([{"k": 1.0000001}], [{"k": 1.0}], tolerance=1e-6)
    assert not same_value(1.00001, 1.0, tolerance=1e-6)
    assert not same_value(1e-99, 2e-99, tolerance=1e-6), "no absolute one"
    assert not same_value(998244352, 998244353, tolerance=1e-3), "integers are exact"
    assert not same_value(3.0, 3, tolerance=0.5)
    assert not same_value(10**400, 1.5, tolerance=0.5), "an integer beyond all floats"
    assert not same_value(math.nan, 1.0, tolerance=0.5)


@given(JSON)
@settings(max_examples=40)
def test_a_value_is_itself(value: Any) -> None:
    assert same_value(value, frozen(value))
    assert same_value(value, value, tolerance=0.1)
    assert not same_value([value], [[value]])


@pytest.mark.parametrize(
    ("written", "expected", "modes"),
    [
        ("1\n2\n", "1\n2\n", "exact lines tokens"),
        ("1\n2", "1\n2\n", "lines tokens"),
        ("1 \t\n2\n\n\n", "1\n2", "lines tokens"),
        ("1\r\n2\r\n", "1\n2\n", "lines tokens"),
        ("1 2", "1\n2", "tokens"),
        ("1\n\n2", "1\n2", "tokens"),
        (" 1", "1", "tokens"),
        ("1  2", "1 2", "tokens"),
        ("\n1", "1", "tokens"),
        ("1", "1\n2", ""),
        ("1\n2\n3", "1\n2", ""),
        ("", "1", ""),
        ("12", "1 2", ""),
        ("998244352", "998244353", ""),
        ("0.30000000000000004", "0.3", ""),
        ("yes", "YES", ""),
        ("1\x0b2", "12", ""),
        ("", "\n", "lines tokens"),
    ],
)
def test_texts(written: str, expected: str, modes: str) -> None:
    same = [mode for mode in ("exact", "lines", "tokens") if same_text(written, expected, mode)]
    assert same == modes.split()


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Zs", "Cc", "Zl", "Zp"]), min_size=1, max_size=5),
        min_size=2,
        max_size=5,
    )
)
def test_a_prefix_of_the_lines_is_not_the_text(lines: list[str]) -> None:
    for end in range(len(lines)):
        for mode in ("exact", "lines", "tokens"):
            assert not same_text("\n".join(lines[:end]), "\n".join(lines), mode)
