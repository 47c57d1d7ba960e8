"""JSON schemas (draft 2020-12) whose checks end on any document: a step budget, linear-time patterns, no fetching."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any

import re2
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from rlvr.verifiers.base import Refused
from rlvr.verifiers.matches import SURROGATE, linear
from rlvr.verifiers.structured.strict_json import MAX_DEPTH, canonical, parse

MAX_STEPS = 50_000
"""Budget of one check, in keywords applied (large values cost more)."""
MAX_NESTED = 100
"""Deepest nesting of keywords; each takes up to five of the 1,000 frames of Python's stack."""
MAX_SCHEMA_CHARS = 1_000_000
"""Longest schema that is read."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DATE_TIME = re.compile(r"[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}(?::[0-9]{2}){2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})", re.I)
# Formats that need no package; a format that is not listed is an annotation, as in the draft.
_FORMATS = FormatChecker(formats=("date", "email", "ipv4", "ipv6", "uuid"))


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(_DATE_TIME.fullmatch(value) and datetime.fromisoformat(value.upper()))


class BadSchema(ValueError):
    """Not a schema, or one that cannot be checked safely."""


class TooComplex(Exception):
    """A check against a schema exceeds its budget."""


@dataclass(slots=True)
class _Meter:
    """The remaining budget of a check, and its results so far."""

    steps: int
    depth: int = 0
    known: dict[tuple[str, int, int], tuple[tuple[str, tuple[Any, ...], tuple[Any, ...]], ...]] = field(default_factory=dict)
    """Errors (message, path, schema path) by keyword, id of the schema, and id of the list or object it was applied to; both
    objects outlive the check."""

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0 or self.depth > MAX_NESTED:
            raise TooComplex(f"checking it takes more than {MAX_STEPS} steps, or {MAX_NESTED} within one another")


_METER: ContextVar[_Meter] = ContextVar("_METER")


def _metered(keyword: str, check: Callable[..., Any]) -> Callable[..., Any]:
    """A check of jsonschema with a budget: it stops at its first error, and results are memoised.

    Without that, a union that refers to itself takes time exponential in the nesting, which the model chooses.
    """

    def metered(validator: Any, value: Any, instance: Any, schema: Any) -> tuple[ValidationError, ...]:
        meter = _METER.get()
        key = (keyword, id(schema), id(instance))
        if key in meter.known:
            meter.spend(1)
            return tuple(ValidationError(text, path=path, schema_path=place) for text, path, place in meter.known[key])
        meter.depth += 1
        size = sum(len(each) for each in (value, instance) if isinstance(each, str | list | dict))
        # For `unevaluated*` jsonschema searches every item in a list of the evaluated ones.
        meter.spend(1 + size // 50 + (size * size // 500 if keyword.startswith("unevaluated") else 0))
        error = next(iter(check(validator, value, instance, schema) or ()), None)
        meter.depth -= 1
        if error is not None and not error.schema_path:  # made by this keyword; its message quotes the whole instance
            meter.spend(len(error.message) // 100)
        if isinstance(instance, dict | list):  # enclosing checks extend the paths of an error: keep copies
            found = () if error is None else ((error.message, tuple(error.path), tuple(error.schema_path)),)
            meter.known[key] = found
        return () if error is None else (error,)

    return metered


def _regex(pattern: str) -> Any:
    """Errors: `BadSchema`."""
    try:
        return linear(pattern)
    except (re2.error, UnicodeEncodeError) as error:
        raise BadSchema(f"the pattern {pattern[:60]!r} is none of RE2 (no lookaround, no backreference)") from error


def _matches(pattern: str, text: str) -> bool:
    regex = _regex(pattern)
    _METER.get().spend(len(text) * regex.programsize // 20_000)  # RE2's worst case: about 3 ns x characters x program size
    return regex.search(SURROGATE.sub("\ufffd", text)) is not None


def _pattern(validator: Any, value: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(value, instance):
        yield ValidationError(f"{instance[:60]!r} does not match {value!r}")


def _pattern_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    for pattern, subschema in value.items() if isinstance(instance, dict) else ():
        for name, item in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(item, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    patterns = schema.get("patternProperties", ())
    for name, item in instance.items() if isinstance(instance, dict) else ():
        if name in schema.get("properties", ()) or any(_matches(pattern, name) for pattern in patterns):
            continue
        if value is False:
            yield ValidationError(f"the property {name[:60]!r} is not allowed")
        else:
            yield from validator.descend(item, value, path=name)


def _multiple_of(validator: Any, value: float, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Exact for decimals as written: 19.99 is a multiple of 0.01."""
    number = isinstance(instance, int | float) and not isinstance(instance, bool)
    if number and Fraction(repr(instance)) % Fraction(repr(value)):
        yield ValidationError(f"{instance!r} is not a multiple of {value!r}")


def _unique_items(validator: Any, value: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    texts = [canonical(item) for item in instance] if value and isinstance(instance, list) else []
    _METER.get().spend(sum(map(len, texts)) // 50)
    if len(set(texts)) < len(texts):
        yield ValidationError("an item occurs twice")


_OWN = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "multipleOf": _multiple_of,
    "uniqueItems": _unique_items,
}
_KEYWORDS = {**Draft202012Validator.VALIDATORS, **_OWN}
_HELPERS = {"minContains", "maxContains", "then", "else"}  # read by other keywords
_Validator: Any = extend(Draft202012Validator, {name: _metered(name, check) for name, check in _KEYWORDS.items()})
_BY_PROPERTY = ("properties", "patternProperties", "additionalProperties")


@dataclass(frozen=True, slots=True)
class Schema:
    """A JSON schema (draft 2020-12) whose checks always end and use neither network nor disk."""

    validator: Any
    """A validator of jsonschema."""

    def asks(self) -> bool:
        """Whether it has any keyword, or is `{}` or `true`, which accept every document on purpose."""
        schema = self.validator.schema
        return not isinstance(schema, dict) or not schema or bool(schema.keys() & (_KEYWORDS.keys() | _HELPERS))

    def violation(self, value: Any, *, steps: int = MAX_STEPS) -> str | None:
        """What is wrong with `value`, in one line; None if it is valid. Errors: `TooComplex`."""
        with _budget(steps):
            error = next(self.validator.iter_errors(value), None)
        return None if error is None else _say(error)

    def share(self, value: Any) -> float:
        """For a value that violates the schema: the share of its top-level properties that satisfy it, below 1.

        Counted are the required properties, the declared ones that are present, and any other that is forbidden or has a wrong
        value; a violation that concerns no property counts as one more that fails. Errors: `TooComplex`.
        """
        with _budget(MAX_STEPS):
            validator = self.validator
            for _ in range(MAX_DEPTH):  # the schema of a recursive type is often just a reference to a definition
                if not isinstance(validator.schema, dict) or validator.schema.keys() & _KEYWORDS.keys() != {"$ref"}:
                    break
                target = validator._resolver.lookup(validator.schema["$ref"])
                validator = validator.evolve(schema=target.contents, _resolver=target.resolver)
            schema = validator.schema
            if not isinstance(value, dict) or not isinstance(schema, dict):
                return 0.0
            alone = validator.evolve(schema={key: schema[key] for key in _BY_PROPERTY if key in schema})
            singles = {name: {name: item} for name, item in value.items()}  # kept until the end: see _Meter.known
            wrong = {name for name, single in singles.items() if not alone.is_valid(single)}
            required = set(schema.get("required", ()))
            failed = wrong | (required - value.keys())
            counted = failed | required | (value.keys() & schema.get("properties", {}).keys())
            others = {error.schema_path[0] for error in validator.iter_errors(value) if error.schema_path}
            rest = not failed or bool(others - {"required", *_BY_PROPERTY})
        return (len(counted) - len(failed)) / (len(counted) + rest)


@contextmanager
def _budget(steps: int) -> Iterator[None]:
    token = _METER.set(_Meter(steps))
    try:
        yield
    except RecursionError as error:
        raise TooComplex("the schema refers to itself too often") from error
    finally:
        _METER.reset(token)


def _say(error: ValidationError | SchemaError) -> str:
    message = error.message if len(error.message) <= 160 else f"{error.message[:60]} ... {error.message[-90:]}"
    # A key may contain half a surrogate pair (as an escape), which cannot be written to a file.
    return f"{error.json_path[:80]}: {message}".encode("utf-8", "backslashreplace").decode()


@lru_cache(maxsize=512)
def compiled(text: str, *, formats: bool = False) -> Schema | str:
    """The schema of a JSON text, or why it is none (returned, not raised, so that it is cached too)."""
    try:
        contents = parse(text, max_chars=MAX_SCHEMA_CHARS)
        _check_form(contents)
        # An empty registry retrieves nothing; jsonschema's default would use the network.
        resolver = Registry().resolver_with_root(DRAFT202012.create_resource(contents))
        _check_references(contents, resolver)
    except (Refused, BadSchema) as error:
        return f"no JSON schema of draft 2020-12: {error}"
    schema = Schema(_Validator(contents, format_checker=_FORMATS if formats else None, _resolver=resolver))
    try:
        for value in (None, [], {}):
            schema.violation(value)
    except TooComplex:
        return "no JSON schema of draft 2020-12: it refers to itself without end"
    return schema


def _check_references(root: Any, resolver: Any) -> None:
    """Refuse what cannot be checked, in all subschemas and everything they refer to. Errors: `BadSchema`."""
    seen: set[int] = set()
    waiting = [(root, resolver)]
    unevaluated = patterned = False
    while waiting:
        schema, resolver = waiting.pop()
        if not isinstance(schema, dict) or id(schema) in seen:
            continue
        seen.add(id(schema))
        _check_dialect(schema)
        schema.pop("$schema", None)  # or jsonschema would use its own validator of that dialect instead of ours
        for pattern in (*schema.get("patternProperties", ()), *([schema["pattern"]] if "pattern" in schema else ())):
            _regex(pattern)
        unevaluated |= "unevaluatedProperties" in schema
        patterned |= "patternProperties" in schema
        resolver = resolver.in_subresource(DRAFT202012.create_resource(schema))
        waiting += [(each, resolver) for each in DRAFT202012.subresources_of(schema)]
        if "$dynamicRef" in schema:  # a check would depend on the path that led to it
            raise BadSchema("$dynamicRef is not supported")
        if "$ref" in schema:
            waiting.append(_target(schema["$ref"], resolver))
    if unevaluated and patterned:  # jsonschema matches these with Python's `re`
        raise BadSchema("unevaluatedProperties together with patternProperties is not supported")


def _check_dialect(schema: Any) -> None:
    dialect = schema.get("$schema", _DIALECT) if isinstance(schema, dict) else _DIALECT
    if dialect not in (_DIALECT, f"{_DIALECT}#"):
        raise BadSchema(f"$schema={dialect!r}: leave it out if the schema is one of draft 2020-12 too")


def _check_form(schema: Any) -> None:
    _check_dialect(schema)
    try:
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        raise BadSchema(_say(error)) from error
    except RecursionError as error:
        raise BadSchema("it is nested too deep") from error


def _target(reference: str, resolver: Any) -> tuple[Any, Any]:
    try:
        found = resolver.lookup(reference)
    except (Unresolvable, ValueError) as error:
        raise BadSchema(f"{reference[:80]!r} leads nowhere in the schema, and nothing is fetched") from error
    _check_form(found.contents)
    return found.contents, found.resolver
