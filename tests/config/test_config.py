"""The configuration: every choice composes, every file and key is documented, every mistake is one helpful line."""

from __future__ import annotations

import dataclasses
import inspect
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import needs
from rlvr import Problem, load_rules
from rlvr.cli.sweep import check_sweep
from rlvr.cli.train_help import help_text
from rlvr.config.compose import CONF, compose
from rlvr.config.schema import Config
from rlvr.errors import ConfigError
from rlvr.runs.plan import plan

CHOICES = [(path.parent.name, path.stem) for path in sorted(CONF.glob("*/*.yaml"))]
needs_reasoning_gym = needs(find_spec("reasoning_gym") is not None, "pip install 'rlvr[reasoning_gym]'")
OTHER_PACKS = [(group, choice) for group, choice in CHOICES if group == "rules" and choice not in ("r1_format", "code")]
"""Composed by tests/rules as well."""
BUILDABLE = [
    pytest.param(
        *each, marks=[needs_reasoning_gym] * ("reasoning_gym" in each) + [pytest.mark.slow] * (each in OTHER_PACKS or at % 2)
    )
    for at, each in enumerate(CHOICES)
]


@pytest.mark.parametrize(("group", "choice"), BUILDABLE)
def test_every_choice_of_every_group_composes_and_is_built(group: str, choice: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    needed = {
        ("dataset", "jsonl"): [f"dataset.path={tmp_path}/rows.jsonl"],
        ("model", "hf"): ["model.name=some/model"],
        ("model", "smollm2_135m"): ["model.package=rlvr.assets.tiny"],  # the optional package may be missing
        ("experiment", "reward_hacking"): ["model.path=rlvr/assets/tiny"],  # instead of the base model that it makes first
    }
    key = "+experiment" if group == "experiment" else group
    checked = plan(compose([f"{key}={choice}", *needed.get((group, choice), [])]))
    assert checked.pack.rules


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_conf_file_opens_with_what_it_is(group: str, choice: str) -> None:
    lines = (CONF / group / f"{choice}.yaml").read_text().splitlines()
    comments = [line for line in lines[: 4 if group == "rules" else 2] if line.startswith("# ") and "@package" not in line]
    assert len(comments) >= (3 if group == "rules" else 1), "rules: what it rewards, its bounds, where it comes from"
    assert len(comments[0]) > 20


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_key_can_be_set_and_is_documented_where_it_is_defined(group: str, choice: str) -> None:
    """A file sets all fields of the class that it names, or they could not be overridden; and the class documents them."""
    for node in _targets(yaml.safe_load((CONF / group / f"{choice}.yaml").read_text())):
        module, _, name = node["_target_"].rpartition(".")
        cls = getattr(__import__(module, fromlist=[name]), name)
        fields = {field.name for field in dataclasses.fields(cls)}
        assert fields == set(node) - {"_target_"}
        for field in fields:
            owner = next(each for each in reversed(cls.__mro__) if field in getattr(each, "__annotations__", {}))
            body = inspect.getsource(owner)
            _, _, after = body.partition(f"\n    {field}:")
            assert after.split("\n")[1].strip().startswith('"""'), f"{name}.{field} has no docstring line"


def _targets(node: Any) -> list[dict[str, Any]]:
    if not isinstance(node, dict):
        return []
    return ([node] if "_target_" in node else []) + [found for value in node.values() for found in _targets(value)]


def test_every_schema_key_has_a_meaning_and_help_shows_it() -> None:
    text = help_text()
    for prefix, schema in _schemas(Config, ""):
        for field in dataclasses.fields(schema):
            assert field.metadata.get("meaning"), f"{prefix}{field.name}"
            if not dataclasses.is_dataclass(field.default_factory):
                assert f"{prefix}{field.name}" in text
                assert field.metadata["meaning"] in text
    for group, choice in CHOICES:
        assert f"    {choice} " in text, group
    assert "rollouts a problem, G; at least 2 (a group of one has nothing to compare with)\n" in text
    assert "; one of k1, k2, k3\n" in text
    assert "or sample (by n - 1)\n" in text, "choices that the meaning names are not repeated"


def _schemas(schema: Any, prefix: str) -> list[tuple[str, Any]]:
    found = [(prefix, schema)]
    for field in dataclasses.fields(schema):
        if dataclasses.is_dataclass(field.default_factory):
            found += _schemas(field.default_factory, f"{prefix}{field.name}.")
    return found


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algo.grop_size=4"], "algo.grop_size=4: there is no such key; did you mean group_size?"),
        (["mdel=tiny"], "mdel=tiny: there is no such key; did you mean model?"),
        (["model=tny"], "model=tny: there is no such choice; did you mean tiny?"),
        (["algo.group_size=abc"], "algo.group_size=abc: Value 'abc' of type 'str' could not be converted to Integer"),
        (["algo.group_size=1"], "algo.group_size=1: must be at least 2"),
        (["algo.group_size=-8"], "algo.group_size=-8: must be at least 2"),
        (["algo.learning_rate=0"], "algo.learning_rate=0.0: must be above 0"),
        (["algo.temperature=nan"], "algo.temperature=nan: must be above 0"),
        (["algo.scaling=grup"], "algo.scaling=grup: there is no such choice; did you mean group?"),
        (["algo.group_size=1"], "must be at least 2 (a group of one has nothing to compare with)"),
        (["algo.train_problems=0"], "algo.train_problems=0: must be at least 1"),
        (["prompt.few_shot=-1"], "prompt.few_shot=-1: must be at least 0"),
        (["audit.max_gain=1.5"], "audit.max_gain=1.5: must lie in [0, 1]"),
        (["cluster.mixed_precision=bf8"], "cluster.mixed_precision=bf8: there is no such choice; did you mean bf16?"),
        (["algo.clip_low=2"], "algo.clip_low=2.0: must lie in [0, 1]"),
        (["rules=r1_fromat"], "rules=r1_fromat: there is no such choice; did you mean r1_format?"),
        (["rules=answer+nope"], "rules=nope: there is no such choice"),
        (["rules=answer+"], "rules=answer+: a '+' stands between two names"),
        (["+rules.new={weight: 1}"], "rules.new: a new rule needs a file, rules/NAME.yaml in a folder of yours"),
        (["rules=math+answer"], "the packs math and answer define the rule answer differently"),
        (["rules.answer.verifier.extract=box"], "rules.answer.verifier.extract=box: must be one of boxed, tag, hashes, phrase"),
        (["rules.answer.verifier.extract=[boxed,tgs]"], "rules.answer.verifier.extract=tgs: must be one of boxed, tag, hashes"),
        (["rules.answer.verifier.units=metric"], "rules.answer.verifier.units=metric: Input should be 'drop' or 'strict'"),
        (["rules=answer+gsm8k"], "the packs answer and gsm8k define the rule answer differently"),
        (["rules=[gsm8k,answer]"], "the packs gsm8k and answer define the rule answer differently"),
        (["rules=answer", "rules.format.weight=0.1"], "rules.format.weight=0.1: the pack has no such rule (allowed: answer)"),
        (
            ["rules.format.weight=heavy"],
            "rules.format.weight=heavy: must be a number, or weights by step",
        ),
        (["rules.format.weight=nan"], "rules.format.weight=nan: must be a finite number"),
        (["rules.format.verifier._target_=os.system"], "rules.format.verifier._target_=os.system: allowed are rlvr."),
        (["rules.format.verifier._target_=rlvr.verifiers.format.ThinkAnswr"], "is no Verifier; did you mean ThinkAnswer?"),
        (["rules.format.verifier._target_=rlvr.runs.run.run"], "is no Verifier"),
        (
            ["rules.format.verifier.min_think_chars=many"],
            "rules.format.verifier.min_think_chars=many: Input should be a valid int",
        ),
        (["rules.format.verifier.min_think_chars=0"], "rules.format.verifier.min_think_chars=0: must be at least 1"),
        (["+rules.format.verifier.min_chars=9"], "ThinkAnswer has no such option; did you mean min_think_chars?"),
        (["+rules.format.requires=[anser]"], "rules.format.requires=anser: the pack's rules are format, answer"),
        (["model.path=/no/such/folder"], "model.path=/no/such/folder: no such folder"),
        (["dataset=gsm8k", "dataset.path=/no/such"], "dataset.path=/no/such: no such folder"),
        (["dataset=jsonl"], "dataset.path: must be set"),
        (["dataset.train_problems=-1"], "dataset.train_problems=-1"),
        (["prompt.question=hello"], "prompt.question='hello': must hold {question}"),
        (["seed=-1"], "seed=-1: must lie in [0, 4294967296)"),
        (["seed=4294967296"], "seed=4294967296: must lie in [0, 4294967296)"),
        (["seed=x"], "seed=x: Value 'x' of type 'str' could not be converted to Integer"),
    ],
)
def test_mistakes_are_one_line_that_names_key_value_and_what_is_allowed(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(compose(overrides))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pack_without_rules(tmp_path: Path) -> None:
    config = compose([])
    config.rules = {}
    with pytest.raises(ConfigError, match="holds no rules"):
        plan(config)


@pytest.mark.parametrize(
    "spelling", ["r1_format+answer", "[r1_format,answer]", "answer+r1_format", "r1_format+answer+r1_format"]
)
def test_joined_packs(spelling: str) -> None:
    rules = compose([f"rules={spelling}"]).rules
    assert {name: rule.weight for name, rule in rules.items()} == {"format": 0.1, "answer": 1.0}


def test_joined_packs_in_an_experiment_file_and_a_user_folder(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "mine.yaml").write_text(
        "length: {weight: -0.1, verifier: {_target_: rlvr.verifiers.math.MathAnswer}}"
    )
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mixed.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /rules: mine+answer\nrules: {answer: {weight: 3.0}}"
    )
    config = compose(["+experiment=mixed", f"hydra.searchpath=[file://{tmp_path}]"])
    assert {name: rule.weight for name, rule in config.rules.items()} == {"length": -0.1, "answer": 3.0}


def test_load_rules() -> None:
    pack = load_rules("r1_format+answer", ["rules.format.weight=0.05"])
    problem = Problem(id="p", prompt="What is 2 + 2?", truth={"answer": "4"})
    judgement = pack.judge("<think>two and two</think><answer>\\boxed{4}</answer>", problem)
    assert judgement.reward == 1.05
    assert {name: verdict.score for name, verdict in judgement.verdicts.items()} == {"format": 1.0, "answer": 1.0}


def test_a_sweep_is_checked_before_its_first_job() -> None:
    check_sweep(["rules=answer,r1_format+answer"])
    check_sweep(["rules=r1_format+answer", "rules.format.weight=0,0.05", "seed=range(0,1)"])
    with pytest.raises(ConfigError, match="algo.group_size=1: must be at least 2"):
        check_sweep(["algo.group_size=8,1"])
    with pytest.raises(ConfigError, match=r"rules.format.weight=0.1: the pack has no such rule"):
        check_sweep(["rules=r1_format,answer", "rules.format.weight=0.1"])


def test_user_verifiers_need_to_be_listed() -> None:
    target = "rules.format.verifier={_target_: userverifiers.Shouting}"
    with pytest.raises(ConfigError, match=r"allowed are rlvr\. \(list more in rules_from\)"):
        plan(compose([target]))
    with pytest.raises(ConfigError, match="No module named 'userverifiers'"):
        plan(compose([target, "rules_from=[userverifiers]"]))
