"""Verifier of function calls: the right functions, valid arguments, the expected arguments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from rlvr.answers.extract import Piece, answer_part, fenced
from rlvr.types import Problem, Span, Verdict
from rlvr.verifiers.base import Refused, Verifier, check_choices, no_key
from rlvr.verifiers.structured.json_schema import MAX_SCHEMA_CHARS, MAX_STEPS, BadSchema, Schema, TooComplex, compiled
from rlvr.verifiers.structured.strict_json import MAX_CHARS, canonical, parse, read, text_of

MAX_CALLS = 64
"""Most calls in a response or a ground truth."""
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_SPACE = re.compile(r"\s*")
_ATTEMPT = re.compile(r'"(?:tool_calls|arguments)"\s*:')
_NO_PARAMETERS = {"type": "object", "additionalProperties": False}  # what a missing schema means in OpenAI's API


@dataclass(frozen=True, slots=True)
class Call:
    """One call, expected or made."""

    name: str
    """Name of the function."""
    arguments: str
    """The arguments as canonical JSON, so that equal arguments are equal texts."""
    valid: bool
    """Whether the arguments follow the schema of the tool of that name."""


@dataclass(frozen=True, slots=True)
class _Written:
    """The calls of a response, as written."""

    style: Literal["none", "openai", "hermes"]
    """`none`: it makes no call."""
    calls: Sequence[tuple[str, dict[str, Any]]] = ()
    """Names and arguments."""
    span: Span | None = None
    """Where they are in the response."""


def _read_calls(response: str, part: Piece) -> _Written:
    """part: of the response, with the answer. Errors: `Refused` for a call that cannot be executed as written."""
    if len(part.text) > MAX_CHARS:
        raise Refused("too_large", f"{len(part.text)} characters, at most {MAX_CHARS} are read")
    tagged = _OPEN in part.text or _CLOSE in part.text
    found = _hermes(part) if tagged else _openai(part, fenced(response, part, "json") or part)
    if len(found.calls) > MAX_CALLS:
        raise Refused("too_many_calls", f"{len(found.calls)} calls, at most {MAX_CALLS} are read")
    return found


def _hermes(part: Piece) -> _Written:
    """Blocks `<tool_call>{...}</tool_call>`, parsed as JSON, not by a search for the tag: an argument may contain the tags."""
    text = part.text
    first = at = text.find(_OPEN)
    calls, end = [], 0
    while at >= 0:
        if _CLOSE in text[end:at]:
            break
        start = _SPACE.match(text, at + len(_OPEN))
        value, end = read(text, start.end() if start else at)
        closing = text.find(_CLOSE, end)
        if closing < 0 or text[end:closing].strip():
            raise Refused("unparsable", f"a {_OPEN} without its {_CLOSE} right behind the JSON")
        calls.append(_call(value))
        end = closing + len(_CLOSE)
        at = text.find(_OPEN, end)
    if _CLOSE in text[end:]:
        raise Refused("unparsable", f"a {_CLOSE} without its {_OPEN}")
    return _Written("hermes", calls, (part.start + first, part.start + end))


def _openai(part: Piece, document: Piece) -> _Written:
    """Calls in JSON. document: what is parsed, the last block "```json" or else all of the part."""
    try:
        value = parse(document.text)
    except Refused:
        if _ATTEMPT.search(part.text):
            raise
        return _Written("none")
    if isinstance(value, dict) and "tool_calls" in value:
        items = value["tool_calls"] or []
    else:
        items = value if isinstance(value, list) else [value]
    if isinstance(items, list) and any(isinstance(item, dict) and item.keys() & {"function", "arguments"} for item in items):
        return _Written("openai", [_call(item) for item in items], document.span)
    if items and _ATTEMPT.search(part.text):
        raise Refused("unparsable", "a call somewhere, but not as the answer")
    return _Written("none")


def _call(value: Any) -> tuple[str, dict[str, Any]]:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or "arguments" not in function:
        raise Refused("unparsable", "a call needs a name and arguments")
    arguments = function["arguments"]
    if isinstance(arguments, str):  # as OpenAI's API returns them
        arguments = parse(arguments)
    if not isinstance(arguments, dict):
        raise Refused("unparsable", "the arguments of a call are no object")
    return function["name"], arguments


@dataclass(frozen=True, slots=True)
class _Truth:
    tools: Mapping[str, Schema]
    """Schemas of the arguments, by name of the function."""
    calls: tuple[Call, ...] | None
    """The expected calls; None: only validity is scored."""

    def check(self, name: str, arguments: dict[str, Any], steps: int) -> Call:
        schema = self.tools.get(name)
        try:
            valid = schema is not None and schema.violation(arguments, steps=steps) is None
        except TooComplex:
            valid = False
        return Call(name, canonical(arguments), valid)


@lru_cache(maxsize=512)
def _truth(tools_text: str, calls_text: str) -> _Truth | str:
    """The ground truth of the two JSON texts, or what is wrong with it."""
    try:
        tools = _schemas(parse(tools_text, max_chars=MAX_SCHEMA_CHARS))
        calls = parse(calls_text, max_chars=MAX_SCHEMA_CHARS)
        return _Truth(tools, None if calls is None else _expected(_Truth(tools, None), calls))
    except (BadSchema, Refused) as error:
        return f"the truth's tools and calls: {error}"


def _schemas(tools: Any) -> dict[str, Schema]:
    """The schemas of the arguments, by name of the function. Errors: `BadSchema`."""
    schemas: dict[str, Schema] = {}
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or name in schemas:
            raise BadSchema("every tool needs its own name")
        parameters = function.get("parameters") or _NO_PARAMETERS
        if not isinstance(parameters, dict) or parameters.get("type") != "object":
            raise BadSchema(f"the parameters of {name!r} must be a schema of type object")
        schema = compiled(text_of(parameters))
        if isinstance(schema, str):
            raise BadSchema(f"the parameters of {name!r} are {schema}")
        schemas[name] = schema
    if not schemas:
        raise BadSchema("tools must be a list of at least one tool")
    return schemas


def _expected(truth: _Truth, calls: Any) -> tuple[Call, ...]:
    """The expected calls. Errors: `Refused`, `BadSchema`."""
    if not isinstance(calls, list) or len(calls) > MAX_CALLS:
        raise BadSchema(f"calls must be a list of at most {MAX_CALLS}")
    expected = tuple(truth.check(*_call(value), MAX_STEPS) for value in calls)
    for call in expected:
        if not call.valid:
            why = "breaks the schema of its tool" if call.name in truth.tools else "is to none of the tools"
            raise BadSchema(f"the expected call of {call.name!r} {why}")
    return expected


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall(Verifier):
    """Does the response make the calls in `truth["calls"]`, with the tools in `truth["tools"]`?

    Both are lists as in OpenAI's API (or JSON texts of such lists): tools `{"type": "function", "function": {"name",
    "parameters"}}` or the inner object alone, calls `{"name", "arguments"}`. An expected call matched by a call of the same
    name scores `name_share`, plus `valid_share` if the arguments follow the tool's schema, or 1 if they are the expected ones
    (as JSON: 1 equals 1.0, but not true or "1"). The score is the sum over the best matching, divided by the larger of the
    numbers of expected calls and of calls made: offering several calls instead of one earns no more than the likeliest of
    them alone. If no call is expected, any call scores 0. Without `calls` only validity is scored: the mean over the calls
    made.

    Calls are read after the reasoning: from JSON that is the whole answer or its last block "```json" (a call, a list of calls,
    `{"tool_calls": [...]}`; OpenAI), or from `<tool_call>{...}</tool_call>` blocks, with or without text around them (Hermes
    and Qwen). Arguments are an object, or a JSON text of one.

    Reasons: `correct`, `no_answer` (nothing after the reasoning), `no_call`, `unparsable`, `too_large`, `too_many_calls`,
    `wrong_style`, `unexpected_call`, `missing_calls`, `extra_calls`, `wrong_function`, `invalid_arguments`,
    `wrong_arguments`, `wrong_order`.
    """

    judges: ClassVar = "answer"
    needs: ClassVar = ("tools",)

    style: Literal["openai", "hermes", "either"] = "either"
    """Which way to write a call counts."""
    order: Literal["exact", "any"] = "exact"
    """`exact`: expected calls that are made out of order do not count."""
    name_share: float = 0.2
    """Score of a call of the right function whose arguments violate its schema."""
    valid_share: float = 0.2
    """Added if the arguments follow the schema but are not the expected ones."""

    def __post_init__(self) -> None:
        check_choices(self)
        for key in ("name_share", "valid_share"):
            if not 0.0 <= getattr(self, key) < 1.0 - (self.name_share if key == "valid_share" else 0.0):
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 0, and both shares together below 1")

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        truth = self.read_truth(problem.truth)
        if isinstance(truth, str):
            return Verdict.unscorable("bad_truth", truth)
        part = answer_part(completion)
        if not part.text:
            return Verdict.scored(0.0, "no_answer", detail="nothing after the reasoning")
        try:
            written = _read_calls(completion, part)
        except Refused as error:
            return Verdict.scored(0.0, error.reason, part.text[:200], str(error), span=part.span)
        if written.style not in ("none", self.style) and self.style != "either":
            detail = f"calls in the style of {written.style}"
            return Verdict.scored(0.0, "wrong_style", part.text[:200], detail, span=part.span)
        made = [truth.check(name, arguments, MAX_STEPS // len(written.calls)) for name, arguments in written.calls]
        score, reason = self._score(truth.calls, made) if truth.calls is not None else self._validity(made, truth.tools)
        answer = " ".join(f"{ascii(call.name)[1:-1]}({call.arguments[:60]})" for call in made[:8])[:200] or None
        wanted = "valid calls" if truth.calls is None else f"{len(truth.calls)} calls"
        return Verdict.scored(score, reason, answer, f"{len(made)} calls made, {wanted} expected", span=written.span)

    def read_truth(self, truth: Mapping[str, Any]) -> _Truth | str:
        if "tools" not in truth:
            return no_key(truth, "tools")
        try:
            return _truth(text_of(truth["tools"]), text_of(truth.get("calls")))
        except (TypeError, ValueError, RecursionError) as error:
            return f"the truth's tools or calls are not JSON: {error}"

    def _validity(self, made: Sequence[Call], tools: Mapping[str, Schema]) -> tuple[float, str]:
        if not made:
            return 0.0, "no_call"
        both = self.name_share + self.valid_share
        known = self.name_share / both if both else 0.0
        score = sum(1.0 if call.valid else known if call.name in tools else 0.0 for call in made) / len(made)
        unknown = any(call.name not in tools for call in made)
        return score, "correct" if score == 1.0 else "wrong_function" if unknown else "invalid_arguments"

    def _score(self, expected: Sequence[Call], made: Sequence[Call]) -> tuple[float, str]:
        if not expected or not made:
            return (0.0, "unexpected_call" if made else "no_call") if expected or made else (1.0, "correct")
        total = self._in_order(expected, made) if self.order == "exact" else self._in_any_order(expected, made)
        score = min(1.0, total / max(len(expected), len(made)))
        if score == 1.0:
            reason = "correct"
        elif len(made) != len(expected):
            reason = "missing_calls" if len(made) < len(expected) else "extra_calls"
        elif Counter(call.name for call in made) != Counter(call.name for call in expected):
            reason = "wrong_function"
        elif not all(call.valid for call in made):
            reason = "invalid_arguments"
        else:
            reason = "wrong_order" if Counter(made) == Counter(expected) else "wrong_arguments"
        return score, reason

    def _pair(self, expected: Call, made: Call) -> float:
        if expected.name != made.name:
            return 0.0
        return 1.0 if expected.arguments == made.arguments else self.name_share + self.valid_share * made.valid

    def _in_order(self, expected: Sequence[Call], made: Sequence[Call]) -> float:
        """The best total of an alignment that keeps both orders (dynamic programming, as for edit distance)."""
        above = [0.0] * (len(made) + 1)
        for wanted in expected:
            row = [0.0]
            for at, call in enumerate(made):
                row.append(max(above[at + 1], row[at], above[at] + self._pair(wanted, call)))
            above = row
        return above[-1]

    def _in_any_order(self, expected: Sequence[Call], made: Sequence[Call]) -> float:
        """The best total of a matching, found greedily: equal calls first, then by name, the valid ones first.

        Optimal because expected calls are valid: of the calls of one name an equal one scores most, and any valid one more
        than an invalid one, whichever expected call it is matched with.
        """
        equal = Counter(expected) & Counter(made)
        wanted = Counter(call.name for call in (Counter(expected) - equal).elements())
        total = float(equal.total())
        for call in sorted((Counter(made) - equal).elements(), key=lambda call: not call.valid):
            if wanted[call.name] > 0:
                wanted[call.name] -= 1
                total += self.name_share + self.valid_share * call.valid
        return total
