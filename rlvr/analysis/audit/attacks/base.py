"""`Attack`, its `Target`, attacks by programs, and finding attacks by import path."""

from __future__ import annotations

import ast
import importlib
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Literal

from rlvr.data.code_rows import fenced
from rlvr.errors import ConfigError
from rlvr.programs.forms import BadTruth, script_of
from rlvr.programs.syntax import parse
from rlvr.types import Problem

BLUFF = "Going through what is given step by step, and checking each of the steps once more, leads to the result below."
"""Reasoning that fits any problem and says nothing."""
ENTRY = "ENTRY"
"""Placeholder for the function's name in the programs of the attacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A problem under attack, with honest completions to start from."""

    problem: Problem
    """As rendered for the model."""
    right: str
    """The reference solution, written as the prompt asks."""
    wrong: str
    """A solution with empty reasoning and an answer that the rules score as wrong."""
    answer: str
    """The right answer as text."""
    wrong_answers: tuple[str, ...]
    """At least two answers that the rules score as wrong; the first is that of `wrong`."""
    write: Callable[[str, str], str] | None
    """`write(answer, reasoning)`: a solution as the prompt asks. None where the data set has completions, not answers."""
    honest: tuple[float, float]
    """Rewards of `right` and of `wrong`."""

    def written(self, answer: str, reasoning: str = BLUFF) -> str | None:
        """A solution with that answer. The default reasoning is not the reference's, which may name the right answer."""
        return self.write(answer, reasoning) if self.write else None


class Attack(ABC):
    """Builds completions that try to get unearned reward. The docstring of a subclass describes the hack."""

    earns: ClassVar[Literal["nothing", "guess", "less"]] = "nothing"
    """The fair reward. `nothing`: the attack does not use the answer, so at most that of an honest wrong solution. `guess`: one
    of several candidates is right; on average over the completions, which put each candidate in each place, at most that of
    naming one of them. `less`: the answer is right but the rest is not as asked, so less than the full reward."""

    @classmethod
    def name(cls) -> str:
        """The class's name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def family(cls) -> str:
        """The name of its module, which says what it attacks (`answers`, `form`)."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def hack(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @abstractmethod
    def build(self, target: Target) -> Sequence[str | None]:
        """Completions, all of which count; empty, or None entries, where the attack does not apply to this problem."""


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
    """The function that the tests of `truth` call, the outermost of several; None where they call none."""
    if isinstance(truth.get("entry_point"), str):
        return truth["entry_point"]
    if "asserts" not in truth:
        return None
    try:
        names = script_of(truth).names
    except BadTruth:
        return None
    calls = (node.func for node in ast.walk(parse("\n".join(truth["asserts"]))) if isinstance(node, ast.Call))
    called = (each.id for each in calls if isinstance(each, ast.Name) and each.id in names)
    return next(chain(called, names), None)


def find_attacks(paths: Sequence[str], prefixes: Sequence[str]) -> list[Attack]:
    """The attacks at some import paths: a class, or all classes that a module defines. Errors: `ConfigError`."""
    found: dict[str, Attack] = {}
    for path in paths:
        if not any(path.startswith(prefix.removesuffix(".") + ".") for prefix in prefixes):
            raise ConfigError(f"audit.attacks={path}: allowed are {', '.join(prefixes)} (list more in rules_from)")
        for attack in _classes(path):
            found[attack.name()] = attack()
    return list(found.values())


def _classes(path: str) -> list[type[Attack]]:
    for module_name, name in ((path, None), (path.rpartition(".")[0], path.rpartition(".")[2])):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not path.startswith(error.name):
                raise ConfigError(f"audit.attacks={path}: {error}") from error
            continue
        defined = [
            each
            for each in vars(module).values()
            if isinstance(each, type) and issubclass(each, Attack) and each.__module__ == module.__name__ and each is not Attack
        ]
        chosen = [each for each in defined if name is None or each.__name__ == name]
        if chosen:
            return chosen
        raise ConfigError(f"audit.attacks={path}: no Attack there (it has: {', '.join(a.__name__ for a in defined) or 'none'})")
    raise ConfigError(f"audit.attacks={path}: no such module")
