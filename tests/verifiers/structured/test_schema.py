"""JsonMode and XmlMode: what counts as a document, its score, and that no document hangs, raises or fetches."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from sampled import sampled

from rlvr import Problem, load_rules
from rlvr.types import Verdict
from rlvr.verifiers.structured.json_schema import Schema, compiled
from rlvr.verifiers.structured.schema import JsonMode, XmlMode
from rlvr.verifiers.structured.strict_json import canonical

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}, "tags": {"items": {"type": "string"}}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
GOOD = '{"name": "Ada", "age": 36}'


def judge(text: str, schema: Any = PERSON, **options: Any) -> Verdict:
    return JsonMode(**options)(text, Problem(id="p", prompt="q", truth={"json_schema": schema}))


def judge_xml(text: str, **truth: Any) -> Verdict:
    return XmlMode()(text, Problem(id="p", prompt="q", truth=truth))


def fenced(text: str, language: str = "json") -> str:
    return f"Here it is:\n```{language}\n{text}\n```\nDone."


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        (GOOD, 1.0, "correct"),
        (f"\n  {GOOD}\n", 1.0, "correct"),
        (fenced(GOOD), 1.0, "correct"),
        (fenced(GOOD, "JSON"), 1.0, "correct"),
        (f"````json\n{GOOD}\n````", 1.0, "correct"),
        (f"<think>{{}} or {{}}?</think>{GOOD}", 1.0, "correct"),
        (f"<think>hm</think><answer>{GOOD}</answer>", 1.0, "correct"),
        (f"<think>hm</think>\n<answer>\n{fenced(GOOD)}\n</answer>", 1.0, "correct"),
        (fenced("[1]") + fenced(GOOD), 1.0, "correct"),  # the last one counts
        (fenced(GOOD) + fenced("[1]"), 0.0, "invalid"),
        (fenced(GOOD) + "\n```python\nprint()\n```", 1.0, "correct"),
        ('{"name": "\\ud800", "age": 36}', 1.0, "correct"),
        (f'{{"name": "Ada", "age": {"9" * 900}}}', 1.0, "correct"),
        ('{"name": "Ada", "age": 36.0}', 1.0, "correct"),  # an integer in JSON schema
        # where no document is
        ("", 0.0, "no_json"),
        (f"<think>{GOOD}</think>", 0.0, "no_json"),
        (f"<think>{fenced(GOOD)}</think>", 0.0, "no_json"),
        (f"<think>{fenced(GOOD)}", 0.0, "no_json"),
        (f"<think>a</think> <think>{fenced(GOOD)}", 0.0, "no_json"),
        # text around it
        (f"{GOOD} as you asked", 0.0, "unparsable"),
        (f"Sure: {GOOD}", 0.0, "unparsable"),
        (f"```json\n{GOOD}", 0.0, "unparsable"),  # the block is never closed
        (f"```\n{GOOD}\n```", 0.0, "unparsable"),
        (f"<answer>{GOOD}</answer> and more", 0.0, "unparsable"),
        # several of them
        (f"{GOOD}{GOOD}", 0.0, "ambiguous"),
        (f'{GOOD}\n\n{{"name": "Bob", "age": 3}}', 0.0, "ambiguous"),
        (fenced(f"{GOOD}\n{GOOD}"), 0.0, "ambiguous"),
        # not JSON
        ("no", 0.0, "unparsable"),
        ("{'name': 'Ada', 'age': 36}", 0.0, "unparsable"),
        ('{"name": "Ada", "age": 36,}', 0.0, "unparsable"),
        ('{"name": "Ada", "age": 36 /* years */}', 0.0, "unparsable"),
        ('{"name": "Ada", "age": NaN}', 0.0, "unparsable"),
        ('{"name": "Ada", "age": Infinity}', 0.0, "unparsable"),
        ('{"name": "Ada", "age": 1e400}', 0.0, "unparsable"),
        ('{"name": "Ada", "age": -1e400}', 0.0, "unparsable"),
        ('{"name": "Bob", "name": "Ada", "age": 36}', 0.0, "unparsable"),
        ('{"name": "A\nda", "age": 36}', 0.0, "unparsable"),
        ('{"name": "Ada", "age": 036}', 0.0, "unparsable"),
        ("\ufeff{}", 0.0, "unparsable"),
        ('{"name": "Ada", "age": \x00}', 0.0, "unparsable"),
        # beyond what is read
        ("[" * 65 + "]" * 65, 0.0, "too_large"),
        ("[" * 50_000, 0.0, "too_large"),
        (f'{{"name": "Ada", "age": {"9" * 2000}}}', 0.0, "too_large"),
        (f'{{"name": "{"a" * 200_000}", "age": 36}}', 0.0, "too_large"),
        # JSON, but not that
        ("3", 0.0, "invalid"),
        ("null", 0.0, "invalid"),
        ("[]", 0.0, "invalid"),
        ("{}", 0.0, "invalid"),
        ('{"name": "Ada"}', 0.5, "invalid"),
        ('{"name": "Ada", "age": "36"}', 0.5, "invalid"),
        ('{"name": "Ada", "age": true}', 0.5, "invalid"),
        ('{"name": "Ada", "age": -1}', 0.5, "invalid"),
        ('{"name": 1, "age": -1}', 0.0, "invalid"),
        ('{"name": "Ada", "age": 36, "tags": [1]}', 2 / 3, "invalid"),
        ('{"name": "Ada", "age": "36", "tags": []}', 2 / 3, "invalid"),
        ('{"name": "Ada", "age": 36, "hair": "red"}', 2 / 3, "invalid"),
        ('{"name": "Ada", "age": 36, "a": 1, "b": 1, "c": 1}', 2 / 5, "invalid"),
    ],
)
def test_json_mode(text: str, score: float, reason: str) -> None:
    verdict = judge(text)
    assert (verdict.score, verdict.reason) == (pytest.approx(score), reason)


@pytest.mark.parametrize(
    ("extract", "text", "reason"),
    [
        ("fenced", fenced(GOOD), "correct"),
        ("fenced", GOOD, "no_json"),
        ("fenced", f"```json {GOOD} ```", "no_json"),  # a block has lines of its own for its fences
        ("fenced", fenced(GOOD, "jsonc"), "no_json"),
        ("bare", GOOD, "correct"),
        ("bare", fenced(GOOD), "unparsable"),
        ("either", GOOD, "correct"),
        ("either", fenced(GOOD), "correct"),
    ],
)
def test_where_the_document_is(extract: str, text: str, reason: str) -> None:
    assert judge(text, extract=extract).reason == reason


@pytest.mark.parametrize(
    ("schema", "text", "score"),
    [
        (True, "3", 1.0),
        ({}, "[null]", 1.0),
        (json.dumps(PERSON), GOOD, 1.0),  # a schema as text
        ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", 1.0),
        ({"type": "array", "items": {"type": "integer"}}, '[1, "2"]', 0.0),
        ({"const": 1}, "true", 0.0),
        ({"enum": [0]}, "false", 0.0),
        ({"const": 1}, "1.0", 1.0),
        ({"multipleOf": 0.01}, "19.99", 1.0),  # floats would say no
        ({"multipleOf": 0.1}, "1" + "0" * 400, 1.0),  # and here they would overflow
        ({"multipleOf": 0.01}, "19.995", 0.0),
        ({"uniqueItems": True}, "[1, true, 0, false]", 1.0),
        ({"uniqueItems": True}, '[{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]', 0.0),
        ({"pattern": "^[a-z]+$"}, '"abc"', 1.0),
        ({"pattern": "^[a-z]+$"}, '"abc\\n"', 0.0),  # Python's `$` would let this pass
        ({"pattern": "^\\d+$"}, '"\\u0663"', 0.0),
        ({"pattern": "a"}, '"\\ud800a"', 1.0),
        ({"properties": {"a": {"type": "integer"}}, "minProperties": 2}, '{"a": 1}', 0.5),  # nothing wrong with a property
        ({"properties": {"a": {"type": "integer"}}, "oneOf": [{"required": ["b"]}, {"required": ["c"]}]}, '{"a": 1}', 0.5),
        ({"required": ["a"], "not": {"required": ["a"]}}, '{"a": 1}', 0.5),
        ({"properties": {"a": False}}, '{"a": 1}', 0.0),
        ({"patternProperties": {"^n": {"type": "integer"}}, "required": ["k"]}, '{"k": 1, "n1": 1, "n2": "x"}', 0.5),
        (
            {"required": ["a"], "additionalProperties": {"type": "integer"}},
            '{"b": 1, "c": 1, "d": 1}',
            0.0,
        ),  # extras earn nothing
        ({"propertyNames": {"maxLength": 1}, "properties": {"a": {}}}, '{"a": 1, "bb": 1}', 0.5),
        ({"$ref": "#/$defs/p", "$defs": {"p": PERSON}}, '{"name": "Ada"}', 0.5),
        ({"$ref": "#p", "$defs": {"p": {"$anchor": "p", **PERSON}}}, '{"name": "Ada"}', 0.5),
        ({"$id": "urn:x", "$ref": "urn:y", "$defs": {"p": {"$id": "urn:y", **PERSON}}}, '{"name": "Ada"}', 0.5),
        ({"allOf": [PERSON]}, '{"name": "Ada"}', 0.0),  # only properties at the top are counted
        ({"format": "date"}, '"x"', 1.0),
    ],
)
def test_schemas(schema: Any, text: str, score: float) -> None:
    assert judge(text, schema).score == pytest.approx(score)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", "2024-02-29", "2023-02-29"),
        ("date-time", "2024-02-29T12:00:00.5z", "2024-02-29 12:00:00Z"),
        ("date-time", "2024-02-29T12:00:00+01:00", "2024-02-29T25:00:00Z"),
        ("email", "a@b", "ab"),
        ("ipv4", "127.0.0.1", "127.0.0.256"),
        ("ipv6", "::1", "::g"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000"),
    ],
)
def test_formats_are_checked_on_request(name: str, good: str, bad: str) -> None:
    assert judge(json.dumps(good), {"format": name}, formats=True).score == 1.0
    assert judge(json.dumps(bad), {"format": name}, formats=True).score == 0.0
    assert judge(json.dumps(bad), {"format": name}).score == 1.0
    assert judge("3", {"format": name}, formats=True).score == 1.0


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({}, "no key 'json_schema' (it has: none)"),
        ({"schema": {}}, "no key 'json_schema' (it has: schema)"),
        ({"json_schema": None}, "is not of type 'object', 'boolean'"),
        ({"json_schema": []}, "is not of type 'object', 'boolean'"),
        ({"json_schema": "{"}, "no JSON schema"),
        ({"json_schema": {"type": "str"}}, "$.type: 'str'"),
        ({"json_schema": {"minLength": -1}}, "$.minLength"),
        ({"json_schema": {"minimum": float("nan")}}, "not JSON"),
        ({"json_schema": {"default": {1, 2}}}, "not JSON"),
        ({"json_schema": {"pattern": "(?=a)"}}, "RE2"),
        ({"json_schema": {"properties": {"a": {"patternProperties": {"(a)\\1": {}}}}}}, "RE2"),
        ({"json_schema": {"$ref": "#/$defs/a"}}, "leads nowhere"),
        ({"json_schema": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}, "nothing is fetched"),
        ({"json_schema": {"$ref": "file:///etc/passwd"}}, "nothing is fetched"),
        ({"json_schema": {"$ref": "#/x", "x": {"type": "str"}}}, "'str'"),  # a schema where none is looked for
        ({"json_schema": {"$ref": "#"}}, "without end"),
        ({"json_schema": {"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"allOf": [{"$ref": "#"}]}}}}, "without end"),
        ({"json_schema": {"unevaluatedProperties": False, "$ref": "#"}}, "without end"),
        ({"json_schema": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "draft 2020-12 too"),
        ({"json_schema": {"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#"}}}}, "draft 2020-12 too"),
        ({"json_schema": {"$dynamicRef": "#a"}}, "$dynamicRef"),
        ({"json_schema": {"unevaluatedProperties": False, "patternProperties": {"a": {}}}}, "not supported"),
        ({"json_schema": json.loads('{"not":' * 100 + "{}" + "}" * 100)}, "deep"),
    ],
)
def test_an_invalid_schema_is_unscorable_never_zero(truth: dict[str, Any], message: str) -> None:
    problem = Problem(id="p", prompt="q", truth=truth)
    verdict = JsonMode()(GOOD, problem)
    assert (verdict.outcome, verdict.reason) == ("unscorable", "bad_truth")
    assert message in verdict.detail
    assert JsonMode().check_truth(problem.truth) == verdict.detail
    assert "\n" not in verdict.detail


def test_the_dialect_may_be_named() -> None:
    """jsonschema would use its own validator of the dialect, whose patterns can hang."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {"a": {"pattern": "^(a+)+$"}}}
    assert judge(json.dumps({"a": "a" * 5000 + "!"}), schema).score == 0.0
    assert judge('{"a": "aa"}', schema).score == 1.0


def nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = {"args": [value], "op": "add"}
    return value


def test_a_union_that_refers_to_itself_does_not_take_exponential_time() -> None:
    def branch(op: str) -> Any:
        return {"properties": {"args": {"items": {"$ref": "#"}}, "op": {"const": op}}, "required": ["args", "op"]}

    schema = {"oneOf": [{"type": "integer"}, *({"type": "object", **branch(op)} for op in ("mul", "div", "sub", "add"))]}
    assert judge(json.dumps(nested(14)), schema).reason == "correct"
    assert judge(json.dumps(nested(14, "x")), schema).reason == "invalid"
    assert judge(json.dumps(nested(30)), schema).reason == "too_complex"


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"pattern": "^(a+)+$"}, json.dumps("a" * 90_000 + "!")),
        pytest.param({"pattern": "(?:a|b|[a-d].{0,900}c)+x"}, json.dumps("abcd" * 24_000), marks=pytest.mark.slow),
        ({"items": {"pattern": "[ab]*a[ab]{900}[ab]{900}c"}}, json.dumps(["a" * 9_000] * 10)),
        ({"patternProperties": {"^(a|a)*$": False}}, json.dumps({"a" * 90_000 + "!": 1})),
        ({"additionalProperties": False, "patternProperties": {"^(a|a)*$": {}}}, json.dumps({"a" * 90_000 + "!": 1})),
        ({"propertyNames": {"pattern": "^(a|aa)+$"}}, json.dumps({"a" * 90_000 + "!": 1})),
        ({"uniqueItems": True}, json.dumps([[i] for i in range(12_000)])),
        ({"uniqueItems": True}, json.dumps([k * (2**61 - 1) for k in range(4000)])),  # ints that all hash to 0
        ({"items": {"type": "string"}}, "[" + "1," * 49_000 + "1]"),
        ({"items": {"type": "integer"}}, "[" + "1," * 49_000 + "1]"),
        ({"contains": {"type": "string"}}, "[" + "1," * 49_000 + "1]"),
        ({"unevaluatedItems": False, "contains": {"type": "integer"}}, "[" + "1," * 49_000 + "1]"),
        ({"unevaluatedProperties": False, "properties": {}}, json.dumps({str(i): 1 for i in range(8000)})),
        pytest.param({"properties": {str(i): {} for i in range(5000)}, "required": ["x"]},
                     json.dumps({str(i): 1 for i in range(8000)}), marks=pytest.mark.slow),
        ({"anyOf": [{"$ref": "#/$defs/a"}] * 9, "$defs": {"a": {"items": {"$ref": "#"}}}}, "[" * 60 + "1" + "]" * 60),
    ],
)  # fmt: skip
def test_no_document_makes_a_check_hang(schema: Any, text: str) -> None:
    start = time.process_time()
    verdict = judge(text, schema)
    assert verdict.outcome == "scored"
    assert len(verdict.detail) < 400
    assert time.process_time() - start < 10


def test_a_key_that_cannot_be_written_does_not_reach_the_detail() -> None:
    judge('{"\\ud800": 1}', {"additionalProperties": {"type": "string"}}).detail.encode()


NAMES = st.sampled_from(["a", "b", "\ud800"])
LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0, "a", "ab", ""])
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
TYPES = st.sampled_from(["null", "boolean", "object", "array", "number", "string", "integer"])


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some, named = st.lists(inner, min_size=1, max_size=3), st.dictionaries(NAMES, inner, max_size=3)
    small = st.integers(0, 3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES, "enum": st.lists(DOCUMENTS, max_size=3), "const": DOCUMENTS, "minimum": small,
            "multipleOf": st.just(2), "minLength": small, "pattern": st.sampled_from(["a", "^a$", "b|a"]), "items": inner,
            "prefixItems": some, "contains": inner, "minContains": small, "minItems": small, "uniqueItems": st.booleans(),
            "properties": named, "required": st.lists(NAMES, unique=True), "additionalProperties": inner,
            "propertyNames": inner, "maxProperties": small, "patternProperties": st.dictionaries(st.just("a"), inner),
            "dependentSchemas": named, "unevaluatedItems": inner, "allOf": some, "anyOf": some, "oneOf": some, "not": inner,
            "if": inner, "then": inner, "else": inner,
        },
    )  # fmt: skip


SCHEMAS = st.recursive(st.booleans() | TYPES.map(lambda name: {"type": name}), _schemas, max_leaves=6)


def check_against_jsonschema(schema: Any, document: Any) -> None:
    checked = compiled(json.dumps(schema))
    assert isinstance(checked, Schema)
    expected = Draft202012Validator(schema).is_valid(document)
    assert (checked.violation(document) is None) == expected
    verdict = judge(json.dumps(document), schema)
    assert verdict.score == 1.0 if expected else 0.0 <= (verdict.score or 0.0) < 1.0


@pytest.mark.parametrize("examples", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_validity_is_that_of_jsonschema_and_only_valid_documents_get_the_full_score(examples: int) -> None:
    settings(max_examples=examples)(given(SCHEMAS, DOCUMENTS)(check_against_jsonschema))()


def test_canonical() -> None:
    assert canonical({"b": [1.0, True], "a": None}) == canonical({"a": None, "b": (1, True)})
    different = [1, True, "1", [1], {"a": 1}, 0, False, None, "", [], {}, 1.5, 10**400]
    assert len({canonical(value) for value in different}) == len(different)


XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="note"><xs:complexType><xs:sequence>
<xs:element name="to" type="xs:string"/><xs:element name="day" type="xs:date" minOccurs="0"/>
</xs:sequence></xs:complexType></xs:element></xs:schema>"""
NOTE = "<note><to>Ada</to></note>"


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        (NOTE, 1.0, "correct"),
        (f"Here you are:\n{NOTE}\n", 1.0, "correct"),
        (fenced(NOTE, "xml"), 1.0, "correct"),
        (fenced("<other/>", "xml") + fenced(NOTE, "xml"), 1.0, "correct"),
        (f"<think>a < b</think><answer>{NOTE}</answer>", 1.0, "correct"),
        (f"<?xml version='1.0' encoding='UTF-16'?>{NOTE}", 1.0, "correct"),
        ("<note><to><![CDATA[<!DOCTYPE a>]]></to></note>", 1.0, "correct"),
        ("<note><to>A</to><day>2024-02-29</day></note>", 1.0, "correct"),
        ("<note><to>A</to><day>2023-02-29</day></note>", 0.5, "invalid"),
        ("<note/>", 0.5, "invalid"),
        (fenced(NOTE, "xml") + fenced("<other/>", "xml"), 0.5, "invalid"),
        ("", 0.0, "no_xml"),
        ("a note to Ada", 0.0, "no_xml"),
        (f"<think>{NOTE}</think>", 0.0, "no_xml"),
        (f"<think>{NOTE}", 0.0, "no_xml"),
        (f"<think>{NOTE}</think>So it is.", 0.0, "no_xml"),
        (f"{NOTE} as you asked", 0.0, "unparsable"),
        (NOTE + NOTE, 0.0, "unparsable"),
        ("<note><to>Ada</note></to>", 0.0, "unparsable"),
        ("<note><to>Ada</to>", 0.0, "unparsable"),
        ("<note><to>A & B</to></note>", 0.0, "unparsable"),
        ("<note><to>&nbsp;</to></note>", 0.0, "unparsable"),
        ("<note><to>\x00</to></note>", 0.0, "unparsable"),
        ("<note><to>\ud800</to></note>", 0.0, "unparsable"),
        ("<a>" * 300 + "</a>" * 300, 0.0, "unparsable"),  # deeper than libxml2 allows
        ("<a>" * 60_000, 0.0, "too_large"),
    ],
)
def test_xml_mode(text: str, score: float, reason: str) -> None:
    verdict = judge_xml(text, xsd=XSD)
    assert (verdict.score, verdict.reason) == (score, reason)
    without = judge_xml(text)
    assert (without.score, without.reason) == ((1.0, "correct") if score else (0.0, reason))


def entity(i: int) -> str:
    return f"&e{i};"


BOMB = "<!DOCTYPE a [<!ENTITY e0 'lol'>" + "".join(f"<!ENTITY e{i + 1} '{10 * entity(i)}'>" for i in range(9)) + "]>"


@pytest.mark.parametrize(
    "text",
    sampled(
        [
            f"{BOMB}<a>&e9;</a>",
            f"{BOMB}<a b='&e9;'/>",
            f"<?xml version='1.0'?><!-- c --><?pi x?>\n{BOMB}<a>&e9;</a>",
            f"```xml\n\ufeff{BOMB}<a/>\n```",
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a SYSTEM 'file://{secret}'><a/>",
            "<!DOCTYPE a [<!ENTITY x SYSTEM 'file://{secret}'>]><a>&x;</a>",
            "<!DOCTYPE a [<!ENTITY % x SYSTEM 'file://{secret}'> %x;]><a/>",
            "<!DOCTYPE a SYSTEM '{url}'><a/>",
            "<!DOCTYPE a [<!ENTITY x SYSTEM '{url}'>]><a>&x;</a>",
        ],
        every=3,
    ),
)
def test_entities_are_refused(text: str, secret: Path, server: tuple[str, list[str]]) -> None:
    verdict = judge_xml(text.replace("{secret}", str(secret)).replace("{url}", server[0]))
    assert (verdict.score, verdict.reason) == (0.0, "entities")
    assert "TOP SECRET" not in repr(verdict)
    assert not server[1]


def test_a_declared_encoding_hides_no_doctype() -> None:
    hidden = "<?xml version='1.0' encoding='UTF-7'?>+ADwAIQ-DOCTYPE a+AD4-<a/>"
    assert judge_xml(hidden).score == 0.0


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("TOP SECRET")
    return tmp_path / "secret.txt"


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A local server that records requests."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/x", asked
        running.shutdown()
        thread.join()


def test_nothing_is_fetched(server: tuple[str, list[str]], tmp_path: Path) -> None:
    url, asked = server
    (tmp_path / "loose.xsd").write_text(XSD.replace("note", "loose"))
    assert JsonMode().check_truth({"json_schema": {"$ref": url}})
    assert JsonMode().check_truth({"json_schema": {"$id": url, "properties": {"a": {"$ref": "y"}}}})
    for place in (url, f"file://{tmp_path}/loose.xsd", f"{tmp_path}/loose.xsd"):
        for tag in ("include", "import", "redefine"):
            xsd = XSD.replace("<xs:element", f"<xs:{tag} schemaLocation='{place}'/><xs:element", 1)
            assert "nothing is fetched" in str(XmlMode().check_truth({"xsd": xsd}))
        xsi = f"xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:noNamespaceSchemaLocation='{place}'"
        assert judge_xml(f"<loose {xsi}><to>A</to></loose>", xsd=XSD).reason == "invalid"
        included = f"<note xmlns:x='http://www.w3.org/2001/XInclude'><x:include href='{place}' parse='text'/></note>"
        assert judge_xml(included, xsd=XSD).reason == "invalid"
    assert not asked


@pytest.mark.parametrize("xsd", ["", "<", "<a/>", 3, f"{BOMB}<a/>", XSD.replace("xs:date", "xs:dat"), XSD[:-1], "\ud800"])
def test_an_invalid_xsd_is_unscorable(xsd: Any) -> None:
    problem = Problem(id="p", prompt="q", truth={"xsd": xsd})
    verdict = XmlMode()(NOTE, problem)
    assert (verdict.outcome, verdict.reason) == ("unscorable", "bad_truth")
    assert XmlMode().check_truth(problem.truth) == verdict.detail
    assert XmlMode().quick(NOTE, problem) == verdict


def test_only_an_xsd_that_can_be_slow_needs_a_worker() -> None:
    pattern = "<xs:restriction base='xs:string'><xs:pattern value='(a|aa)+(a|aa)+b'/></xs:restriction>"
    slow = XSD.replace('name="to" type="xs:string"/>', f'name="to"><xs:simpleType>{pattern}</xs:simpleType></xs:element>')
    for truth, text in (({}, NOTE), ({"xsd": XSD}, NOTE), ({"xsd": None}, NOTE)):
        assert XmlMode().quick(text, Problem(id="p", prompt="q", truth=truth)) == judge_xml(text, **truth)
    assert XmlMode().quick(NOTE, Problem(id="p", prompt="q", truth={"xsd": slow})) is None
    assert judge_xml("<note><to>aab</to></note>", xsd=slow).score == 1.0
    assert judge_xml(f"<note><to>{'a' * 5000}</to></note>", xsd=slow).reason == "too_complex"


@pytest.mark.parametrize("options", [{"extract": "box"}, {"well_formed_share": 1.0}, {"well_formed_share": -0.1}])
def test_bad_options_name_the_key_and_the_value(options: dict[str, Any]) -> None:
    ((key, value),) = options.items()
    with pytest.raises(ValueError, match=f"{key}={value}: must"):
        (JsonMode if key == "extract" else XmlMode)(**options)


PIECES = st.sampled_from(
    [*"[]{}<>", "<think>", "</think>", "<answer>", "</answer>", "```json\n", "\n```\n", "```xml\n", '{"name":', '"Ada"',
     ',"age":', "36", "<a>", "</a>", "<!--", "-->", "<![CDATA[", "]]>", "<?x", "?>", "<!DOCTYPE a>", "&a;", "\x00",
     "\ud800", "1e400"]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=3)).map("".join))
def test_any_text_gets_a_score_and_the_same_one_anywhere(text: str) -> None:
    problem = Problem(id="p", prompt="q", truth={"json_schema": PERSON, "xsd": XSD})
    with ThreadPoolExecutor(1) as pool:
        for verifier in (JsonMode(), JsonMode(extract="fenced"), JsonMode(extract="bare", formats=True), XmlMode()):
            first = verifier(text, problem)
            assert first.outcome == "scored"
            assert first == pickle.loads(pickle.dumps(verifier))(text, problem)
            assert first == pool.submit(verifier, text, problem).result()


PIECES_400K = ["[", '{"a":', '"', "\\", "1,", "```json\n", "```", "``` \t", "``", "\n", " ", "<think>", "</think>", "<answer>",
               "<", "<a>", "<!--", "<?", "&", "<![CDATA[", "<a b='", '{"a":1}', "9", "\ud800", "\x00"]  # fmt: skip


@pytest.mark.parametrize("piece", sampled(PIECES_400K))
def test_long_hostile_text_takes_no_time(piece: str) -> None:
    """A quadratic scan of 400,000 characters would take minutes."""
    start = time.process_time()
    for n_chars in (400_000, 99_000):  # more than is read, and all of it read
        text = piece * (n_chars // len(piece))
        for response in (text, f"```json\n{text}\n```", f"```xml\n<a>{text}", f"<answer>[{text}</answer>"):
            assert judge(response).outcome == judge_xml(response, xsd=XSD).outcome == "scored"
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("pack", "truth", "right", "wrong"),
    [("json_mode", {"json_schema": PERSON}, GOOD, GOOD[:-1]), ("xml_mode", {"xsd": XSD}, NOTE, NOTE[:-1])],
)
def test_the_packs(pack: str, truth: dict[str, Any], right: str, wrong: str) -> None:
    problem, rules = Problem(id="p", prompt="q", truth=truth), load_rules(pack)
    assert [rules.judge(text, problem).reward for text in (right, wrong)] == [1.0, 0.0]
    both = load_rules(f"r1_format+{pack}").judge(f"<think>as they asked me</think><answer>{right}</answer>", problem)
    assert both.reward == pytest.approx(1.1)


@pytest.mark.parametrize(
    "schema",
    [
        {"name": "person", "strict": True, "schema": {"type": "object", "required": ["name"]}},
        {"tpye": "object"},
        {"$defs": {"a": {"type": "string"}}},
        {"title": "Anything"},
    ],
)
def test_a_schema_without_a_keyword_is_a_bad_truth(schema: dict[str, Any]) -> None:
    problem = Problem(id="p", prompt="q", truth={"json_schema": schema})
    assert JsonMode()("1", problem).reason == "bad_truth"
    assert "has no keyword of JSON Schema, only " in (JsonMode().check_truth(problem.truth) or "")


@pytest.mark.parametrize("schema", [{}, True, "{}"])
def test_a_schema_that_means_any_json(schema: Any) -> None:
    problem = Problem(id="p", prompt="q", truth={"json_schema": schema})
    assert JsonMode().check_truth(problem.truth) is None
    assert [JsonMode()(text, problem).score for text in ("1", "x")] == [1.0, 0.0]


@pytest.mark.parametrize("inside", ["", '<xs:complexType name="t"/>', "<xs:annotation/>"])
def test_an_xsd_that_no_document_can_follow_is_a_bad_truth(inside: str) -> None:
    xsd = f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{inside}</xs:schema>'
    assert "declares no element" in (XmlMode().check_truth({"xsd": xsd}) or "")
    assert XmlMode()("<a/>", Problem(id="p", prompt="q", truth={"xsd": xsd})).reason == "bad_truth"


@pytest.mark.parametrize(
    ("truth", "xml", "json_mode"),
    [
        ({}, True, False),
        ({"topic": "birds"}, True, False),
        ({"xsd": "<xs:schema/>"}, True, False),
        ({"xsd": "<xs:schema/>", "answer": "5"}, True, False),
        ({"answer": "5"}, False, False),
        ({"answers": ["Paris"]}, False, False),
        ({"choices": ["a", "b"], "answer": "A"}, False, False),
        ({"json_schema": {}}, False, True),
        ({"tools": [], "calls": []}, False, False),
        ({"numbers": [1], "target": 1}, False, False),
    ],
)
def test_which_problems_of_a_mixture_are_scored(truth: dict[str, Any], xml: bool, json_mode: bool) -> None:
    assert (XmlMode().applies(truth), JsonMode().applies(truth)) == (xml, json_mode)
