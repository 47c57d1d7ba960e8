"""The parts of a run, and its live rules, without a run folder that a command has made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator

from rlvr.config.schema import Config
from rlvr.evaluation.parts import RunParts
from rlvr.models.policy import Policy
from rlvr.rollout.base import RolloutEngine
from rlvr.rollout.native.engine import NativeEngine
from rlvr.rules.edits import RULES
from rlvr.rules.live import LiveRules
from rlvr.rules.load import read_pack, rules_text
from rlvr.scoring.backend import Backend
from rlvr.types import Problem


def parts_of(
    config: Config,
    policy: Policy,
    backend: Backend,
    *,
    engine: RolloutEngine | None = None,
    train: Sequence[Problem] = (),
    held_out: Sequence[Problem] = (),
) -> RunParts:
    return RunParts(
        config=config,
        accelerator=Accelerator(cpu=True),
        policy=policy,
        reference=None,
        engine=engine or NativeEngine(),
        backend=backend,
        pack=read_pack(rules_text(config.rules), config.rules_from),
        eval_rules=None,
        train=train,
        held_out=held_out,
        warnings=(),
    )


def live_rules(config: Config, folder: Path) -> LiveRules:
    """The configured rules, in a folder where they can be edited; every edit is taken."""
    text = rules_text(config.rules)
    (folder / RULES).write_text(text)
    return LiveRules(folder, text, rules_from=config.rules_from, validate=lambda pack: None)
