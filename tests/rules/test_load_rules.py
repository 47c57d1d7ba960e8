"""rules.yaml as text: it reads back as the same pack, it can be overridden, and changes are listed line by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from sampled import sampled

from rlvr.config.compose import CONF, compose
from rlvr.errors import ConfigError
from rlvr.rules.diff import changes
from rlvr.rules.load import overridden, read_pack, read_rules, rule_pack, rules_text

PACKS = [path.stem for path in sorted(CONF.glob("rules/*.yaml")) if path.stem != "reasoning_gym"]


@pytest.fixture(scope="module")
def text() -> str:
    return rules_text(compose(["rules=r1_format+answer"]).rules)


@pytest.mark.parametrize("name", sampled(PACKS))
def test_a_pack_reads_back_from_its_text_and_from_its_own_file(name: str) -> None:
    config = compose([f"rules={name}"])
    written = rules_text(config.rules)
    assert read_rules(written) == config.rules
    pack = rule_pack(config)
    assert changes(pack, read_pack(written)) == ()
    assert rules_text(read_rules(written)) == written
    assert changes(pack, read_pack((CONF / "rules" / f"{name}.yaml").read_text())) == ()


def test_it_begins_with_instructions_and_schedules_and_odd_texts_survive(text: str) -> None:
    assert text.startswith("# The rules of this run. Edit and save: the next step uses them")
    config = compose(["rules.format.weight={linear: {0: 0.1, 4000: 0.05}}", "rules.answer.verifier.tag='yes'"])
    config.rules["format"].allows = {"form": "a: b # c\n'1e5' \u00e9 \U0001f600", "1e5": "on"}
    assert read_rules(rules_text(config.rules)) == config.rules


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("# nothing but a comment\n", "must map names of rules to rules"),
        ("null", "must map names of rules to rules"),
        ("3", "no rules"),
        ("some text", "rules.some text=None: must be a rule: weight, and verifier or parts"),
        ("- answer", "must map names of rules to rules"),
        ("format: 1", "rules.format=1: must be a rule: weight, and verifier or parts"),
        ("1: {weight: 1}", "rules.1: the name of a rule must be a text"),
        ("a: {weight: 1\nb:", "no YAML: line 2: expected ',' or '}'"),
        ("a:\n\tweight: 1", "no YAML: line 2: found character '\\t'"),
        ("a: {weight: 1}\na: {weight: 1}", "no YAML: line 2: found duplicate key a"),
        ("a: !!python/object/apply:os.system [id]", "no YAML: line 1: could not determine a constructor for the tag"),
        ("a: &a {weight: 1, parts: *a}", "no rules: RecursionError"),
        ("a: {weight: 1}\x00", "special characters are not allowed"),
        ("--- {a: 1}\n--- {b: 1}", "but found another document"),
        ("a: {weight: '${oc.env:NO_SUCH_VARIABLE}'}", "rules.a.weight: KeyError raised while resolving interpolation"),
        ("a: {wieght: 1}", "rules.a.wieght: there is no such key; did you mean weight?"),
        ("a: {verifier: {_target_: rlvr.verifiers.math.MathAnswer}}", "rules.a.weight: must be set"),
        ("a: {weight: 1, requires: answer}", "rules.a.requires=answer: Input should be a valid list"),
        ("a: {weight: 1, verifier: MathAnswer}", "rules.a.verifier=MathAnswer: Input should be a valid dictionary"),
        ("a: {weight: 1, verifier: {_target_: os.system}}", "rules.a.verifier._target_=os.system: allowed are rlvr."),
        ("a: {weight: 1, verifier: {_target_: rlvr.verifiers.math.MathAnser}}", "did you mean MathAnswer?"),
        ("a: {weight: 1, verifier: {_target_: rlvr.verifiers.math.MathAnswer, wich: last}}", "did you mean which?"),
        ("a: {weight: 1, verifier: {_target_: rlvr.verifiers.math.MathAnswer, which: 3}}", "rules.a.verifier.which=3: "),
        (
            "a: {weight: 1, requires: [b], verifier: {_target_: rlvr.verifiers.math.MathAnswer}}",
            "rules.a.requires=b: the",
        ),
        (
            "a: {weight: {5: 1}, verifier: {_target_: rlvr.verifiers.math.MathAnswer}}",
            "rules.a.weight={5: 1}: has no weight",
        ),
        ("a: {weight: 1}", "rules.a: needs either a verifier or parts"),
        ("a: {weight: 1, parts: {b: 1}}", "rules.a.parts.b=1: must be a rule"),
    ],
)
def test_a_bad_text_is_one_line_that_says_where(bad: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_pack(bad)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cut_short_anywhere_it_is_no_pack(text: str) -> None:
    """Even if the rest would be a pack: without the last rule, or with defaults for options that are cut off."""
    assert read_pack(text.partition("\n")[2].partition("\nanswer:")[0]).weights == {"format": 0.1}
    for end in range(0, len(text.rstrip()), 7):
        with pytest.raises(ConfigError):
            read_rules(text[:end])


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        ("rules.format.weight=0.05", ["rules.format.weight 0.1 -> 0.05"]),
        ("rules.format.weight={0: 0.1, 9: 0.2}", ["rules.format.weight 0.1 -> {0: 0.1, 9: 0.2}"]),
        ("rules.answer.verifier.which=unique", ["rules.answer.verifier.which last -> unique"]),
        ("rules.answer.requires=[format]", ["rules.answer.requires [] -> [format]"]),
        ("~rules.format", ["rule format removed"]),
        (
            "+rules.short={weight: -0.1, verifier: {_target_: rlvr.verifiers.style.Overlong, max_chars: 80, buffer_chars: 10}}",
            ["rule short added (weight -0.1)"],
        ),
        ("~rules.format.allows.short_think", ["rules.format.allows.short_think removed"]),
        ("+rules.format.allows.form=why not", ["rules.format.allows.form added: why not"]),
        ("rules.format.weight=0.1", []),
    ],
)
def test_overrides_change_a_text_and_the_change_is_listed(text: str, override: str, lines: list[str]) -> None:
    after = overridden(text, [override])
    assert list(changes(read_pack(text), read_pack(after))) == lines
    there_and_back = changes(read_pack(after), read_pack(text))
    assert len(there_and_back) == len(lines)


def test_overrides_come_in_order_and_a_schedule_replaces_another(text: str) -> None:
    after = overridden(text, ["rules.format.weight={0: 1, 5: 2}", "rules.format.weight={0: 3, 9: 4}", "rules.answer.weight=7"])
    assert {name: rule.weight for name, rule in read_rules(after).items()} == {"format": {0: 3, 9: 4}, "answer": 7}
    assert overridden(text, []) is text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "rules.fromat.weight=1",
            "rules.fromat.weight=1: there is no such rule; did you mean format? (allowed: format, ",
        ),
        ("rules.format.wieght=1", "rules.format.wieght=1: there is no such key; did you mean weight?"),
        ("rules.format.weight", "rules.format.weight: cannot be read; write key=value"),
        ("rules=math", "rules=math: must set something of rules.NAME"),
        ("seed=1", "seed=1: must set something of rules.NAME"),
        ("~rules.format.weight", "rules.format.weight: must be set"),
        ("rules.format=1", "rules.format=1: must be a rule"),
    ],
)
def test_an_override_that_does_not_fit_names_what_does(text: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_pack(overridden(text, [override]))
    assert message in str(caught.value)


def test_writing_out_a_default_is_no_change_and_a_different_verifier_is_one() -> None:
    brief = read_pack("a: {weight: 1, verifier: {_target_: rlvr.verifiers.math.MathAnswer}}")
    full = read_pack("a: {weight: 1.0, verifier: {_target_: rlvr.verifiers.math.MathAnswer, which: last}, requires: []}")
    assert changes(brief, full) == ()
    other = read_pack("a: {weight: 1, verifier: {_target_: rlvr.verifiers.format.ThinkAnswer}}")
    lines = changes(brief, other)
    assert lines[0] == "rules.a.verifier._target_ rlvr.verifiers.math.MathAnswer -> rlvr.verifiers.format.ThinkAnswer"
    assert "rules.a.verifier.which removed" in lines
    parts = read_pack("a: {weight: 1, parts: {b: {weight: 1, verifier: {_target_: rlvr.verifiers.math.MathAnswer}}}}")
    assert "rules.a.parts.b.verifier.which added: last" in changes(brief, parts)


def test_user_verifiers_only_if_they_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "listed_verifiers.py").write_text("from rlvr.verifiers.math import MathAnswer\n\nclass Mine(MathAnswer): ...\n")
    mine = "a: {weight: 1, verifier: {_target_: listed_verifiers.Mine}}"
    with pytest.raises(ConfigError, match=r"_target_=listed_verifiers.Mine: allowed are rlvr. \(list more in rules_from\)"):
        read_pack(mine)
    assert read_pack(mine, ["listed_verifiers"]).weights == {"a": 1.0}
