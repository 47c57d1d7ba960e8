"""Find the program in a response."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from rlvr.answers.extract import after_think
from rlvr.answers.fences import Fence, fences
from rlvr.programs.syntax import UNPARSABLE, parse
from rlvr.types import Span

Place = Literal["fenced", "whole", "continuation"]
PLACES: tuple[Place, ...] = ("fenced", "continuation", "whole")
_NAMES = {
    "python": ("python", "py", "python3", ""),
    "cpp": ("cpp", "c++", "cc", "cxx", ""),
    "javascript": ("javascript", "js", "node", ""),
}
_FUNCTIONS_AND_CLASSES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DEFINITIONS = (*_FUNCTIONS_AND_CLASSES, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.AugAssign)
_LINE_END = re.compile(r"\r\n?|\n")
_MAX_CUTS = 50
"""How often a text that does not parse is shortened and parsed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program in a response."""

    text: str
    """What is run: with the preamble, in one of the places."""
    place: str
    """One of `PLACES`."""
    span: Span
    """Where the response's own part of it is, in the response."""


def blocks(text: str, language: str) -> list[Fence]:
    """The fenced blocks of a language, or with no language named, that are not blank."""
    return [fence for fence in fences(text) if _first_word(fence.label) in _NAMES[language] and fence.content.strip()]


def _first_word(label: str) -> str:
    return label.split(maxsplit=1)[0].lower() if label else ""


def program_of(response: str, order: Sequence[str], *, language: str, preamble: str) -> Program | None:
    """The program in the first place of `order` that holds one, after the reasoning.

    `fenced`: the last block of the language, after the preamble, which it may also continue. `continuation`: the response
    continues the preamble. `whole`: the response is the program.
    """
    text = after_think(response)
    begin = len(response) - len(text)
    for place in order:
        if place == "fenced":
            found = blocks(text, language)
            if found:
                span = (begin + found[-1].start, begin + found[-1].end)
                return Program(text=_joined(preamble, found[-1].content), place=place, span=span)
        elif text.strip() and (place == "whole" or preamble):
            whole = preamble + text if place == "continuation" else text
            return Program(text=whole, place=place, span=(begin, len(response)))
    return None


def _joined(preamble: str, block: str) -> str:
    first = next(line for line in block.split("\n") if line.strip())
    if first[0] not in " \t":
        return f"{_complete(preamble)}\n\n{block}" if preamble else block
    return f"{preamble.removesuffix(chr(10))}\n{block}" if preamble else textwrap.dedent(block)


@lru_cache(maxsize=4096)
def _complete(preamble: str) -> str:
    """The preamble without a function that it only begins: a program that does not continue it defines it itself."""
    lines = preamble.split("\n")
    ends = [len(lines)] + [at for at in reversed(range(len(lines))) if _at_margin(lines[at])]
    for end in ends:
        text = "\n".join(lines[:end])
        if isinstance(_parse(text), ast.Module):
            return text
    return preamble


def trimmed(program: Program, preamble: str) -> Program:
    """A continuation without what follows the solution: models that were not taught to stop keep writing.

    It is cut at the left margin, before the first statement that defines nothing (a test, a print), redefines what this
    response has defined, or does not parse. A continuation of which no part parses is left as it is.
    """
    lines = _LINE_END.split(program.text)
    begins = preamble.count("\n")
    for _ in range(_MAX_CUTS):
        tree = _parse("\n".join(lines))
        if isinstance(tree, ast.Module):
            return _first_lines(program, _end(tree, begins, len(lines)), preamble)
        end = next((at for at in reversed(range(begins + 1, min(tree, len(lines)))) if _at_margin(lines[at])), None)
        if end is None:
            break
        del lines[end:]
    return program


def _first_lines(program: Program, n: int, preamble: str) -> Program:
    """The first `n` lines of a continuation, the preamble's included."""
    ends = [match.start() for match in _LINE_END.finditer(program.text)] + [len(program.text)]
    kept = program.text[: ends[n - 1]] if n else ""
    start = program.span[0]
    return replace(program, text=_LINE_END.sub("\n", kept), span=(start, start + max(0, len(kept) - len(preamble))))


def _end(tree: ast.Module, begins: int, end: int) -> int:
    defined: set[str] = set()
    for node in tree.body:
        name = getattr(node, "name", None)
        decorators = getattr(node, "decorator_list", ())
        starts = min([node.lineno, *(each.lineno for each in decorators)]) - 1
        if starts >= begins and (not isinstance(node, _DEFINITIONS) or name in defined):
            return starts
        if name and node.end_lineno is not None and node.end_lineno > begins:
            defined.add(name)
    return end


def _at_margin(line: str) -> bool:
    return bool(line.strip()) and line[0] not in " \t"


def _parse(text: str) -> ast.Module | int:
    """The syntax tree, or the line (counted from 1) of the syntax error; 0 where that is not known."""
    try:
        return parse(text)
    except UNPARSABLE as error:
        return (error.lineno or 0) if isinstance(error, SyntaxError) else 0
