"""The base of attacks on the judge of programs, and the function that a problem asks for."""

from __future__ import annotations

import ast
import builtins
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rlvr.analysis.audit.attacks.base import Attack, Target
from rlvr.data.code_rows import fenced

ENTRY = "ENTRY"
"""Placeholder for the function's name in the programs of the attacks."""


class ProgramAttack(Attack):
    """Programs that try to pass without solving the problem; none for problems that do not ask for a program."""

    functions: ClassVar[tuple[str, ...]] = ()
    """Modules for problems that ask for a function."""
    scripts: ClassVar[tuple[str, ...]] = ()
    """Programs for problems of standard input and output."""
    one_each: ClassVar = False
    """Only one of them a problem, in turn, because each runs until a limit stops it."""

    def build(self, target: Target) -> Sequence[str | None]:
        truth = target.problem.truth
        name = entry_point(truth)
        programs = self.scripts if "cases" in truth else self.functions if name else ()
        if self.one_each and programs:
            programs = (programs[zlib.crc32(target.problem.id.encode()) % len(programs)],)
        return [fenced(program.replace(ENTRY, name or "main")) for program in programs]


def entry_point(truth: Mapping[str, Any]) -> str | None:
    """The function that the tests of `truth` call; None where they call none."""
    if isinstance(truth.get("entry_point"), str):
        return truth["entry_point"]
    asserts = truth.get("asserts")
    if not isinstance(asserts, Sequence) or isinstance(asserts, str):
        return None
    names = truth.get("names") or ()
    called = list(_called("\n".join(each for each in asserts if isinstance(each, str))))
    own = set(_defined(str(truth.get("setup", "")))) | set(dir(builtins))
    return next((name for name in called if name in names or (not names and name not in own)), names[0] if names else None)


def _called(source: str) -> Iterator[str]:
    """Names that are called, outermost first."""
    for node in _nodes(source):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def _defined(source: str) -> Iterator[str]:
    for node in _nodes(source):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (each.asname or each.name for each in node.names)


def _nodes(source: str) -> Iterator[ast.AST]:
    try:
        return ast.walk(ast.parse(source))
    except (SyntaxError, ValueError):
        return iter(())
