"""Reinforcement learning from verifiable rewards, as experiments that are declared.

The public names; everything else is internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

if TYPE_CHECKING:
    from rlvr.rules.pack import RulePack
    from rlvr.scoring.local.rule_pack import load_rules

__all__ = ["Problem", "RulePack", "Verdict", "Verifier", "load_rules"]


def __getattr__(name: str) -> Any:
    """Import on first use: `load_rules` brings Hydra; worker processes do without both."""
    if name == "RulePack":
        from rlvr.rules.pack import RulePack

        return RulePack
    if name == "load_rules":
        from rlvr.scoring.local.rule_pack import load_rules

        return load_rules
    raise AttributeError(f"module 'rlvr' has no attribute {name!r}")
