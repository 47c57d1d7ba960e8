"""Plain data between the judging and a sandboxed process, as JSON with tags: the format carries values and no code.

Numbers, strings, booleans and None stand for themselves; everything else is a list whose first item is a tag. Decoding gives
built-in types only, whatever was encoded: an instance of a list subclass that defines `__eq__` arrives as a list.
Standard library only: both sides import this file.
"""

from __future__ import annotations

import base64
import collections
import datetime
import decimal
import fractions
import itertools
import json
import math
import struct
from typing import Any

MAX_DEPTH = 100
"""Nested containers."""
MAX_BYTES = 4 << 20
"""Bytes of one message."""
MAX_FILE = 16 << 20
"""Bytes of a file that is returned."""
MAX_ITEMS = 100_000
"""Items read from an iterator."""
MAX_RANGE = 1_000_000
"""Numbers of a range, and the exponent of a decimal number: few bytes must not become many."""
MAX_COLLIDING = 100
"""Members of a set, or keys of a mapping, that share a hash: building it takes time with their square."""
HEADER = struct.Struct(">I")
_SMALL = 1 << 53
_VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
_ITERATORS = (type(x for x in ()), map, filter, zip, enumerate, reversed, itertools.chain, itertools.islice)
_ITERATORS += (type(iter([])), type(iter(())), type(iter(set())), type(iter({})), type(iter("")), type(iter(range(0))))
_CLASSES = {
    kind.__name__: kind for kind in (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, type(None))
}
_DATES = (datetime.datetime, datetime.date, datetime.time)


class NotPlain(ValueError):
    """A value that is not plain data, or a message that does not hold plain data."""


class Opaque:
    """Stands for a value that is not plain data: it equals nothing but itself."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<an object of class {self.kind}>"


class Reference:
    """An object of the candidate's classes, which stays in its process; `rlvr.programs.proxies` makes it usable."""

    __slots__ = ("kind", "number")

    def __init__(self, number: int, kind: str) -> None:
        self.number, self.kind = number, kind


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def loads(data: bytes) -> Any:
    """Errors: `NotPlain`."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotPlain(f"not JSON: {str(error)[:200]}") from None


def encode(value: Any, keep: Any = None, depth: int = 0) -> Any:
    """`value` in JSON's types. `keep(value)` gives a number for an object that is not plain data; without it: `NotPlain`.

    Instances of subclasses are encoded as their built-in base class.
    """
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is int:
        return value if -_SMALL < value < _SMALL else ["i", f"{value:x}"]
    if kind is float:
        return value if math.isfinite(value) else ["x", repr(value)]
    if depth > MAX_DEPTH:
        raise NotPlain(f"nested more than {MAX_DEPTH} deep")
    tagged = _container(value, keep, depth + 1)
    if tagged is None:
        tagged = _scalar(value)
    if tagged is None and isinstance(value, Reference):
        tagged = ["ref", value.number, value.kind]
    if tagged is None and keep is not None:
        tagged = ["ref", keep(value), kind.__name__[:100]]
    if tagged is None:
        raise NotPlain(f"an object of class {kind.__name__[:100]}")
    return tagged


def _container(value: Any, keep: Any, depth: int) -> list[Any] | None:
    kind = type(value)
    if isinstance(value, list):
        return ["l", *(encode(each, keep, depth) for each in list.__iter__(value))]
    if isinstance(value, tuple):
        return ["t", *(encode(each, keep, depth) for each in tuple.__iter__(value))]
    if isinstance(value, dict):
        flat = (encode(each, keep, depth) for pair in dict.items(value) for each in pair)
        return ["n" if isinstance(value, collections.Counter) else "o" if kind is collections.OrderedDict else "d", *flat]
    if isinstance(value, set | frozenset):
        each_of = set.__iter__(value) if isinstance(value, set) else frozenset.__iter__(value)
        return ["s" if isinstance(value, set) else "f", *(encode(each, keep, depth) for each in each_of)]
    if kind is range:
        return ["r", *(encode(each) for each in (value.start, value.stop, value.step))]
    if kind is collections.deque:
        return ["q", value.maxlen, *(encode(each, keep, depth) for each in value)]
    if kind in _VIEWS:
        return [f"v{_VIEWS.index(kind)}", *(encode(each, keep, depth) for each in value)]
    if kind in _ITERATORS:
        items = [encode(each, keep, depth) for each in itertools.islice(value, MAX_ITEMS + 1)]
        if len(items) > MAX_ITEMS:
            raise NotPlain(f"an iterator of more than {MAX_ITEMS} items")
        return ["g", *items]
    return None


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return encode(int.__int__(value))
    if isinstance(value, float):
        return encode(float.__float__(value))
    if isinstance(value, bytes | bytearray):
        return ["b" if isinstance(value, bytes) else "B", base64.b64encode(value).decode()]
    if type(value) is complex:
        return ["c", encode(value.real), encode(value.imag)]
    if type(value) is decimal.Decimal:
        return ["D", str(value)]
    if type(value) is fractions.Fraction:
        return ["F", encode(value.numerator), encode(value.denominator)]
    if type(value) in _DATES and getattr(value, "tzinfo", None) is None:
        return ["T", _DATES.index(type(value)), value.isoformat()]
    if isinstance(value, type) and value in _CLASSES.values():
        return ["y", value.__name__]
    if type(value) is datetime.timedelta:
        return ["E", value.days, value.seconds, value.microseconds]
    return None


def decode(value: Any, depth: int = 0) -> Any:
    """The value that `encode` was given, in built-in types. Errors: `NotPlain` for anything that `encode` does not write."""
    if not isinstance(value, list):
        if isinstance(value, dict):
            raise NotPlain("a JSON object")
        return value
    if depth > MAX_DEPTH + 1:
        raise NotPlain(f"nested more than {MAX_DEPTH} deep")
    if not value or not isinstance(value[0], str):
        raise NotPlain("a list without a tag")
    try:
        return _READERS[value[0]](value[1:], depth + 1)
    except (KeyError, ValueError, TypeError, ArithmeticError, IndexError) as error:
        if isinstance(error, NotPlain):
            raise
        raise NotPlain(f"tag {value[0][:10]!r}: {str(error)[:200]}") from None


def _all(items: list[Any], depth: int) -> list[Any]:
    return [decode(each, depth) for each in items]


def _hashable(items: list[Any], depth: int) -> list[Any]:
    """Decode members or keys; `NotPlain` where too many share a hash."""
    found = _all(items, depth)
    if len(found) > MAX_COLLIDING:
        hashes = sorted(map(hash, found))
        if any(a == b for a, b in zip(hashes, hashes[MAX_COLLIDING:], strict=False)):
            raise NotPlain(f"more than {MAX_COLLIDING} members of one hash")
    return found


def _pairs(items: list[Any], depth: int) -> dict[Any, Any]:
    if len(items) % 2:
        raise NotPlain("a mapping with an odd number of items")
    return dict(zip(_hashable(items[::2], depth), _all(items[1::2], depth), strict=True))


def _pair(item: Any) -> tuple[Any, Any]:
    if type(item) is not tuple or len(item) != 2:
        raise NotPlain("a pair expected")
    return item


def _counter(items: list[Any], depth: int) -> collections.Counter[Any]:
    counter: collections.Counter[Any] = collections.Counter()
    dict.update(counter, _pairs(items, depth))
    return counter


def _date(items: list[Any], _: int) -> Any:
    return _DATES[range(len(_DATES))[items[0]]].fromisoformat(_text(items[1]))


def _text(item: Any) -> str:
    if not isinstance(item, str) or len(item) > MAX_BYTES:
        raise NotPlain("a text expected")
    return item


def _number(item: Any) -> int:
    number = decode(item)
    if type(number) is not int:
        raise NotPlain("a whole number expected")
    return number


def _range(items: list[Any], _: int) -> range:
    found = range(*map(_number, items))
    try:
        short = len(found) <= MAX_RANGE
    except OverflowError:
        short = False
    if not short:
        raise NotPlain(f"a range of more than {MAX_RANGE} numbers")
    return found


def _decimal(items: list[Any], _: int) -> decimal.Decimal:
    found = decimal.Decimal(_text(items[0]))
    if found.is_finite() and abs(found.adjusted()) > MAX_RANGE:
        raise NotPlain(f"a decimal number of more than {MAX_RANGE} digits")
    return found


def _real(item: Any) -> float:
    return float({"nan": "nan", "inf": "inf", "-inf": "-inf"}[_text(item)])


def _reference(items: list[Any], _: int) -> Reference:
    return Reference(_number(items[0]), _text(items[1])[:100])


_READERS: dict[str, Any] = {
    "i": lambda items, _: int(_text(items[0]), 16),
    "x": lambda items, _: _real(items[0]),
    "l": _all,
    "t": lambda items, depth: tuple(_all(items, depth)),
    "s": lambda items, depth: set(_hashable(items, depth)),
    "f": lambda items, depth: frozenset(_hashable(items, depth)),
    "d": _pairs,
    "n": _counter,
    "o": lambda items, depth: collections.OrderedDict(_pairs(items, depth)),
    "r": _range,
    "q": lambda items, depth: collections.deque(_all(items[1:], depth), None if items[0] is None else _number(items[0])),
    "v0": lambda items, depth: dict.fromkeys(_hashable(items, depth)).keys(),
    "v1": lambda items, depth: dict(enumerate(_all(items, depth))).values(),
    "v2": lambda items, depth: dict(_pair(each) for each in _all(items, depth)).items(),
    "g": lambda items, depth: iter(_all(items, depth)),
    "b": lambda items, _: base64.b64decode(_text(items[0])),
    "B": lambda items, _: bytearray(base64.b64decode(_text(items[0]))),
    "c": lambda items, _: complex(*map(decode, items)),
    "D": _decimal,
    "F": lambda items, _: fractions.Fraction(_number(items[0]), _number(items[1])),
    "T": _date,
    "E": lambda items, _: datetime.timedelta(*map(_number, items)),
    "y": lambda items, _: _CLASSES[_text(items[0])],
    "ref": _reference,
    "?": lambda items, _: Opaque(_text(items[0])[:100]),
}
