"""Builds the objects that a configuration names; code below this module takes plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.config.compose import search_path_override
from rlvr.config.instantiate import construct
from rlvr.config.schema import Config
from rlvr.data.prompts import check_template
from rlvr.data.source import DataSource, data_source
from rlvr.evaluation.eval_rules import evaluation_rules
from rlvr.models.source import model_source
from rlvr.rollout.base import RolloutEngine
from rlvr.rules.load import rule_pack
from rlvr.rules.pack import RulePack
from rlvr.tracking.observer import Observer


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The objects that a configuration names, checked as far as possible before any model or data is loaded."""

    config: Config
    pack: RulePack
    eval_rules: RulePack | None
    """Evaluation-only rules, scored alongside `pack`."""
    source: DataSource
    engine: RolloutEngine
    tracker: Observer

    @property
    def strictest(self) -> RulePack:
        """The pack with the higher demands on where it is scored: the one that needs isolation, if any."""
        return self.eval_rules if self.eval_rules is not None and self.eval_rules.isolated else self.pack


def plan(config: Config, search: Sequence[str] | None = None) -> Plan:
    """search: additional search paths for `eval.rules`, as overrides; None: those of the running Hydra application.

    Errors: `ConfigError` for anything in the configuration that cannot work.
    """
    check_template(config.prompt)
    model_source(config.model)
    return Plan(
        config=config,
        pack=rule_pack(config),
        eval_rules=evaluation_rules(config, search_path_override() if search is None else search),
        source=data_source(config.dataset),
        engine=construct(config.rollout, RolloutEngine, key="rollout"),
        tracker=construct(config.tracking, Observer, key="tracking"),
    )
