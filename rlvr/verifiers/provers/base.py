"""What a prover is: it judges a proof of a claim of ours, and is asked by us, not by the proof, what that rests on."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from rlvr.sandbox.base import Job, Limits, Result, SandboxError
from rlvr.sandbox.sandbox import Sandbox


class Rejected(Exception):
    """A proof that does not hold, or came to a limit: worth 0. `reason` is its short code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class BadClaim(Exception):
    """A truth that its prover does not take, whatever the proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is to be proven; every word of it is ours."""

    statement: str
    """One theorem, in the prover's language, without a proof."""
    name: str
    """The theorem's."""
    imports: str
    """What stands at the head of every file."""
    definitions: str
    """A file of its own that the statement and the proof both build on, so that they speak of the same things."""
    allowed: frozenset[str]
    """Names of axioms that a proof may rest on."""


class Prover(ABC):
    """Frozen and without state; a verdict depends on its arguments and the installed prover alone."""

    labels: ClassVar[tuple[str, ...]]
    """What a fenced block of its language is called."""
    allowed: ClassVar[frozenset[str]]
    """Axioms that a proof may rest on where the truth does not say."""

    @abstractmethod
    def name_of(self, statement: str) -> str | None:
        """The name of the theorem that a statement states; None where it is anything but one theorem without a proof."""

    @abstractmethod
    def imports_fault(self, imports: str) -> str | None:
        """What of a truth's imports is none, or None."""

    @abstractmethod
    def source(self, proof: str, claim: Claim) -> str:
        """The model's file: the claim's statement, with the proof behind it."""

    @abstractmethod
    def examine(self, source: str, claim: Claim, limits: Limits) -> str:
        """What the proof was found to rest on, for a human. `limits` hold for the model's file, and again for all that is
        asked about it. Errors: `Rejected`, `BadClaim`, `SandboxError`."""

    def claim(self, truth: Mapping[str, Any]) -> Claim | str:
        """The claim of a truth, or what is wrong with it."""
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
    """Commands, each in a fresh world, that share one allowance of time."""

    def __init__(self, sandbox: Sandbox, limits: Limits, *, limit_address_space: bool = True) -> None:
        self._sandbox, self._limits, self._left = sandbox, limits, limits.wall_s
        self._limit_address_space = limit_address_space

    def run(self, argv: Sequence[str], files: Mapping[str, bytes], collect: Sequence[str] = ()) -> Result:
        """A command that came to its own end. Errors: `Rejected` for one that was stopped, `SandboxError`."""
        name = next(Path(word).name for word in argv if word != "/usr/bin/env" and "=" not in word)
        if self._left <= 0:
            raise Rejected("timeout", f"no time is left for {name}")
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
            raise Rejected(result.ending, f"{name}: {result.detail}")
        return result


def installed(name: str) -> str:
    """The path of a prover's program. Errors: `SandboxError` where the machine that judges lacks it."""
    found = shutil.which(name)
    if found is None:
        raise SandboxError(f"{name} is not installed on the machine that judges")
    return os.path.realpath(found)
