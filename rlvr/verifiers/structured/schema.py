"""Verifiers of structured output: JSON that follows a schema, XML that is well-formed and follows an XSD."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  it has no types

from rlvr.answers.extract import Piece, answer_part, fenced
from rlvr.config.bounds import check_fields
from rlvr.text import one_line
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Refused, Verifier, check_choices, no_key
from rlvr.verifiers.structured.json_schema import Schema, TooComplex, compiled
from rlvr.verifiers.structured.strict_json import MAX_CHARS, parse, read, text_of

_ASIDE = re.compile(r"\s*(?:<!--.*?-->|<\?.*?\?>)", re.DOTALL)
_OTHER_TASKS = frozenset(
    {"answer", "answers", "choices", "json_schema", "tools", "numbers", "reasoning_gym"}
    | {"asserts", "check", "cases", "statement", "databases", "schema", "query", "rows", "simulation"}
)
_XSD = "{http://www.w3.org/2001/XMLSchema}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonMode(Verifier):
    """Is the answer one JSON document that follows `truth["json_schema"]` (draft 2020-12; an object, or JSON text of one)?

    Of several fenced blocks the last counts; two bare documents are `ambiguous`, and text around a bare one makes it
    `unparsable`, like a duplicate key, NaN, and a number that overflows. A document that violates the schema gets the share
    of its top-level properties that satisfy it (`rlvr.verifiers.structured.json_schema.Schema.share`), always below 1. Nothing
    in the reasoning counts. It scores the form, not whether the values are right, which a schema cannot know.

    Reasons: `no_json`, `ambiguous`, `unparsable`, `too_large`, `too_complex` (more steps than a check may take), `invalid`,
    `correct`. An invalid schema, one that refers to something outside of itself, or one with a pattern that RE2 lacks is
    `unscorable`.
    """

    judges: ClassVar = "format"
    needs: ClassVar = ("json_schema",)

    extract: Literal["fenced", "bare", "either"] = "either"
    """Where the document is: `fenced`, in a block "```json"; `bare`, the whole answer; `either`, the block if there is one."""
    formats: bool = False
    """Whether `format` is checked (date, date-time, email, ipv4, ipv6, uuid); if not it is an annotation, as in the draft."""

    def __post_init__(self) -> None:
        check_choices(self)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        schema = self.read_truth(problem.truth)
        if isinstance(schema, str):
            return Verdict.unscorable("bad_truth", schema)
        part = answer_part(completion)
        block = fenced(completion, part, "json") if self.extract != "bare" else None
        if not part.text or (block is None and self.extract == "fenced"):
            return Verdict.scored(0.0, "no_json", detail="no closed block ```json" if part.text else "no answer")
        found = block or part
        answer = found.text[:200]
        try:
            value = parse(found.text)
        except Refused as error:
            reason = "ambiguous" if _begins_with_two_documents(found.text) else error.reason
            return Verdict.scored(0.0, reason, answer, str(error), span=found.span)
        try:
            violation = schema.violation(value)
            score = 1.0 if violation is None else schema.share(value)
        except TooComplex as error:
            return Verdict.scored(0.0, "too_complex", answer, str(error), span=found.span)
        return Verdict.scored(score, "correct" if violation is None else "invalid", answer, violation or "", span=found.span)

    def read_truth(self, truth: Mapping[str, Any]) -> Schema | str:
        if "json_schema" not in truth:
            return no_key(truth, "json_schema")
        try:
            text = text_of(truth["json_schema"])
        except (TypeError, ValueError, RecursionError) as error:
            return f"the truth's json_schema is not JSON: {error}"
        schema = compiled(text, formats=self.formats)
        if isinstance(schema, str):
            return f"the truth's json_schema is {schema}"
        if not schema.asks():  # a schema nested in another object, or a misspelt one
            return f"the truth's json_schema has no keyword of JSON Schema, only {', '.join(schema.validator.schema)[:80]}"
        return schema


def _begins_with_two_documents(text: str) -> bool:
    if len(text) > MAX_CHARS:
        return False
    try:
        _, end = read(text)
        read(text[end:].lstrip())
    except Refused:
        return False
    return True


def _opens_with_doctype(text: str) -> bool:
    """Comments and processing instructions before it are skipped one at a time: a single pattern could backtrack over every way
    to split them, and possessive matching is broken in Python 3.11.2."""
    at = 0
    while aside := _ASIDE.match(text, at):
        at = aside.end()
    return text[at:].lstrip().startswith("<!DOCTYPE")


def _parser() -> etree.XMLParser:
    # The encoding is fixed, whatever the document declares: a different one could hide a DOCTYPE.
    return etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
    )


def _document(response: str) -> Piece | None:
    """The XML document of a response; None without one."""
    part = answer_part(response)
    source = fenced(response, part, "xml") or part
    if "<" not in source.text:
        return None
    return Piece(source.text[source.text.index("<") :], response.index("<", source.start), source.end)


def _read_xml(text: str) -> Any:
    """The root element. Errors: `Refused`."""
    if len(text) > MAX_CHARS:
        raise Refused("too_large", f"{len(text)} characters, at most {MAX_CHARS} are read")
    try:
        root = None if _opens_with_doctype(text) else etree.fromstring(text.encode(), _parser())
    except (etree.XMLSyntaxError, UnicodeEncodeError) as error:
        raise Refused("unparsable", _message(error)) from error
    if root is None or root.getroottree().docinfo.internalDTD is not None:
        raise Refused("entities", "a DOCTYPE is refused, with what it could declare")
    return root


@dataclass(frozen=True, slots=True)
class _Xsd:
    schema: etree.XMLSchema
    may_hang: bool
    """Whether it has a pattern, which libxml2 matches by backtracking, or a key, which it compares with every other key."""


@lru_cache(maxsize=256)
def _xsd(text: str, thread: int) -> _Xsd | str:
    """The schema of an XSD text, or why it is none. One per thread, because its list of errors is shared state."""
    if _opens_with_doctype(text):
        return "it has a DOCTYPE"
    try:
        root = etree.fromstring(text.encode(), _parser())
        named = {element.tag.removeprefix(_XSD) for element in root.iter(f"{_XSD}*")}
        fetching = named & {"import", "include", "redefine", "override"}
        if fetching:
            return f"xs:{min(fetching)} is not supported: nothing is fetched, from disk or network"
        if root.find(f"{_XSD}element") is None:
            return "it declares no element at its top, so that no document can follow it"
        return _Xsd(etree.XMLSchema(root), bool(named & {"pattern", "key", "keyref", "unique"}))
    except (etree.XMLSyntaxError, etree.XMLSchemaParseError, UnicodeEncodeError) as error:
        return str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlMode(Verifier):
    """Is the answer one well-formed XML document, and does it follow the XSD 1.0 in `truth["xsd"]`, if there is one?

    The document is the last block "```xml", or without one the answer from its first `<`; text after it makes it `unparsable`.
    A DOCTYPE is refused (`entities`), so there are no entities to expand and nothing to fetch. An `<answer>` around the answer
    is a tag of the response and not of the document, unless it is inside the block.

    Reasons: `no_xml`, `too_large`, `entities`, `unparsable`, `invalid` (well-formed, but violates the XSD), `too_complex`,
    `correct`.
    """

    judges: ClassVar = "format"

    well_formed_share: float = 0.5
    """Score of a well-formed document that does not follow the XSD."""

    def __post_init__(self) -> None:
        check_fields(self, "well_formed_share", at_least=0, below=1)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        xsd = self.read_truth(problem.truth)
        if isinstance(xsd, str):
            return Verdict.unscorable("bad_truth", xsd)
        found = _document(completion)
        if found is None:
            return Verdict.scored(0.0, "no_xml", detail="the answer has no <")
        score, reason, detail = self._score(found.text, xsd)
        return Verdict.scored(score, reason, found.text[:200], detail, span=found.span)

    def _score(self, text: str, xsd: _Xsd | None) -> tuple[float, str, str]:
        """Score, reason and detail."""
        try:
            root = _read_xml(text)
            follows = xsd is None or xsd.schema.validate(root)
        except Refused as error:
            return 0.0, error.reason, str(error)
        except etree.XMLSchemaValidateError:  # libxml2 gave up on a pattern
            return 0.0, "too_complex", "checking it takes more steps than libxml2 grants"
        if xsd is None:
            return 1.0, "correct", "well-formed"
        if follows:
            return 1.0, "correct", "follows the XSD"
        return self.well_formed_share, "invalid", _message(xsd.schema.error_log.last_error.message)

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        xsd = self.read_truth(problem.truth)
        return None if isinstance(xsd, _Xsd) and xsd.may_hang else self(completion, problem)

    def applies(self, truth: Mapping[str, Any]) -> bool:
        """Applies to a ground truth with an XSD, or with no key of another task."""
        return "xsd" in truth or not _OTHER_TASKS & truth.keys()

    def read_truth(self, truth: Mapping[str, Any]) -> _Xsd | str | None:
        text = truth.get("xsd")
        if text is None:
            return None
        xsd = _xsd(text.strip(), threading.get_ident()) if isinstance(text, str) else f"it is no text, but {str(text)[:40]!r}"
        return f"the truth's xsd is no XSD that we use: {_message(xsd)}" if isinstance(xsd, str) else xsd


def _message(error: object) -> str:
    return one_line(error)[:200]
