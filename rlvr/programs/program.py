"""Find the program in a response."""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

from rlvr.answers.extract import after_think

Place = Literal["fenced", "whole", "continuation"]
PLACES: tuple[Place, ...] = ("fenced", "continuation", "whole")
_NAMES = {
    "python": ("python", "py", "python3", ""),
    "cpp": ("cpp", "c++", "cc", "cxx", ""),
    "javascript": ("javascript", "js", "node", ""),
}
_FUNCTIONS_AND_CLASSES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DEFINITIONS = (*_FUNCTIONS_AND_CLASSES, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.AugAssign)
_MAX_CUTS = 50
"""How often a text that does not parse is shortened and parsed again."""


def blocks(text: str, language: str) -> list[str]:
    """Contents of the fenced blocks of a language, or with no language named.

    A fence is a line of three or more backticks or tildes, indented or not; its block ends at the next line of at least as
    many, indented by at most three more, or with the text. The indentation of the fence is removed from the lines.
    """
    return [content for name, content in _blocks(text) if name.lower() in _NAMES[language]]


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    opened, lines = None, []
    for line in text.replace("\r\n", "\n").split("\n"):
        indent, mark, run, said = _fence(line)
        if opened is None:
            if run >= 3 and not (mark == "`" and "`" in said):
                opened, lines = (indent, mark, run, said.split()[0] if said else ""), []
        elif mark == opened[1] and run >= opened[2] and not said and indent <= opened[0] + 3:
            yield opened[3], "\n".join([*lines, ""])
            opened = None
        else:
            lines.append(line[min(indent, opened[0]) :])
    if opened is not None:
        yield opened[3], "\n".join(lines)


def _fence(line: str) -> tuple[int, str, int, str]:
    """Indentation, mark, how many of it, and the rest of the line."""
    rest = line.lstrip(" \t")
    mark = rest[:1] if rest[:1] in ("`", "~") else ""
    behind = rest.lstrip(mark) if mark else rest
    return len(line) - len(rest), mark, len(rest) - len(behind), behind.strip()


def program_of(response: str, order: Sequence[Place], *, language: str, preamble: str) -> tuple[Place, str] | None:
    """The program in the first place of `order` that holds one, after the reasoning, and that place.

    `fenced`: the last block of the language, after the preamble, which it may also continue. `continuation`: the response
    continues the preamble. `whole`: the response is the program.
    """
    text = after_think(response)
    for place in order:
        if place == "fenced":
            found = [block for block in blocks(text, language) if block.strip()]
            if found:
                return place, _joined(preamble, found[-1])
        elif text.strip() and (place == "whole" or preamble):
            return place, preamble + text if place == "continuation" else text
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
    ends = [len(lines), *(at for at in reversed(range(len(lines))) if _at_margin(lines[at]))]
    return next((text for end in ends if isinstance(_parse(text := "\n".join(lines[:end])), ast.Module)), preamble)


def trimmed(program: str, preamble: str) -> str:
    """A continuation without what follows the solution: models that were not taught to stop keep writing.

    It is cut at the left margin, before the first statement that defines nothing (a test, a print), redefines what this
    response has defined, or does not parse. A continuation of which no part parses is left as it is.
    """
    lines, begins = program.replace("\r\n", "\n").replace("\r", "\n").split("\n"), preamble.count("\n")
    for _ in range(_MAX_CUTS):
        tree = _parse("\n".join(lines))
        if isinstance(tree, ast.Module):
            return "\n".join(lines[: _end(tree, begins, len(lines))])
        end = next((at for at in reversed(range(begins + 1, min(tree, len(lines)))) if _at_margin(lines[at])), None)
        if end is None:
            break
        del lines[end:]
    return program


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        return error.lineno or 0
    except (ValueError, RecursionError, MemoryError):
        return 0
