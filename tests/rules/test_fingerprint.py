"""The hash of the rules: it changes with all that a reward depends on and nothing else; it is the same on every machine."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from rlvr import Problem, Verdict, Verifier, load_rules
from rlvr.config.compose import CONF, compose, options
from rlvr.config.instantiate import rule_config
from rlvr.config.schema import Config
from rlvr.errors import ConfigError
from rlvr.rules.fingerprint import Fingerprint, fingerprint
from rlvr.rules.load import read_pack, rule_pack
from rlvr.rules.pack import RulePack
from rlvr.rules.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Chooses(Verifier):
    """Has options of the types that YAML and pydantic give."""

    names: frozenset[str] = frozenset("abcdefgh")
    path: Path = Path("x/y")
    thing: Any = None

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        return Verdict.scored(1.0, "correct")


class NoDataclass(Verifier):
    def __call__(self, completion: str, problem: Problem) -> Verdict:
        return Verdict.scored(1.0, "correct")


def pack(*rules: Rule) -> RulePack:
    return RulePack(rules={rule.name: rule for rule in rules})


def rule(name: str = "a", **more: Any) -> Rule:
    return Rule(**{"name": name, "weight": 1.0, "verifier": None if "parts" in more else Chooses(), **more})


def hash_of(*rules: Rule) -> str:
    return fingerprint(pack(*rules), ["test_fingerprint"]).hash


PARTS = (rule("p"), rule("q", weight=3.0))
OTHER = {
    "a different weight": rule(weight=0.5),
    "a different option": rule(verifier=Chooses(thing=1)),
    "an option of a different type": rule(verifier=Chooses(thing=True)),
    "a set with different members": rule(verifier=Chooses(names=frozenset("abcdefg"))),
    "a different name": rule("c"),
    "a requirement": rule(requires=("b",)),
    "data sets": rule(datasets=("gsm8k",)),
    "parts": rule(parts=PARTS),
    "parts in a different order": rule(parts=PARTS[::-1]),
    "a part with a different weight": rule(parts=(PARTS[0], replace(PARTS[1], weight=2.0))),
}


def test_everything_that_a_reward_depends_on_changes_the_hash() -> None:
    hashes = {what: hash_of(each, rule("b")) for what, each in {"itself": rule(), **OTHER}.items()}
    assert len(set(hashes.values())) == len(hashes), hashes


def test_what_no_reward_depends_on_leaves_the_hash() -> None:
    one, two = rule("a"), rule("b", weight=0.1, requires=("a",))
    assert hash_of(one, two) == hash_of(two, one) == hash_of(replace(one, allows={"form": "on purpose"}), two)
    assert hash_of(replace(one, weight=1)) == hash_of(one)


def test_a_schedule_has_the_hash_of_the_weight_in_force() -> None:
    scheduled = rule_pack(compose(["rules=r1_format", "rules.format.weight={0: 0.1, 3: 0.05}"]))
    for step, weight in ((0, 0.1), (2, 0.1), (3, 0.05)):
        constant = load_rules("r1_format", [f"rules.format.weight={weight}"])
        assert fingerprint(scheduled.at(step)) == fingerprint(constant)


@pytest.mark.parametrize("name", [name for name in options("rules") if name != "reasoning_gym"])
def test_every_pack_comes_back_from_its_fingerprint(name: str) -> None:
    made = read_pack((CONF / "rules" / f"{name}.yaml").read_text())
    stored = fingerprint(made)
    again = Fingerprint.read(stored.text())
    assert (again, again.hash) == (stored, stored.hash)
    rebuilt = rule_pack(Config(rules={name: rule_config(node, name) for name, node in again.rules.items()}))
    assert {n: replace(r, allows={}) for n, r in made.rules.items()} == dict(rebuilt.rules)
    assert again.answers == made.named("answer")


def test_the_code_of_a_verifier_is_what_it_imports_and_no_more() -> None:
    maths, code = (fingerprint(load_rules(name)).code for name in ("answer", "code"))
    assert {
        "rlvr.verifiers.math",
        "rlvr.verifiers.base",
        "rlvr.types",
        "rlvr.answers.symbolic",
        "rlvr.rules.rule",
        "rlvr.rules.pack",
    } <= set(maths)
    assert not {
        name for name in maths if name.startswith(("rlvr.sandbox", "rlvr.runs.plan", "rlvr.training.trainer", "rlvr.data"))
    }
    inside = {f"rlvr.sandbox.inside.{name}" for name in ("server", "isolate", "seccomp")}
    assert inside <= set(code), "the server of the sandbox is started by a text, not imported"
    assert "rlvr.verifiers.simulation.gridworld" in fingerprint(load_rules("simulation")).code, "named by an option"


VERIFIER = """
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
import importlib
from rlvr import Problem, Verdict, Verifier
from .near import THRESHOLD
from mine import reexported
if TYPE_CHECKING:
    from mine import only_for_types
else:
    from mine import instead

@dataclass(frozen=True, kw_only=True)
class Length(Verifier):
    path: str = "mine.named.Class"
    names: frozenset[str] = frozenset("abcdefgh")

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        from mine.sub import late
        importlib.import_module("mine.dynamic")
        return Verdict.scored(1.0, "correct")
"""
MODULES = {
    "__init__": "from mine.deep import reexported\nfrom mine import unrelated",
    "verifier": VERIFIER,
    "near": "import mine.far\nTHRESHOLD = 8",
    "deep": "reexported = 1",
    **dict.fromkeys(["far", "named", "dynamic", "instead", "sub/__init__", "sub/late"], "x = 1"),
    **dict.fromkeys(["only_for_types", "unrelated", "nobody"], "x = 1"),
}
COUNT = {"verifier", "near", "far", "deep", "named", "dynamic", "instead", "sub.late"}
SCRIPT = """
import sys
from mine.verifier import Length
from rlvr.rules.fingerprint import fingerprint
from rlvr.rules.pack import RulePack
from rlvr.rules.rule import Rule
rule = Rule(name="length", weight=1.0, verifier=Length())
print(fingerprint(RulePack(rules={"length": rule}), ["mine"]).text())
"""


def fingerprint_in_a_process(folder: Path, seed: int) -> Fingerprint:
    """In a new process, as sources are read once per process. seed: of the hashes that order sets."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Fingerprint.read(done.stdout)


def test_user_code_counts_down_to_late_imports(tmp_path: Path) -> None:
    for name, text in MODULES.items():
        path = tmp_path / "mine" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = fingerprint_in_a_process(tmp_path, seed=1)
    assert {name.removeprefix("mine.") for name in before.code if name.startswith("mine")} == COUNT
    assert {"rlvr.types", "rlvr.verifiers.base", "rlvr.rules.rule", "rlvr.rules.pack"} <= set(before.code)
    near = tmp_path / "mine" / "near.py"
    near.write_bytes(near.read_bytes().replace(b"\n", b"\r\n"))
    (tmp_path / "mine" / "nobody.py").write_text("x = 2")
    assert fingerprint_in_a_process(tmp_path, seed=2).hash == before.hash, "as on another machine"
    (tmp_path / "mine" / "far.py").write_text("x = 2")
    after = fingerprint_in_a_process(tmp_path, seed=1)
    assert {name for name in before.code | after.code if before.code.get(name) != after.code.get(name)} == {"mine.far"}
    assert after.hash != before.hash


@dataclass(frozen=True, kw_only=True)
class Deep:
    value: int = field(default=3)


def test_options_are_plain_values_or_are_refused() -> None:
    def options_of(verifier: Verifier) -> Any:
        return fingerprint(pack(rule(verifier=verifier)), ["test_fingerprint"]).rules["a"]["verifier"]

    plain = options_of(Chooses(thing=Deep()))
    assert plain["_target_"] == "test_fingerprint.Chooses"
    assert (plain["names"], plain["path"], plain["thing"]) == (list("abcdefgh"), "x/y", {"value": 3})
    with pytest.raises(
        ConfigError, match=r"rules\.a\.verifier: options of test_fingerprint\.Chooses cannot be written as JSON"
    ):
        options_of(Chooses(thing=object()))
    assert options_of(NoDataclass()) == {"_target_": "test_fingerprint.NoDataclass"}
