"""From the configuration to objects. Below this module everything takes plain values."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pydantic

from rlvr.compose import compose, nearest
from rlvr.config import (
    AGGREGATIONS,
    DEVIATIONS,
    DTYPES,
    KL_ESTIMATORS,
    PRECISIONS,
    RATIOS,
    SCALINGS,
    SURROGATES,
    Config,
    ConfigError,
    EarlyStopConfig,
    RuleConfig,
    VerifyConfig,
)
from rlvr.data.prompts import check_template
from rlvr.data.source import DataSource
from rlvr.model_source import model_source
from rlvr.rollout.engine import RolloutEngine
from rlvr.rules.pack import Rule, RulePack
from rlvr.rules.schedule import Schedule, read_weight
from rlvr.tracking import Tracker
from rlvr.trained import check_trained
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
    _check_verify(verify)
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
    source: DataSource
    engine: RolloutEngine
    tracker: Tracker


def plan(config: Config) -> Plan:
    """Errors: `ConfigError` for anything in the configuration that cannot work."""
    _check_numbers(config)
    check_template(config.prompt)
    model_source(config.model)
    return Plan(
        config=config,
        pack=rule_pack(config),
        source=data_source(config.dataset),
        engine=construct(config.rollout, RolloutEngine, key="rollout"),
        tracker=construct(config.tracking, Tracker, key="tracking"),
    )


def _check_numbers(config: Config) -> None:
    algo, evaluation = config.algo, config.eval
    at_least = {
        "seed": (config.seed, 0),
        "steps": (config.steps, 0),
        "algo.problems": (algo.problems, 1),
        "algo.group_size": (algo.group_size, 2),
        "algo.warmup_steps": (algo.warmup_steps, 0),
        "algo.weight_decay": (algo.weight_decay, 0),
        "algo.beta": (algo.beta, 0),
        "algo.entropy_bonus": (algo.entropy_bonus, 0),
        "algo.resample": (algo.resample, 0),
        "algo.updates_per_batch": (algo.updates_per_batch, 1),
        "algo.micro_batch_tokens": (algo.micro_batch_tokens, 1),
        "algo.max_prompt_tokens": (algo.max_prompt_tokens, 1),
        "algo.max_new_tokens": (algo.max_new_tokens, 1),
        "algo.clip_high": (algo.clip_high, 0),
        "checkpoint.every": (config.checkpoint.every, 1),
        "checkpoint.keep": (config.checkpoint.keep, 1),
        "eval.problems": (evaluation.problems, 0),
        "eval.every": (evaluation.every, 0),
        "eval.samples": (evaluation.samples, 0),
    }
    if algo.train_problems is not None:
        at_least["algo.train_problems"] = (algo.train_problems, 1)
    for key, (value, least) in at_least.items():
        reason = " (a group of one has nothing to compare with)" if key == "algo.group_size" else ""
        _check_least(key, value, least, reason)
    if config.seed >= 2**32:
        raise ConfigError(f"seed={config.seed}: must be below 2**32")
    for key in ("learning_rate", "max_grad_norm", "temperature"):
        _check_above_0(f"algo.{key}", getattr(algo, key))
    _check_above_0("eval.temperature", evaluation.temperature)
    for k in evaluation.ks:
        if not 1 <= k <= evaluation.samples:
            raise ConfigError(f"eval.ks={evaluation.ks}: {k} must lie in [1, eval.samples={evaluation.samples}]")
    _check_share("algo.clip_low", algo.clip_low)
    _check_early_stop(config.early_stop)
    check_trained(config.model, algo)
    _check_verify(config.verify)
    _check_choice("algo.ratio", algo.ratio, RATIOS)
    _check_choice("algo.surrogate", algo.surrogate, SURROGATES)
    _check_choice("algo.kl", algo.kl, KL_ESTIMATORS)
    _check_choice("algo.aggregation", algo.aggregation, AGGREGATIONS)
    _check_choice("algo.scaling", algo.scaling, SCALINGS)
    _check_choice("algo.deviation", algo.deviation, DEVIATIONS)
    _check_choice("cluster.mixed_precision", config.cluster.mixed_precision, PRECISIONS)
    _check_choice("model.dtype", config.model.dtype, DTYPES)


def _check_early_stop(early_stop: EarlyStopConfig) -> None:
    _check_least("early_stop.patience", early_stop.patience, 1)
    for key in ("min_entropy", "min_length"):
        if (least := getattr(early_stop, key)) is not None:
            _check_above_0(f"early_stop.{key}", least)
    for key in ("max_degenerate", "max_truncated"):
        most = getattr(early_stop, key)
        if most is not None and not 0 <= most < 1:
            raise ConfigError(f"early_stop.{key}={most}: must lie in [0, 1), or no share is above it")


def _check_verify(verify: VerifyConfig) -> None:
    at_least = {"retries": 0, "memory_mb": 1, "redis_in_flight": 1} | ({} if verify.workers is None else {"workers": 1})
    for key, least in at_least.items():
        _check_least(f"verify.{key}", getattr(verify, key), least)
    for key in ("deadline_s", "redis_patience_s", "redis_redeliver_s"):
        _check_above_0(f"verify.{key}", getattr(verify, key))
    _check_share("verify.max_error_share", verify.max_error_share)


def _check_least(key: str, value: float, least: float, reason: str = "") -> None:
    if not value >= least:
        raise ConfigError(f"{key}={value}: must be at least {least}{reason}")


def _check_above_0(key: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ConfigError(f"{key}={value}: must be above 0")


def _check_share(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{key}={value}: must lie in [0, 1]")


def _check_choice(key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{key}={value}: there is no such choice{nearest(value, allowed)}")
