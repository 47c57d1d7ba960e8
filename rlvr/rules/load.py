"""Rule packs from the configuration and from YAML text: what a run writes to rules.yaml and reads back from it."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from rlvr.config.compose import error_line, hydra_set_aside
from rlvr.config.instantiate import construct, rule_config
from rlvr.config.overrides import replace_schedule
from rlvr.config.schema import Config, RuleConfig
from rlvr.errors import ConfigError, nearest
from rlvr.rules.pack import RulePack
from rlvr.rules.rule import Rule
from rlvr.rules.schedule import Schedule, read_weight
from rlvr.verifiers.base import Verifier

_FIRST = "# The rules of this run. Edit and save: the next step uses them, options and weights; rules may come and go."
_HEAD = f"""{_FIRST}
# A text that cannot be used is refused with the reason, and the rules stay as they were. Keep the first line and the last.
"""
_LAST = "# end of the rules"


def rule_pack(config: Config) -> RulePack:
    """The pack of a configuration. Errors: `ConfigError`."""
    prefixes = ("rlvr.", *config.rules_from)
    try:
        return RulePack(rules={name: _rule(name, rule, f"rules.{name}", prefixes) for name, rule in config.rules.items()})
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _rule(name: str, rule: RuleConfig, key: str, prefixes: Sequence[str]) -> Rule:
    parts = [
        _rule(part, rule_config(node, f"{key}.parts.{part}"), f"{key}.parts.{part}", prefixes)
        for part, node in (rule.parts or {}).items()
    ]
    weight = read_weight(rule.weight, f"{key}.weight")
    verifier = None if rule.verifier is None else construct(rule.verifier, Verifier, key=f"{key}.verifier", prefixes=prefixes)
    try:
        return Rule(
            name=name,
            weight=weight.at(0) if isinstance(weight, Schedule) else weight,
            schedule=weight if isinstance(weight, Schedule) else None,
            verifier=verifier,
            parts=tuple(parts),
            requires=tuple(rule.requires),
            datasets=tuple(rule.datasets),
            allows=rule.allows,
        )
    except ValueError as error:
        raise ConfigError(f"{key.removesuffix(name)}{error}") from error


def rules_text(rules: Mapping[str, RuleConfig]) -> str:
    """Configured rules as text, without keys that have their default. `read_rules` is the inverse."""
    written = []
    for name, rule in rules.items():
        fields = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
        said = {key: value for key, value in fields.items() if value not in (None, [], {})}
        written.append(OmegaConf.to_yaml(OmegaConf.create({name: said})))
    return _HEAD + "\n" + "\n".join(written) + f"\n{_LAST}\n"


def read_rules(text: str) -> dict[str, RuleConfig]:
    """Rules from a text, checked against the schema. Errors: `ConfigError`, one line."""
    if text.lstrip().startswith(_FIRST) and not text.rstrip().endswith(_LAST):
        raise ConfigError(f"half-written, or cut short: the last line must be '{_LAST}'")
    if not text.strip():
        raise ConfigError("empty")
    nodes = _plain(text)
    if not isinstance(nodes, dict) or not nodes:
        raise ConfigError("must map names of rules to rules, as the files in conf/rules do")
    for name in nodes:
        if not isinstance(name, str):
            raise ConfigError(f"rules.{name}: the name of a rule must be a text")
    return {name: rule_config(node, f"rules.{name}") for name, node in nodes.items()}


def _plain(text: str) -> Any:
    """Plain values, read as the configuration reads YAML: no tags, no key twice, interpolations resolved."""
    try:
        loaded = OmegaConf.create({"rules": OmegaConf.load(io.StringIO(text))})
        config = OmegaConf.to_container(loaded, resolve=True, throw_on_missing=True)
    except MarkedYAMLError as error:
        at = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"no YAML: {at}{error.problem}") from error
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(error_line(error)) from error
    except (RecursionError, ValueError, OSError) as error:  # OSError: a single scalar
        raise ConfigError(f"no rules: {type(error).__name__}") from error
    assert isinstance(config, dict)
    return config["rules"]


def read_pack(text: str, rules_from: Sequence[str] = ()) -> RulePack:
    """The pack of a text; `rules_from` as in the configuration. Errors: `ConfigError`, one line."""
    return rule_pack(Config(rules=read_rules(text), rules_from=list(rules_from)))


def overridden(text: str, overrides: Sequence[str]) -> str:
    """The text with overrides as on the command line: `rules.format.weight=0.05`, `~rules.style`, `+rules.format.requires=[a]`.

    Comments are lost if there are overrides. Errors: `ConfigError` for one that does not fit these rules.
    """
    if not overrides:
        return text
    nodes = {name: dataclasses.asdict(rule) for name, rule in read_rules(text).items()}
    try:
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            group, _, path = override.get_key_element().lstrip("+~").partition(".")
            name = path.partition(".")[0]
            if group != "rules" or not name:
                raise ConfigError(f"{override.input_line}: must set something of rules.NAME")
            if name not in nodes and not override.is_add():
                raise ConfigError(f"{override.input_line}: there is no such rule{nearest(name, nodes)}")
        with tempfile.TemporaryDirectory(prefix="rlvr-rules-") as folder:
            Path(folder, "rules.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create({"rules": nodes})))
            with hydra_set_aside(), initialize_config_dir(folder, version_base="1.3"):
                config = hydra_compose("rules", overrides=[each for given in overrides for each in replace_schedule(given)])
        changed = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(error_line(error, overrides)) from error
    assert isinstance(changed, dict)
    return rules_text({str(name): rule_config(node, f"rules.{name}") for name, node in changed["rules"].items()})
