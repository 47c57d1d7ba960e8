"""rlvr: reinforcement learning from verifiable rewards."""

from rlvr.build import load_rules
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Verifier

__all__ = ["Problem", "Verdict", "Verifier", "load_rules"]
