"""Reinforcement learning from verifiable rewards, as experiments that are declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

if TYPE_CHECKING:
    from rlvr.build import load_rules

__all__ = ["Problem", "Verdict", "Verifier", "load_rules"]


def __getattr__(name: str) -> Any:
    """`load_rules` brings Hydra with it, which the processes that judge do without."""
    if name == "load_rules":
        from rlvr.build import load_rules

        return load_rules
    raise AttributeError(f"module 'rlvr' has no attribute {name!r}")
