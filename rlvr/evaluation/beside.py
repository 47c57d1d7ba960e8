"""Rules of the evaluation, which judge beside those of the run and change no reward: `eval.rules=PACK`.

They join the run's rules as `eval.NAME` with weight 0, so that a rollout is judged once, and its row in the ledger has what
both say. What an evaluation calls accuracy and format comes from them where they judge the answer and the form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlvr.rules.pack import RulePack
from rlvr.types import Group

PREFIX = "eval."


def beside(pack: RulePack, rules: RulePack | None) -> RulePack:
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


def as_judged_by(rules: RulePack, groups: Sequence[Group]) -> list[Group]:
    """Groups judged by a pack with `rules` beside it, as if judged by `rules` alone."""

    def alone(group: Group) -> Group:
        rollouts = []
        for rollout in group.rollouts:
            verdicts = {name: v for name in rules.rules if (v := rollout.verdicts.get(f"{PREFIX}{name}")) is not None}
            rollouts.append(replace(rollout, verdicts=verdicts, reward=rules.total(verdicts).reward))
        return replace(group, rollouts=tuple(rollouts))

    return [alone(group) for group in groups]
