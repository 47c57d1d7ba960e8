"""Texts fitted into a line or a number of characters."""

from __future__ import annotations


def one_line(text: object) -> str:
    """White space as single spaces, none at the ends."""
    return " ".join(str(text).split())


def clip(text: str, most: int, tail: int = 0) -> str:
    """At most `most` characters, with `…` for what is left out: the end, or what stands before the last `tail` characters."""
    return text if len(text) <= most else f"{text[: most - tail - 1]}…{text[len(text) - tail :]}"
