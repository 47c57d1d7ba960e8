"""JSON from a model: parsed strictly, in bounded time, and compared exactly.

`Refused` has the reason `unparsable` or `too_large`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

from rlvr.verifiers.base import Refused

MAX_CHARS = 100_000
"""Longest document that is read."""
MAX_DEPTH = 64
"""Deepest nesting of lists and objects that is read."""
MAX_DIGITS = 1_000
"""Longest number that is read, in characters."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise Refused("unparsable", "an object has a key twice")
    return value


def _number(text: str, convert: Callable[[str], float]) -> float:
    if len(text) > MAX_DIGITS:
        raise Refused("too_large", f"a number of {len(text)} characters")
    value = convert(text)
    if value in {float("inf"), float("-inf")}:
        raise Refused("unparsable", f"the number {text[:20]} is out of range")
    return value


def _constant(text: str) -> NoReturn:
    raise Refused("unparsable", f"{text} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=lambda text: _number(text, int),
    parse_float=lambda text: _number(text, float),
    parse_constant=_constant,
)


def read(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value that begins at `start`, and where it ends. Errors: `Refused`.

    Stricter than Python's `json`: no NaN or Infinity, no number that overflows, no duplicate key, bounded size and nesting.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise Refused("unparsable", f"{error.msg} at character {error.pos}") from error
    except RecursionError as error:  # far deeper than MAX_DEPTH
        raise Refused("too_large", f"nested more than {MAX_DEPTH} deep") from error
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for each in level for child in _nested(each)]
        if not level:
            return value, end
    raise Refused("too_large", f"nested more than {MAX_DEPTH} deep")


def _nested(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict | list)]


def parse(text: str, *, max_chars: int = MAX_CHARS) -> Any:
    """The value of a text that is one JSON document and nothing else. Errors: `Refused`."""
    text = text.strip()
    if len(text) > max_chars:
        raise Refused("too_large", f"{len(text)} characters, at most {max_chars} are read")
    value, end = read(text)
    if end < len(text):
        raise Refused("unparsable", f"text after the document: {text[end:].strip()[:40]!r}")
    return value


def text_of(value: Any) -> str:
    """JSON text of a part of a ground truth, which may already be one. Errors: `ValueError`, `TypeError`."""
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)


def canonical(value: Any) -> str:
    """One text for all equal JSON values: 1 and 1.0 are equal, 1 and true are not, the order of keys does not matter."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
