"""Lean 4, by `lean` (https://lean-lang.org), and a program of ours on its own kernel (after lean4checker and SafeVerify).

1. The model's text is compiled in one sandboxed process. It may run any code there, so its output is not trusted.
2. In a second one a program of ours (`lean_check`) reads the compiled file without parsing or running anything of it, sends
   each of its declarations through the kernel again on top of the statement's imports, and compares the theorem with the
   statement, which was compiled separately.
3. The same program collects the axioms that the theorem depends on, as `#print axioms` does, which the text could redefine.

Not covered: a compiled file is mapped into memory as it is, so a crafted one could exploit the program that reads it. That does
not leave the sandbox, but could print any result. Packages such as Mathlib are found by the LEAN_PATH of the scoring process.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from rlvr.sandbox.base import Limits, SandboxError, installed
from rlvr.sandbox.shared import shared_sandbox
from rlvr.text import one_line
from rlvr.verifiers.base import Refused
from rlvr.verifiers.provers.base import BadClaim, Claim, Prover, Steps, encoded
from rlvr.verifiers.provers.lean_check import PROGRAM

_KEYWORD = r"(?:theorem|lemma|example|def)"
_NAME = r"[^\W\d][\w'.!?]*"
_STATEMENT = re.compile(rf"\s*theorem\s+({_NAME})\s*(?=[\s:({{\[\u2983.])(?=.*:).*", re.DOTALL)
_NO_PROOF = re.compile(r"\s*:=\s*(?:by\s+)?(?:sorry\s*)?\Z")
_IMPORT = re.compile(r"import\s")
_SETTING = re.compile(r"(?:open|set_option|universe)\s|\Z")
_MARK = re.compile(r'/-|-/|--[^\n]*|"(?:[^"\\]|\\.)*"|.', re.DOTALL)
_BRACKETS = {"(": 1, "[": 1, "{": 1, "\u27e8": 1, "\u2983": 1, ")": -1, "]": -1, "}": -1, "\u27e9": -1, "\u2984": -1}


class Lean(Prover):
    labels: ClassVar = ("lean", "lean4", "")
    allowed: ClassVar = frozenset({"propext", "Classical.choice", "Quot.sound"})

    def name_of(self, statement: str) -> str | None:
        plain = mask(_bare(statement))
        match = _STATEMENT.fullmatch(plain)
        return match[1] if match and _proof_at(plain) is None else None

    def imports_fault(self, imports: str) -> str | None:
        lines = (line.strip() for line in mask(imports).splitlines())
        return next((line for line in lines if not _IMPORT.match(line) and not _SETTING.match(line)), None)

    def source(self, proof: str, claim: Claim) -> str:
        """Imports and lemmas before a restated theorem are kept; its statement is replaced by the claim's."""
        plain = mask(proof)
        restated = list(re.finditer(rf"\b{_KEYWORD}\s+{re.escape(claim.name)}(?![\w'.!?])", plain))
        before, script = "", proof
        if restated:
            at = _proof_at(plain[restated[-1].end() :])
            before = proof[: restated[-1].start()]
            script = proof[restated[-1].end() + at :] if at is not None else ""
        elif not re.match(r"\s*(?::=|by\b|\|)", plain):
            script = "by\n" + "\n".join(f"  {line}" for line in proof.splitlines())
        script = script if re.match(r"\s*(?::=|\|)", mask(script)) else f":= {script}"
        # Lean reads imports only at the head of a file.
        moved = [line for line in before.splitlines() if _IMPORT.match(line)]
        kept = [line for line in before.splitlines() if not _IMPORT.match(line)]
        return "\n".join([*moved, _head(claim), *kept, _bare(claim.statement), script, ""])

    def examine(self, source: str, claim: Claim, limits: Limits) -> str:
        given, lean = _ground(claim, limits), _lean()
        files = {name: content for name, content in given.items() if name == "Given.olean"}
        files["Candidate.lean"] = encoded(source)
        argv = (*lean, "-o", "Candidate.olean", "Candidate.lean")
        result = _steps(limits).run(argv, files, ["Candidate.olean"])
        said = result.stdout.decode(errors="replace")
        if result.ending != "ok":
            raise Refused("proof_error", _error(said) or result.detail)
        compiled = result.files.get("Candidate.olean")
        if not compiled:
            raise Refused("proof_error", "no compiled file was left in its place")
        files = {**given, "Candidate.olean": compiled, "Check.lean": encoded(PROGRAM)}
        result = _steps(limits).run((*lean, "--run", "Check.lean", claim.name), files)
        answer = result.stdout.decode(errors="replace").strip().splitlines()
        if result.ending != "ok" or not answer:
            said = result.stderr.decode(errors="replace")
            raise Refused("not_checked", (one_line(said) or _error("\n".join(answer)) or result.detail)[:400])
        if answer[0] != "same":
            raise Refused("wrong_statement", answer[0][:400])
        forbidden = [each for each in answer[1:] if each not in claim.allowed]
        if forbidden:
            raise Refused("admitted" if "sorryAx" in forbidden else "axiom", f"rests on {'; '.join(forbidden)[:400]}")
        return f"rests on {', '.join(answer[1:]) or 'no axiom'}"


@functools.lru_cache(maxsize=64)
def _ground(claim: Claim, limits: Limits) -> Mapping[str, bytes]:
    """The compiled statement of a claim, and its definitions. Cached: the rollouts of a problem share them."""
    steps, files = _steps(limits), {}
    texts = {"Given": f"{claim.imports}\n{claim.definitions}\n"} if claim.definitions else {}
    texts["Statement"] = f"{_head(claim)}\n{_bare(claim.statement)} := by sorry\n"
    for name, text in texts.items():
        argv = (*_lean(), "-o", f"{name}.olean", f"{name}.lean")
        try:
            result = steps.run(argv, {**files, f"{name}.lean": encoded(text)}, [f"{name}.olean"])
        except Refused as error:
            raise BadClaim(f"the truth's statement: {error.reason}: {error}") from None
        if result.ending != "ok":
            raise BadClaim(f"the truth's statement or definitions: {_error(result.stdout.decode(errors='replace'))}")
        files.update(result.files)
    return files


def _lean() -> tuple[str, ...]:
    """The command: compiled files are searched in the sandbox's directory, then in the LEAN_PATH of the scoring process."""
    path = os.pathsep.join([".", *_packages()])
    return ("/usr/bin/env", f"LEAN_PATH={path}", f"{_prefix()}/bin/lean")


@functools.cache
def _prefix() -> Path:
    """The folder of the toolchain (elan's `lean` only selects one). Errors: `SandboxError`."""
    try:
        asked = subprocess.run([installed("lean"), "--print-prefix"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(f"lean does not say where it is installed: {error}") from error
    return Path(asked.stdout.strip())


def _packages() -> list[str]:
    return [os.path.abspath(each) for each in os.environ.get("LEAN_PATH", "").split(os.pathsep) if each]


def _steps(limits: Limits) -> Steps:
    limits = replace(limits, processes=128, file_mb=max(64, limits.file_mb), disk_mb=max(128, limits.disk_mb))
    tools = [str(each) for each in (_prefix(), *_packages()) if not str(each).startswith("/usr/")]
    return Steps(shared_sandbox(tools), limits, limit_address_space=False)


def _head(claim: Claim) -> str:
    lines = claim.imports.splitlines()
    imports = [line for line in lines if _IMPORT.match(line.strip())]
    given = ["import Given"] if claim.definitions else []
    return "\n".join([*imports, *given, *(line for line in lines if line not in imports)])


def _bare(statement: str) -> str:
    """The statement without the `:= by sorry` that data sets append."""
    return _NO_PROOF.sub("", statement.rstrip())


def _proof_at(plain: str) -> int | None:
    """Where the proof after a statement begins: `:=` outside of brackets, or `|` at the head of a line. None: there is none."""
    depth = 0
    for match in re.finditer(r"^[ \t]*\||:=|[()\[\]{}\u27e8\u27e9\u2983\u2984]", plain, re.MULTILINE):
        token = match[0]
        if token in _BRACKETS:
            depth += _BRACKETS[token]
        elif depth == 0:
            return match.start()
    return None


def _error(said: str) -> str:
    """The first error message, on one line; Lean writes them to standard output."""
    return (one_line(said.partition("error:")[2]) or one_line(said))[:400]


def mask(text: str) -> str:
    """`text` with its comments (which nest) and strings replaced by blanks of the same length."""
    parts, depth = [], 0
    for match in _MARK.finditer(text):
        token = match[0]
        if token == "/-":
            depth += 1
        hidden = depth or len(token) > 1
        parts.append("".join(each if each == "\n" else " " for each in token) if hidden else token)
        if token == "-/":
            depth = max(0, depth - 1)
    return "".join(parts)
