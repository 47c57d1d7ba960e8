"""The interface of provers: a prover checks a proof of a given claim, and says which axioms it depends on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from rlvr.sandbox.base import Job, Limits, Result
from rlvr.sandbox.sandbox import Sandbox
from rlvr.verifiers.base import Refused


class BadClaim(Exception):
    """A ground truth that its prover does not accept, whatever the proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is to be proven; it comes from the ground truth alone."""

    statement: str
    """One theorem, in the prover's language, without a proof."""
    name: str
    """Name of the theorem."""
    imports: str
    """The head of every file."""
    definitions: str
    """A separate file that the statement and the proof both import, so that both use the same definitions."""
    allowed: frozenset[str]
    """Names of axioms that a proof may use."""


class Prover(ABC):
    """Frozen and without state; a verdict depends on its arguments and the installed prover alone."""

    labels: ClassVar[tuple[str, ...]]
    """Labels of fenced blocks of its language."""
    allowed: ClassVar[frozenset[str]]
    """Axioms that a proof may use by default."""

    @abstractmethod
    def name_of(self, statement: str) -> str | None:
        """The name of the theorem; None if the statement is anything but one theorem without a proof."""

    @abstractmethod
    def imports_fault(self, imports: str) -> str | None:
        """The first part of `imports` that is not an import, or None."""

    @abstractmethod
    def source(self, proof: str, claim: Claim) -> str:
        """The model's file: the claim's statement, followed by the proof."""

    @abstractmethod
    def examine(self, source: str, claim: Claim, limits: Limits) -> str:
        """What the proof depends on, for a human. `limits` hold for compiling the model's file, and again for all checks of it.
        Errors: `Refused`, `BadClaim`, `SandboxError`."""

    def claim(self, truth: Mapping[str, Any]) -> Claim | str:
        """The claim of a ground truth, or what is wrong with it."""
        texts = {key: truth.get(key, "") for key in ("statement", "imports", "definitions")}
        for key, value in texts.items():
            if not isinstance(value, str):
                return f"the truth's {key}={value!r}: must be a text"
        allowed = truth.get("allowed_axioms", tuple(self.allowed))
        if not isinstance(allowed, list | tuple) or not all(isinstance(each, str) and each for each in allowed):
            return f"the truth's allowed_axioms={allowed!r}: must be a list of names"
        name = self.name_of(texts["statement"])
        if name is None:
            return f"the truth's statement={texts['statement'][:100]!r}: must be one named theorem, without a proof"
        fault = self.imports_fault(texts["imports"])
        if fault:
            return f"the truth's imports hold {fault[:100]!r}: put what is no import under definitions"
        return Claim(**{**texts, "statement": texts["statement"].strip()}, name=name, allowed=frozenset(allowed))


class Steps:
    """Commands, each in a fresh sandboxed process, that share one time limit."""

    def __init__(self, sandbox: Sandbox, limits: Limits, *, limit_address_space: bool = True) -> None:
        self._sandbox, self._limits, self._left = sandbox, limits, limits.wall_s
        self._limit_address_space = limit_address_space

    def run(self, argv: Sequence[str], files: Mapping[str, bytes], collect: Sequence[str] = ()) -> Result:
        """The result of a command that ended by itself. Errors: `Refused` for one that was stopped, `SandboxError`."""
        name = next(Path(word).name for word in argv if word != "/usr/bin/env" and "=" not in word)
        if self._left <= 0:
            raise Refused("timeout", f"no time is left for {name}")
        result = self._sandbox.run(
            Job(
                argv=tuple(argv),
                files=files,
                limits=replace(self._limits, wall_s=self._left, cpu_s=self._left),
                collect=tuple(collect),
                limit_address_space=self._limit_address_space,
            )
        )
        self._left -= result.wall_s
        if result.ending not in ("ok", "exit"):
            raise Refused(result.ending, f"{name}: {result.detail}")
        return result


def encoded(text: str) -> bytes:
    """As a file; of lone surrogates, too."""
    return text.encode("utf-8", "surrogatepass")
