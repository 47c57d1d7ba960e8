"""Python source as a syntax tree."""

from __future__ import annotations

import ast
import warnings

UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What `parse` raises for a text that is no Python, or too much of it."""


def parse(text: str) -> ast.Module:
    """The syntax tree, without warnings of odd escapes in string literals. Errors: `UNPARSABLE`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def try_parse(text: str) -> ast.Module | None:
    """The syntax tree, or None."""
    try:
        return parse(text)
    except UNPARSABLE:
        return None
