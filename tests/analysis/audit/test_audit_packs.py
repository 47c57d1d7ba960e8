"""No attack gains on any shipped pack unless all its rules declare that they allow it, and why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.util import find_spec

import pytest

from conftest import needs
from rlvr import Problem, load_rules
from rlvr.analysis.audit.attacks.base import Attack, find_attacks
from rlvr.analysis.audit.audit import audit
from rlvr.config.compose import CONF, compose
from rlvr.config.schema import AuditConfig
from rlvr.data.datasets.gridworld import Gridworld
from rlvr.data.prompts import Prompts
from rlvr.runs.plan import plan

ATTACKS = find_attacks(AuditConfig().attacks, ("rlvr.",))
REASONING = "First note that the boxes hold {0} apples each, and that there are {1} of them; so there are {2} in all."


def _sums(answer: str = "{}", **truth: object) -> list[Problem]:
    numbers = [(12, 3), (15, 4), (21, 5), (18, 7), (33, 6)]
    return [
        Problem(
            id=f"p{a}",
            prompt=f"{b} boxes of {a} apples. How many apples?",
            truth={"answer": answer.format(a * b), **truth},
            metadata={"solution": REASONING.format(a, b, a * b)},
        )
        for a, b in numbers
    ]


def _choices() -> list[Problem]:
    texts = ["the mitochondrion", "the cell wall", "the nucleus", "the ribosome"]
    return [
        Problem(
            id=f"c{at}",
            prompt="Which part is meant?",
            truth={"choices": texts, "answer": letter},
            metadata={"solution": f"The description fits only {texts[at]}, for it is what the passage is about."},
        )
        for at, letter in enumerate("ABCD")
    ]


def _facts() -> list[Problem]:
    facts = [("Paris", "City of Paris"), ("3.5", "3.50"), ("Beyonc\u00e9", "Beyonce Knowles"), ("1969", "the year 1969")]
    return [
        Problem(
            id=f"f{at}",
            prompt="Who, what or when?",
            truth={"answers": list(names)},
            metadata={"answer": names[0], "solution": f"From what is known of the matter it can only be number {at} of them."},
        )
        for at, names in enumerate(facts)
    ]


def _written(truth: dict[str, object], *completions: str) -> list[Problem]:
    """Problems whose data set has whole completions; each is wrong for the others where the truths differ."""
    return [
        Problem(id=f"w{at}", prompt="q", truth=truth, metadata={"completion": completion})
        for at, completion in enumerate(completions)
    ]


def _calls() -> list[Problem]:
    tools = [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            },
        }
    ]
    calls = [{"name": "weather", "arguments": {"city": city}} for city in ("Rome", "Oslo", "Lima")]
    return [
        Problem(
            id=f"t{at}",
            prompt="Weather?",
            truth={"tools": tools, "calls": [call]},
            metadata={"completion": f"<tool_call>\n{json.dumps(call)}\n</tool_call>"},
        )
        for at, call in enumerate(calls)
    ]


def _tasks() -> list[Problem]:
    source = plan(compose(["dataset=reasoning_gym", "dataset.train_problems=4", "dataset.test_problems=1"])).source
    return list(source.load().train)


def _sql() -> list[Problem]:
    schema = "CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'x')"
    other = "CREATE TABLE t(a, b); INSERT INTO t VALUES (4, 'y'), (5, 'z')"
    queries = ["SELECT a FROM t WHERE b = 'y'", "SELECT sum(a) FROM t", "SELECT b, count(*) FROM t GROUP BY b"]
    return [
        Problem(
            id=f"s{at}",
            prompt="Which query?",
            truth={"databases": [schema, other], "query": query},
            metadata={"completion": f"<think>Table t has it.</think>\n```sql\n{query}\n```"},
        )
        for at, query in enumerate(queries)
    ]


def _countdown() -> list[Problem]:
    made = [([3, 4, 5], 17, "3*4+5"), ([2, 6, 7], 56, "(2+6)*7"), ([10, 4, 2], 12, "10+4-2")]
    return [
        Problem(
            id=f"n{at}",
            prompt="Make the target.",
            truth={"numbers": numbers, "target": target},
            metadata={"answer": text, "solution": f"Trying products first and then the rest leads to {target} quickly."},
        )
        for at, (numbers, target, text) in enumerate(made)
    ]


def _programs() -> list[Problem]:
    made = {
        "double": ("return 2 * x", (6, 10, -14)),
        "square": ("return x * x", (9, 25, 49)),
        "negate": ("return -x", (-3, -5, 7)),
    }
    return [
        Problem(
            id=f"k{at}",
            prompt=f"Write the function {name}.",
            truth={"asserts": [f"assert {name}({x}) == {value}" for x, value in zip((3, 5, -7), values, strict=True)]},
            metadata={"completion": f"```python\ndef {name}(x):\n    {body}\n```"},
        )
        for at, (name, (body, values)) in enumerate(made.items())
    ]


def _proofs() -> list[Problem]:
    proofs = {
        "forall n : nat, n + 0 = n": "induction n; simpl; congruence.",
        "forall a b : bool, andb a b = andb b a": "now intros [] [].",
    }
    return [
        Problem(
            id=f"v{at}",
            prompt="Prove it.",
            truth={"statement": f"Theorem t{at} : {statement}.", "prover": "coq"},
            metadata={"completion": f"```coq\nProof.\n{proof}\nQed.\n```"},
        )
        for at, (statement, proof) in enumerate(proofs.items())
    ]


SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}
DATA: dict[str, tuple[list[Problem], str]] = {
    "answer": (_sums(), "r1"),
    "r1_format": (_sums(), "r1"),
    "gsm8k": (_sums(), "gsm8k"),
    "math": (_sums("\\frac{{{}}}{{7}}"), "boxed"),
    "mcq": (_choices(), "r1"),
    "qa": (_facts(), "r1"),
    "json_mode": (
        [*_written({"json_schema": SCHEMA}, '{"name": "Ann", "age": 3}'), Problem(
            id="other", prompt="q", truth={"json_schema": {"type": "array", "items": {"type": "integer"}, "minItems": 1}},
            metadata={"completion": "[1, 2]"})],
        "r1",
    ),
    "xml_mode": (_written({}, "<a><b>1</b></a>", "<note>text</note>"), "r1"),
    "function_call": (_calls(), "r1"),
    "countdown": (_countdown(), "r1"),
    "code": (_programs(), "code"),
    "code_strict": (_programs(), "code"),
    "sql": (_sql(), "r1"),
    "simulation": (list(Gridworld(train_problems=5, test_problems=1).load().train), "actions"),
    "anti_hack": (_sums(), "r1"),
    "english_only": (_sums(), "r1"),
    "overlong": (_sums(), "r1"),
    "style": (_sums(), "r1"),
}  # fmt: skip
JOINED = [
    "r1_format+answer",
    "r1_format+answer+anti_hack",
    "r1_format+math",
    "r1_format+mcq+anti_hack",
    "r1_format+answer+style",
]
SHIPPED = sorted(path.stem for path in (CONF / "rules").glob("*.yaml"))


needs_coq = needs(shutil.which("coqc") is not None, "coqc (apt install coq)")
MARKS = {
    "code": [pytest.mark.slow],  # all attacks on packs that run programs take minutes
    "code_strict": [pytest.mark.slow],
    "proof": [pytest.mark.slow, needs_coq],
    "reasoning_gym": [pytest.mark.slow, needs(find_spec("reasoning_gym") is not None, "pip install 'rlvr[reasoning_gym]'")],
}
FAST = ("answer", "math", "function_call", "anti_hack", "r1_format+answer+anti_hack")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=MARKS.get(name, [] if name in FAST else [pytest.mark.slow])) for name in [*SHIPPED, *JOINED]],
)
def test_no_attack_gains_undeclared(name: str) -> None:
    check(name, ATTACKS)


@pytest.mark.parametrize("name", ["code_strict", pytest.param("proof", marks=needs_coq)])
def test_some_attacks_on_packs_that_run_programs(name: str) -> None:
    check(name, [each for each in ATTACKS[::7] if not getattr(each, "one_each", False)])


def check(name: str, attacks: Sequence[Attack]) -> None:
    if name in ("reasoning_gym", "proof"):
        problems, prompt = _tasks() if name == "reasoning_gym" else _proofs(), "r1"
    else:
        problems, prompt = DATA[name] if name in DATA else DATA["mcq" if "mcq" in name else "answer"]
    pack = load_rules(name)
    report = audit(pack, problems, Prompts(template=compose(["model=qwen0.5b", f"prompt={prompt}"]).prompt), attacks, 50)
    pack.check_allows({name for attack in ATTACKS for name in (attack.name(), attack.family())})
    assert not report.lint.bad
    assert report.short == ()
    assert report.attacked or name == "xml_mode", "every well-formed document is right for every problem"
    assert [(each.attack.name(), each.share, each.worst) for each in report.failed(0.0)] == []
