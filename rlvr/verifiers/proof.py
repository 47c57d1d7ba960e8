"""Verifier of formal proofs: whether a proof proves the given statement, from allowed axioms only."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rlvr.answers.extract import Piece, passage
from rlvr.config.bounds import check_fields
from rlvr.sandbox.base import Limits, SandboxError
from rlvr.sandbox.probe import tier_to_use
from rlvr.sandbox.shared import shared_sandbox
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Refused, Verifier, not_found, settle_places
from rlvr.verifiers.provers.base import BadClaim, Claim, Prover
from rlvr.verifiers.provers.coq import Coq
from rlvr.verifiers.provers.lean import Lean

_PLACES = ("fenced", "tag", "whole")
_PROVERS: Mapping[str, Prover] = {"coq": Coq(), "lean": Lean()}
_MAX_CHARS = 100_000
"""Longest proof that is given to the prover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Verifier):
    """Does the prover accept the proof of the given statement?

    The ground truth is `{"statement": "Theorem t : forall n : nat, n + 0 = n.", "prover": "coq"}`, optionally with `imports`
    (the head of every file: "Require Import Arith."), `definitions` (a file that the statement and the proof both import) and
    `allowed_axioms` (names; by default none for coq, and propext, Classical.choice and Quot.sound for lean).

    The response gives the script between `Proof.` and `Qed.`, with or without these words (for lean what follows `:=`), or
    the theorem restated with its proof, after any imports and lemmas. The statement that is checked is the one of the ground
    truth, parsed where the model's text has no influence; there the prover is also asked which axioms the proof depends on
    (`rlvr.verifiers.provers`). The verdict is as sound as the prover and its library.

    Reasons: `no_answer`, `too_large`, `proof_error` (not accepted), `admitted` (has a gap), `axiom` (uses or adds an axiom that
    is not allowed, or something whose check was switched off), `wrong_statement` (proves a different theorem, or none),
    `not_checked` (the check of the compiled proof failed), `timeout`, `memory` and other limits, `correct`.
    """

    judges: ClassVar = "answer"
    needs: ClassVar = ("statement", "prover")
    isolated: ClassVar = True

    extract: str | tuple[str, ...] = _PLACES
    """Where the proof is, after the reasoning: fenced (the last block "```coq" or "```lean"), tag, whole; tried in order."""
    tag: str = "answer"
    """Name of the tag for the place `tag`."""
    wall_s: float = 20.0
    """Seconds for the prover to compile the proof, and as many again to check what it depends on."""
    memory_mb: int = 1024
    """Megabytes for the prover. Libraries as large as Mathlib need several times as much."""

    def __post_init__(self) -> None:
        settle_places(self, _PLACES)
        check_fields(self, "wall_s", "memory_mb", above=0)

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        """What can be said without a prover."""
        proof = self._proof(completion, problem.truth)
        is_checked = proof and len(proof.text) <= _MAX_CHARS and self.check_truth(problem.truth) is None
        return None if is_checked else self(completion, problem)

    def prepare(self) -> None:
        with suppress(SandboxError):  # __call__ reports it as a verdict
            shared_sandbox()

    def waits_s(self) -> float:
        return 2 * 3 * self.wall_s

    def scored_part(self, completion: str, problem: Problem) -> tuple[object, int]:
        proof = self._proof(completion, problem.truth)
        return ((proof.text, completion[slice(*proof.span)]), proof.start) if proof else (None, 0)

    def read_truth(self, truth: Mapping[str, Any]) -> Claim | str:
        """Checks the form only; the prover checks the statement itself before the first proof."""
        name = truth.get("prover")
        if not isinstance(name, str) or name not in _PROVERS:
            return f"the truth's prover={name!r}: must be one of {', '.join(_PROVERS)}"
        return _PROVERS[name].claim(truth)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        claim = self.read_truth(problem.truth)
        if isinstance(claim, str):
            return Verdict.unscorable("bad_truth", claim)
        proof = self._proof(completion, problem.truth)
        if proof is None:
            return not_found(self.extract)
        if len(proof.text) > _MAX_CHARS:
            detail = f"{len(proof.text)} characters, at most {_MAX_CHARS} are checked"
            return Verdict.scored(0.0, "too_large", proof.text[:500], detail, span=proof.span)
        return replace(self._checked(_PROVERS[problem.truth["prover"]], proof.text, claim), span=proof.span)

    def _checked(self, prover: Prover, proof: str, claim: Claim) -> Verdict:
        limits = Limits(wall_s=self.wall_s, cpu_s=self.wall_s, memory_mb=self.memory_mb)
        try:
            tier = tier_to_use()
            score, reason, detail = _examined(prover, proof, claim, limits)
        except BadClaim as error:
            return Verdict.unscorable("bad_truth", str(error))
        except SandboxError as error:
            return Verdict.error("sandbox", str(error))
        weak = "" if tier == "namespaces" else f"; weak isolation: {tier}"
        return Verdict.scored(score, reason, proof[:500], detail + weak)

    def _proof(self, response: str, truth: Mapping[str, Any]) -> Piece | None:
        """Blocks labelled with the language go before blocks without a label."""
        prover = _PROVERS.get(str(truth.get("prover")))
        for place in self.extract:
            for label in prover.labels if prover else ():
                found = passage(response, (place,), tag=self.tag, language=label)
                if found:
                    return found
        return None


def _examined(prover: Prover, proof: str, claim: Claim, limits: Limits) -> tuple[float, str, str]:
    """Score, reason and detail."""
    try:
        return 1.0, "correct", prover.examine(prover.source(proof, claim), claim, limits)
    except Refused as error:
        return 0.0, error.reason, str(error)
