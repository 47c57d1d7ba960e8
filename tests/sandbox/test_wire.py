"""The format between judging and sandboxed process: plain data arrives unchanged, nothing else does, no message does harm."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.sandbox.inside import wire
from rlvr.sandbox.inside.wire import NotPlain, Opaque, Reference, decode, dumps, encode, loads

TEXTS = st.text(st.characters(codec=None, categories=None)) | st.just("\ud800 lone \udfff")
HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 3000), 1 << 3000)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | TEXTS
    | st.binary(max_size=20)
    | st.decimals(allow_nan=False).filter(lambda number: abs(number.adjusted()) < 1000)
    | st.fractions()
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.timedeltas()
    | st.sampled_from(list(wire._CLASSES.values()))
    | st.builds(range, st.integers(-9, 9), st.integers(-99, 99), st.integers(1, 9)),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
VALUES = st.recursive(
    HASHABLE | st.binary(max_size=9).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.dictionaries(HASHABLE, inner, max_size=3).map(collections.OrderedDict)
        | st.lists(inner, max_size=3).map(lambda items: collections.deque(items, 5))
        | st.sets(HASHABLE, max_size=3)
        | st.lists(HASHABLE, max_size=4).map(collections.Counter)
    ),
    max_leaves=12,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(list(wire._READERS)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(st.sampled_from(list(wire._READERS)), inner, inner).map(list)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=15,
)


def across(value: Any) -> Any:
    return decode(loads(dumps(encode(value))))


def same(value: Any, other: Any) -> bool:
    """Equal, and of the same type at every depth, which `==` does not check."""
    if type(value) is not type(other) or value != other:
        return False
    if isinstance(value, dict):
        pairs = zip(value.items(), other.items(), strict=True)
        return all(same(list(a), list(b)) for a, b in pairs)
    if isinstance(value, list | tuple | collections.deque):
        return all(same(a, b) for a, b in zip(value, other, strict=True))
    return True


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_what_was_sent_arrives(value: Any) -> None:
    assert same(across(value), value)


@pytest.mark.parametrize("number", [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308])
def test_real_numbers_arrive_to_the_last_bit(number: float) -> None:
    (arrived,) = across([number])
    assert repr(arrived) == repr(number)
    assert math.copysign(1, arrived) == math.copysign(1, number)


@pytest.mark.parametrize("number", [(1 << 53) - 1, 1 << 53, (1 << 53) + 1, -(1 << 53) - 1, 1 << 14_000])
def test_whole_numbers_are_never_rounded(number: int) -> None:
    assert across(number) == number


def test_iterators_and_views_arrive_as_what_they_give() -> None:
    table = {1: "a", 2: [3]}
    assert across(table.keys()) == table.keys()
    assert list(across(table.values())) == ["a", [3]]
    assert across({1: "a"}.items()) == {1: "a"}.items()
    for iterator in ((x for x in "ab"), map(str, "ab"), iter("ab"), reversed("ba"), zip("ab", strict=True), enumerate("ab")):
        expected = {zip: [("a",), ("b",)], enumerate: [(0, "a"), (1, "b")]}.get(type(iterator), ["a", "b"])
        arrived = across(iterator)
        assert next(arrived) == expected[0]
        assert list(arrived) == expected[1:]
    forever = iter(lambda: 0, 1)
    with pytest.raises(NotPlain):
        encode(forever)
    with pytest.raises(NotPlain, match="iterator of more than"):
        encode(0 for _ in iter(int, 1))


def lying(base: type) -> Any:
    """A subclass that claims to equal everything, and lies about what it holds."""
    liar = {"__eq__": lambda *_: True, "__ne__": lambda *_: False, "__hash__": lambda _: 0, "__bool__": lambda _: True}
    empty = {"__iter__": lambda _: iter([42]), "__int__": lambda _: 42, "__str__": lambda _: "42", "__float__": lambda _: 42.0}
    return type("Lying", (base,), {**liar, **empty, "__index__": lambda _: 42, "items": lambda _: [(42, 42)]})


@pytest.mark.parametrize(
    "value",
    [7, 10**30, 1.5, "x", [1], (1,), {1}, frozenset({1}), {"k": 1}, b"b", bytearray(b"b")],
    ids=lambda v: type(v).__name__,
)
def test_subclasses_arrive_as_the_built_in_with_what_they_hold(value: Any) -> None:
    arrived = across([lying(type(value))(value)])[0]
    assert type(arrived) is type(value)
    assert arrived == value
    assert arrived != 42


def test_named_tuples_and_enums_of_numbers_are_what_they_are_made_of() -> None:
    point = collections.namedtuple("Point", "x y")
    level = enum.IntEnum("Level", "LOW HIGH")
    assert same(across([point(1, 2), level.HIGH, collections.defaultdict(int, a=1)]), [(1, 2), 2, {"a": 1}])


@pytest.mark.parametrize(
    "value", [object(), lambda: 0, NotImplemented, ..., enum.Enum("E", "A").A, Opaque("x"), len, OSError()]
)
def test_other_objects_do_not_pass(value: Any) -> None:
    for nested in (value, [value], {"k": value}, (1, [value])):
        with pytest.raises(NotPlain):
            encode(nested)


def test_other_objects_pass_as_references_where_they_are_kept() -> None:
    kept: list[Any] = []
    value = object()
    arrived = decode(loads(dumps(encode([1, {"k": value}], lambda each: kept.append(each) or 7))))
    assert kept == [value]
    assert (type(arrived[1]["k"]), arrived[1]["k"].number, arrived[1]["k"].kind) == (Reference, 7, "object")


def test_nothing_equals_what_was_not_plain() -> None:
    odd = decode(["?", "a thing"])
    for other in (odd.kind, "a thing", None, 0, Opaque("a thing"), decode(["?", "a thing"])):
        assert odd != other


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: frozenset([x])])
def test_depth_is_bounded_on_both_sides(wrap: Any) -> None:
    value: Any = 1
    for _ in range(wire.MAX_DEPTH):
        value = wrap(value)
    assert across(value) == value
    for _ in range(3):
        value = wrap(value)
    with pytest.raises(NotPlain, match="nested"):
        encode(value)
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NotPlain, match="nested"):
        encode(loop)
    deep: Any = 1
    for _ in range(wire.MAX_DEPTH + 3):
        deep = ["l", deep]
    with pytest.raises(NotPlain, match="nested"):
        decode(deep)
    with pytest.raises(NotPlain):
        decode(loads(b"[" * 100_000))


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_any_json_is_read_or_refused(message: Any) -> None:
    text = json.dumps(message).encode()
    with contextlib.suppress(NotPlain):
        decode(loads(text))


@given(st.binary(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(NotPlain):
        decode(loads(data))


@pytest.mark.parametrize(
    "message",
    [
        {}, [], [1], [["l"]], ["nonsense"], ["i"], ["i", 5], ["i", "zz"], ["x", "1e5"], ["x", "__import__('os')"], ["d",
        1], ["d", ["l"], 1], ["s", ["l"]], ["f", ["d"]], ["r"], ["r", 1.5], ["r", True], ["r", 0, 9, 0], ["q", -1, 1],
        ["q", True, 1], ["D", "1e"], ["D", 5], ["F", 1, 0], ["T", 9, "2020-01-01"], ["T", 1, "x"], ["E", 10**12], ["y",
        "object"], ["y", "eval"], ["b", "\u00e9"], ["ref", "x", "k"], ["ref", 1], ["v2", ["l", 1, 2]], ["v2", "ab"],
        ["n", ["l"], 1], ["c", ["l"]],
    ],
    ids=str,
)  # fmt: skip
def test_what_was_never_written_is_refused(message: Any) -> None:
    with pytest.raises(NotPlain):
        decode(message)


@pytest.mark.parametrize(
    "message",
    [
        ["r", ["i", f"{10**12:x}"]],
        ["r", ["i", f"{10**40:x}"]],
        ["D", "1e999999999"],
        ["D", "1e-999999999"],
        ["s", *(["i", f"{n * ((1 << 61) - 1):x}"] for n in range(1, 150_000))],
        ["d", *(each for n in range(1, 100_000) for each in (["i", f"{n * ((1 << 61) - 1):x}"], 0))],
        ["v0", *(["t", ["i", f"{n * ((1 << 61) - 1):x}"]] for n in range(1, 100_000))],
    ],
    ids=lambda message: f"{message[0]} {str(message[1])[:20]}",
)
def test_a_short_message_does_not_become_much_work(message: Any) -> None:
    start = time.process_time()
    with pytest.raises(NotPlain):
        decode(message)
    assert time.process_time() - start < 5, "without the bound these take minutes, or all memory"


def test_what_is_bounded_is_more_than_programs_need() -> None:
    assert across(range(100_000)) == range(100_000)
    assert across(decimal.Decimal("1e-400")) == decimal.Decimal("1e-400")
    assert across(set(range(50_000))) == set(range(50_000))
    assert across(fractions.Fraction(1, 3)) == fractions.Fraction(1, 3)
    moment = datetime.datetime(2020, 1, 2, 3, 4, 5, 6)
    assert across(moment) == moment
