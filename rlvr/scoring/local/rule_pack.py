"""Rule packs that score without a backend, for a notebook or a script: `rlvr.load_rules` returns one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.config.compose import compose
from rlvr.rules.load import rule_pack
from rlvr.rules.pack import Judgement, RulePack
from rlvr.rules.rule import Slow
from rlvr.scoring.local.supervisor import supervised
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRulePack(RulePack):
    """A rule pack whose `judge` needs no backend: what may hang runs in the shared worker processes of this process."""

    def judge(self, completion: str, problem: Problem, slow: Slow = supervised, *, retries: int = 0) -> Judgement:
        """As `RulePack.judge`."""
        return RulePack.judge(self, completion, problem, slow, retries=retries)


def load_rules(rules: str, overrides: Sequence[str] = ()) -> LocalRulePack:
    """A rule pack by name (`"r1_format+answer"`), with overrides as on the command line (`"rules.format.weight=0.05"`).

    Errors: `ConfigError` (a `ValueError`) of one line for an unknown pack, rule or option.
    """
    return LocalRulePack(rules=rule_pack(compose([f"rules={rules}", *overrides])).rules)
