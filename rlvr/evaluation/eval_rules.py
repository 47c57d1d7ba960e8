"""Rules of the evaluation, which judge beside those of the run and change no reward: `eval.rules=PACK`.

They join the run's rules as `eval.NAME` with weight 0, so that a rollout is judged once, and its row in the rollout log has what
both say. What an evaluation calls accuracy and format comes from them where they judge the answer and the form.
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
    """One pack that judges by both; rewards are those of `pack`."""
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
    """Groups judged by a pack with `rules` beside it, as if judged by `rules` alone."""

    def alone(group: Group) -> Group:
        rollouts = []
        for rollout in group.rollouts:
            verdicts = {name: v for name in rules.rules if (v := rollout.verdicts.get(f"{PREFIX}{name}")) is not None}
            rollouts.append(replace(rollout, verdicts=verdicts, reward=rules.total(verdicts).reward))
        return replace(group, rollouts=tuple(rollouts))

    return [alone(group) for group in groups]


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
