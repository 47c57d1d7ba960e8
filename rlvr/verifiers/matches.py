"""Verifier of form by a regular expression of the user."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import re2

from rlvr.answers.extract import Scope, after_think
from rlvr.text import one_line
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier, check_choices

MAX_MEMORY = 2 << 20
"""Memory limit of a compiled pattern, in bytes; it also bounds the time per character of text."""
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a pair, which cannot be written in UTF-8."""


@lru_cache(maxsize=1024)
def linear(pattern: str | bytes) -> Any:
    """A pattern compiled by RE2: linear in the text, where Python's `re` could hang on model text.

    Errors: `re2.error`, `UnicodeEncodeError`.
    """
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True  # groups are not needed, and RE2 is much faster without
    options.max_mem = MAX_MEMORY
    return re2.compile(pattern, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches(Verifier):
    """Does the response match a regular expression?

    The pattern is RE2's (https://github.com/google/re2/wiki/Syntax), whose time is linear in the text, whatever the text:
    no lookaround and no backreference, `\\z` for the end of the text, `(?i)`, `(?s)` and `(?m)` for flags.
    """

    judges: ClassVar = "format"

    pattern: str
    """The regular expression."""
    mode: Literal["search", "fullmatch"] = "search"
    """`search`: anywhere in the text; `fullmatch`: all of it."""
    scope: Scope = "response"
    """The text that is searched: the whole response, or what follows the last `</think>` (all of it without one)."""
    negate: bool = False
    """Full score when it does not match (also for an empty response: join it with a rule that asks for something)."""

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.pattern:
            raise ValueError("pattern='': must not be empty (it would match every text)")
        try:
            linear(self.pattern.encode())
        except (re2.error, UnicodeEncodeError) as error:
            cause = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
            raise ValueError(
                f"pattern={self.pattern!r}: must be a regular expression of RE2, which has no lookaround and no backreference "
                f"({one_line(cause)})"
            ) from error

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        text = SURROGATE.sub("\ufffd", after_think(completion) if self.scope == "after_think" else completion)
        pattern = linear(self.pattern.encode())
        encoded = text.encode()
        match = (pattern.search if self.mode == "search" else pattern.fullmatch)(encoded)
        if match is None:
            if self.negate:
                return Verdict.scored(1.0, "correct", detail="does not match, as asked")
            return Verdict.scored(0.0, "no_match", detail=f"{self.pattern[:100]!r} does not match")
        answer = match.group()[:800].decode(errors="replace")[:200]
        # In characters; a match may begin or end within one (`\\C` is a byte).
        start = len(encoded[: match.start()].decode(errors="ignore"))
        end = len(encoded[: match.end()].decode(errors="replace"))
        at = len(completion) - len(text)
        span = (at + start, at + end)
        if self.negate:
            return Verdict.scored(0.0, "forbidden", answer, f"{self.pattern[:100]!r} matches", span=span)
        return Verdict.scored(1.0, "correct", answer, "matches", span=span)
