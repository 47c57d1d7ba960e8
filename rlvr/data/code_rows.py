"""Code in the columns of a data set of programs, and reference programs as completions."""

from __future__ import annotations

import ast
from typing import Any

from rlvr.data.rows import text_of
from rlvr.errors import ConfigError
from rlvr.programs.syntax import UNPARSABLE, parse
from rlvr.text import one_line


def code_of(row: dict[str, Any], key: str, row_id: str) -> str:
    """The code in a column, unchanged except that its lines end in `\\n`. Errors: `ConfigError` naming the row."""
    text_of(row, key, row_id)
    return unix_lines(row[key])


def unix_lines(text: str) -> str:
    """The text with `\\n` for `\\r\\n` and for a lone `\\r`, which end a line of Python too."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parsed(code: str, what: str) -> ast.Module:
    """The syntax tree. what: the code's name in the error. Errors: `ConfigError`."""
    try:
        return parse(code)
    except UNPARSABLE as error:
        raise ConfigError(f"dataset: {what} is no Python: {one_line(error) or type(error).__name__}") from error


def names_in(tree: ast.Module) -> set[str]:
    """All plain names that code mentions."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def fenced(code: str, language: str = "python") -> str:
    """The code as a chat model would answer with it."""
    return f"```{language}\n{code.strip(chr(10))}\n```"
