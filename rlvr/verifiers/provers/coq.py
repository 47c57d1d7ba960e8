"""Coq, by `coqc`, and `coqchk`, its independent checker (https://coq.inria.fr; package coq of Debian; tried with 8.16).

1. The model's text is compiled in one sandboxed process.
2. In a second one, which does not have the text, a file of ours (`_question`) restates the theorem before it requires what was
   compiled, so that no notation, option, name or command of the text affects the statement; the kernel compares the two
   statements, and `Print Assumptions` lists the axioms.
3. coqchk checks the compiled proof without trusting coqc, and lists every axiom and every check that was switched off.

Commands of the text can write files, but only text files, under names with an extension or in place of the compiled file, which
coqc then overwrites or which is not a valid compiled file; they load no code but the installed plugins. Not covered: errors of
the kernel that coqc and coqchk share, and an installed Coq library that was tampered with.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from rlvr.sandbox.base import Limits, installed
from rlvr.sandbox.shared import shared_sandbox
from rlvr.text import one_line
from rlvr.verifiers.base import Refused
from rlvr.verifiers.provers.base import BadClaim, Claim, Prover, Steps, encoded

_KEYWORD = r"(?:Theorem|Lemma|Fact|Remark|Corollary|Proposition|Property|Example)"
_NAME = r"[^\W\d][\w']*"
_STATEMENT = re.compile(rf"\s*{_KEYWORD}\s+({_NAME})(?![\w'])(?=.*:).*\.\s*", re.DOTALL)
_END = re.compile(r"\.(?=\s|\Z)")  # the end of a sentence
_FINISHED = re.compile(r"\b(?:Qed|Defined|Admitted|Abort|Save)\b")
_GIVEN_UP = re.compile(r"\b(?:Admitted|admit|give_up)\b")
_IMPORT = re.compile(r"\s*(?:(?:Local|Global)\s+)?(?:From|Require|Import|Export|Open|Close|Set|Unset)\b")
_MARK = re.compile(r'\(\*|\*\)|"')
_CLOSED = "Closed under the global context"
_AXIOM = re.compile(r"(\S+)(?: :.*)?")
_FINDLIB = "findlib.conf"
_COMPILE = ("-q", "-noglob", "-w", "none")


class Coq(Prover):
    labels: ClassVar = ("coq", "rocq", "v", "")
    allowed: ClassVar = frozenset()

    def name_of(self, statement: str) -> str | None:
        plain = mask(statement)
        match = _STATEMENT.fullmatch(plain)
        return match[1] if match and len(_END.findall(plain)) == 1 else None

    def imports_fault(self, imports: str) -> str | None:
        sentences = _END.split(mask(imports))
        return next((each.strip() for each in sentences if each.strip() and not _IMPORT.match(each)), None)

    def source(self, proof: str, claim: Claim) -> str:
        """Imports and lemmas before a restated theorem are kept; its statement is replaced by the claim's."""
        plain = mask(proof)
        restated = list(re.finditer(rf"\b(?:{_KEYWORD}|Definition)\s+{re.escape(claim.name)}(?![\w'])", plain))
        before, script = "", proof
        if restated:
            end = _END.search(plain, restated[-1].end())
            before, script = proof[: restated[-1].start()], proof[end.end() :] if end else ""
        ending = "" if _FINISHED.search(mask(script)) else "\nQed."
        return f"{_head(claim)}\n{before}\n{claim.statement}\n{script}{ending}\n"

    def examine(self, source: str, claim: Claim, limits: Limits) -> str:
        given = _ground(claim, limits)
        files = {**given, "Candidate.v": encoded(source)}
        result = _steps(limits).run((*_program("coqc"), *_COMPILE, "Candidate.v"), files, ["Candidate.vo"])
        said = result.stderr.decode(errors="replace")
        if result.ending != "ok":
            raise Refused(_why_not(said), _error(said) or result.detail)
        compiled = result.files.get("Candidate.vo")
        if not compiled:
            raise Refused("proof_error", "no compiled file was left in its place")
        try:
            return self._asked({**given, "Candidate.vo": compiled}, source, claim, _steps(limits))
        except Refused as error:
            if error.reason == "axiom" and _GIVEN_UP.search(mask(source)):
                raise Refused("admitted", str(error)) from None
            raise

    def _asked(self, files: Mapping[str, bytes], source: str, claim: Claim, steps: Steps) -> str:
        asking = encoded(_question(claim, source))
        argv = (*_program("coqc"), *_COMPILE, "Check.v")
        result = steps.run(argv, {**files, "Check.v": asking}, ["Check.vo"])
        if result.ending != "ok":
            raise Refused("wrong_statement", _error(result.stderr.decode(errors="replace")) or result.detail)
        answer = result.stdout.decode(errors="replace").strip()
        forbidden = [each for each in axioms_of(answer) if not _allows(claim, each)]
        if forbidden:
            raise Refused("axiom", f"rests on {'; '.join(forbidden)[:400]}")
        argv = (*_program("coqchk"), "-silent", "-o", "-norec", "Candidate", "-norec", "Check")
        result = steps.run(argv, {**files, "Check.vo": result.files.get("Check.vo", b"")})
        if result.ending != "ok":
            raise Refused("not_checked", _error(result.stderr.decode(errors="replace")) or result.detail)
        added = _added(result.stderr.decode(errors="replace"))
        if added:
            raise Refused("axiom", f"adds {'; '.join(added)[:400]}")
        return one_line(answer)


@functools.lru_cache(maxsize=64)
def _ground(claim: Claim, limits: Limits) -> Mapping[str, bytes]:
    """The compiled definitions of a claim whose statement compiles. Cached: the rollouts of a problem share them."""
    steps, files = _steps(limits), _findlib()
    texts = {"Given": f"{claim.imports}\n{claim.definitions}\n"} if claim.definitions else {}
    texts["Statement"] = f"{_head(claim)}\n{claim.statement}\nAdmitted.\n"
    for name, text in texts.items():
        argv = (*_program("coqc"), *_COMPILE, f"{name}.v")
        try:
            result = steps.run(argv, {**files, f"{name}.v": encoded(text)}, [f"{name}.vo"])
        except Refused as error:
            raise BadClaim(f"the truth's statement: {error.reason}: {error}") from None
        if result.ending != "ok":
            raise BadClaim(f"the truth's statement or definitions: {_error(result.stderr.decode(errors='replace'))}")
        files.update(result.files)
    return {name: content for name, content in files.items() if not name.startswith("Statement.")}


def _question(claim: Claim, source: str) -> str:
    """Our file. Its names contain a hash of the model's whole text, so that the text can neither guess nor shadow them."""
    unique = hashlib.sha256(encoded(source)).hexdigest()[:16]
    return f"""{_head(claim)}
Module Type Statement_{unique}.
{claim.statement}
Admitted.
End Statement_{unique}.
Require Candidate.
Module Proof_{unique} <: Statement_{unique}.
Definition {claim.name} := @Candidate.{claim.name}.
End Proof_{unique}.
Print Assumptions Proof_{unique}.{claim.name}.
"""


def _allows(claim: Claim, axiom: str) -> bool:
    """Coq prints the shortest name, which depends on the imports. An axiom that the model's file adds is found by coqchk."""
    return any(axiom == each or axiom.endswith(f".{each}") or each.endswith(f".{axiom}") for each in claim.allowed)


def axioms_of(answer: str) -> list[str]:
    """The axioms in the output of `Print Assumptions`; any other line (a check switched off) is returned whole."""
    if answer == _CLOSED:
        return []
    lines = [line for line in answer.splitlines() if line and not line[0].isspace()]
    if lines[:1] != ["Axioms:"] or not lines[1:]:
        return [f"an answer that is none: {answer[:200]!r}"]
    return [match[1] if (match := _AXIOM.fullmatch(line)) else line for line in lines[1:]]


def _added(summary: str) -> list[str]:
    """What coqchk lists as unproven in the model's file and in ours; other files come from the system or the ground truth."""
    if "CONTEXT SUMMARY" not in summary:
        return ["an answer of coqchk that is none"]
    found, title = [], ""
    for line in summary.splitlines():
        if line.startswith("* "):
            title = line[2:].partition(":")[0]
        elif line.strip().startswith(("Candidate.", "Check.")):
            found.append(f"{line.strip()} ({title})")
    return found


def _findlib() -> dict[str, bytes]:
    """A file that Debian's coqc needs to start, for a sandbox that has no /etc."""
    system = Path("/etc/ocamlfind.conf")
    return {_FINDLIB: system.read_bytes() if system.is_file() else b""}


def _program(name: str) -> tuple[str, ...]:
    system = ("/usr/bin/env", f"OCAMLFIND_CONF={_FINDLIB}")
    return (*(system if installed(name).startswith("/usr/") else ()), installed(name))


def _steps(limits: Limits) -> Steps:
    home = Path(installed("coqc")).parents[1]
    return Steps(shared_sandbox(() if home == Path("/usr") else (str(home),)), limits)


def _head(claim: Claim) -> str:
    return f"{claim.imports}\nRequire Import Given." if claim.definitions else claim.imports


def _why_not(said: str) -> str:
    if "Attempt to save a proof with given up goals" in one_line(said):
        return "admitted"
    return "memory" if "Out of memory" in said or "not enough memory" in said else "proof_error"


def _error(said: str) -> str:
    """The first error message of coqc, on one line."""
    return (one_line(said.partition("Error:")[2]) or one_line(said))[:400]


def mask(text: str) -> str:
    """`text` with its comments (which nest) and strings replaced by blanks of the same length."""
    parts: list[str] = []
    depth, quoted, at = 0, False, 0
    for match in _MARK.finditer(text):
        piece = text[at : match.start()]
        parts += [piece if not depth and not quoted else " " * len(piece), " " * len(match[0])]
        if match[0] == '"':
            quoted = not quoted
        elif not quoted:
            depth = max(0, depth + (1 if match[0] == "(*" else -1))
        at = match.end()
    piece = text[at:]
    return "".join([*parts, piece if not depth and not quoted else " " * len(piece)])
