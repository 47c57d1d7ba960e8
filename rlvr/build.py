"""From the configuration to objects. Below this module everything takes plain values."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pydantic

from rlvr.checks import check_numbers, check_verify
from rlvr.compose import compose, nearest, searched
from rlvr.config import Config, ConfigError, RuleConfig
from rlvr.data.prompts import check_template
from rlvr.data.source import DataSource
from rlvr.evaluation.beside import PREFIX
from rlvr.model_source import model_source
from rlvr.rollout.engine import RolloutEngine
from rlvr.rules.pack import Rule, RulePack
from rlvr.rules.schedule import Schedule, read_weight
from rlvr.tracking import Tracker
from rlvr.verifiers.base import Verifier
from rlvr.verify.backend import Backend
from rlvr.verify.processes import shared


def load_rules(rules: str, overrides: Sequence[str] = ()) -> RulePack:
    """A rule pack by name (`"r1_format+answer"`), with overrides as on the command line (`"rules.format.weight=0.05"`).

    Errors: `ConfigError` (a `ValueError`) of one line for an unknown pack, rule or option.
    """
    return rule_pack(compose([f"rules={rules}", *overrides]))


def rule_pack(config: Config) -> RulePack:
    """The pack of a configuration."""
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


def evaluation_rules(config: Config, search: Sequence[str]) -> RulePack | None:
    """The pack that `eval.rules` names, from wherever this run's packs come from; None without it.

    Errors: `ConfigError` as for `rules=PACK`, and where one of the run's own rules has a name that begins with `eval.`.
    """
    if not config.eval.rules:
        return None
    taken = next((name for name in config.rules if name.startswith(PREFIX)), None)
    if taken:
        raise ConfigError(f"rules.{taken}: a name that begins with {PREFIX} belongs to the rules of an evaluation; rename it")
    try:
        rules = compose([f"rules={config.eval.rules}", *search]).rules
        return rule_pack(replace(config, rules=rules))
    except ConfigError as error:
        raise ConfigError(f"eval.{error}" if str(error).startswith("rules") else f"eval.rules: {error}") from error


def rule_config(node: Any, key: str) -> RuleConfig:
    """A rule from plain values, checked against the schema. Errors: `ConfigError` naming the key."""
    if not isinstance(node, Mapping):
        raise ConfigError(f"{key}={node}: must be a rule: weight, and verifier or parts")
    allowed = [field.name for field in dataclasses.fields(RuleConfig)]
    for name in node:
        if name not in allowed:
            raise ConfigError(f"{key}.{name}: there is no such key{nearest(str(name), allowed)}")
    try:
        return pydantic.TypeAdapter(RuleConfig).validate_python(dict(node))
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(key, error)) from error


def backend(config: Config, pack: RulePack) -> Backend:
    """Where the slow rules of the pack are judged; for whoever is about to judge, who closes it.

    Errors: `ConfigError` where judging cannot begin: no Redis that answers, or a pack that runs programs of the model on a
    machine that cannot isolate them (with workers elsewhere, theirs have to).
    """
    verify = config.verify
    check_verify(verify)
    if verify.redis_url:
        from rlvr.verify.redis import RedisBackend  # brings Celery

        return RedisBackend(
            url=verify.redis_url,
            rules_from=config.rules_from,
            deadline_s=verify.deadline_s,
            memory_mb=verify.memory_mb,
            patience_s=verify.redis_patience_s,
            in_flight=verify.redis_in_flight,
            redeliver_s=verify.redis_redeliver_s,
        )
    if pack.isolated:
        from rlvr.sandbox.jail import require

        require(verify.allow_weak_isolation)
    return shared(
        workers=verify.workers,
        deadline_s=verify.deadline_s,
        memory_mb=verify.memory_mb,
        allow_weak_isolation=verify.allow_weak_isolation,
    )


T = TypeVar("T")


def construct(node: Mapping[str, Any], base: type[T], *, key: str, prefixes: Sequence[str] = ("rlvr.",)) -> T:
    """The object that `_target_` names, with the other keys as its fields.

    Only classes derived from `base`, from modules under `prefixes`, so that a YAML file cannot run anything else.
    Errors: `ConfigError` naming the key.
    """
    path = node.get("_target_")
    if not isinstance(path, str):
        raise ConfigError(f"{key}._target_: must name the import path of a {base.__name__}")
    if not any(path.startswith(prefix.removesuffix(".") + ".") for prefix in prefixes):
        raise ConfigError(f"{key}._target_={path}: allowed are {', '.join(prefixes)} (list more in rules_from)")
    module_name, _, class_name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"{key}._target_={path}: {error}") from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        derived = [name for name, each in vars(module).items() if isinstance(each, type) and base in each.__mro__[1:]]
        raise ConfigError(f"{key}._target_={path}: is no {base.__name__}{nearest(class_name, derived)}")
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    allowed = list(inspect.signature(found).parameters)
    for name in arguments:
        if name not in allowed:
            raise ConfigError(f"{key}.{name}: {found.__name__} has no such option{nearest(name, allowed)}")
    try:
        if dataclasses.is_dataclass(found):
            return pydantic.TypeAdapter(found).validate_python(arguments)
        return found(**arguments)
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(key, error)) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{key}: {error}") from error


def _explain(key: str, error: pydantic.ValidationError) -> str:
    first = error.errors()[0]
    at = ".".join([key, *map(str, first["loc"])])
    own = first.get("ctx", {}).get("error")
    if isinstance(own, ConfigError):
        return str(own)
    return f"{key}.{own}" if own is not None else f"{at}={first['input']}: {first['msg']}"


def data_source(node: Mapping[str, Any], key: str = "dataset") -> DataSource:
    """A data set, or a mixture with its parts. Errors: `ConfigError`."""
    node = node.get("dataset", node)  # a part whose file sets other keys too (`@package _global_`): those stay with the file
    if "parts" not in node:
        return construct(node, DataSource, key=key)
    parts = {name: data_source(part, f"{key}.parts.{name}") for name, part in node["parts"].items()}
    return construct({**node, "parts": parts}, DataSource, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a configuration asks for, checked as far as it can be before any model or data is loaded."""

    config: Config
    pack: RulePack
    eval_rules: RulePack | None
    """What judges beside `pack` when evaluating."""
    source: DataSource
    engine: RolloutEngine
    tracker: Tracker

    @property
    def strictest(self) -> RulePack:
        """Of the packs the one that asks most of where it is judged."""
        return self.eval_rules if self.eval_rules is not None and self.eval_rules.isolated else self.pack


def plan(config: Config, search: Sequence[str] | None = None) -> Plan:
    """`search`: where `eval.rules` is looked for besides, as overrides; None: where the running application looks.

    Errors: `ConfigError` for anything in the configuration that cannot work.
    """
    check_numbers(config)
    check_template(config.prompt)
    model_source(config.model)
    return Plan(
        config=config,
        pack=rule_pack(config),
        eval_rules=evaluation_rules(config, searched() if search is None else search),
        source=data_source(config.dataset),
        engine=construct(config.rollout, RolloutEngine, key="rollout"),
        tracker=construct(config.tracking, Tracker, key="tracking"),
    )
