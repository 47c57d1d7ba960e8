"""Evaluation-only rules, scored alongside the training rules with weight 0: `eval.rules=PACK`.

They join the run's rules as `eval.NAME`, so that a rollout is scored once and its row in the rollout log has all verdicts.
Accuracy and format of an evaluation come from them where they score the answer or the format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlvr.config.compose import compose
from rlvr.config.schema import Config
from rlvr.errors import ConfigError
from rlvr.rules.load import rule_pack
from rlvr.rules.pack import RulePack
from rlvr.types import Group

PREFIX = "eval."


def with_eval_rules(pack: RulePack, rules: RulePack | None) -> RulePack:
    """One pack with both; rewards are those of `pack`."""
    if rules is None:
        return pack
    joining = {
        f"{PREFIX}{name}": replace(
            rule,
            name=f"{PREFIX}{name}",
            weight=0.0,
            schedule=None,
            requires=tuple(f"{PREFIX}{other}" for other in rule.requires),
        )
        for name, rule in rules.rules.items()
    }
    return RulePack(rules={**pack.rules, **joining})


def as_scored_by(rules: RulePack, groups: Sequence[Group]) -> list[Group]:
    """Groups scored by `with_eval_rules(pack, rules)`, as if scored by `rules` alone."""

    def alone(group: Group) -> Group:
        rollouts = []
        for rollout in group.rollouts:
            verdicts = {name: v for name in rules.rules if (v := rollout.verdicts.get(f"{PREFIX}{name}")) is not None}
            rollouts.append(replace(rollout, verdicts=verdicts, reward=rules.total(verdicts).reward))
        return replace(group, rollouts=tuple(rollouts))

    return [alone(group) for group in groups]


def evaluation_rules(config: Config, search: Sequence[str]) -> RulePack | None:
    """The pack that `eval.rules` names, or None. search: Hydra overrides that say where packs are found.

    Errors: `ConfigError` as for `rules=PACK`, and where the name of a training rule begins with `eval.`.
    """
    if not config.eval.rules:
        return None
    taken = next((name for name in config.rules if name.startswith(PREFIX)), None)
    if taken:
        raise ConfigError(f"rules.{taken}: names that begin with {PREFIX} are reserved for evaluation-only rules; rename it")
    try:
        rules = compose([f"rules={config.eval.rules}", *search]).rules
        return rule_pack(replace(config, rules=rules))
    except ConfigError as error:
        raise ConfigError(f"eval.{error}" if str(error).startswith("rules") else f"eval.rules: {error}") from error
