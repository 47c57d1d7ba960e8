"""Where the program stands in a turn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from rlvr.answers.extract import after_think

Place = Literal["fenced", "whole", "continuation"]
PLACES: tuple[Place, ...] = ("fenced", "continuation", "whole")
_NAMES = {
    "python": ("python", "py", "python3", ""),
    "cpp": ("cpp", "c++", "cc", "cxx", ""),
    "javascript": ("javascript", "js", "node", ""),
}
# A fence opens on a line of its own and ends at the next line that begins with as many backticks, or with the text.
_FENCE = re.compile(r"^[ \t]{0,3}(`{3,})[ \t]*([^\s`]*)[^\n`]*\n(.*?)(?:^[ \t]{0,3}\1`*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """Contents of the fenced blocks of a language, or of none."""
    return [match[3] for match in _FENCE.finditer(text) if match[2].lower() in _NAMES[language]]


def program_of(turn: str, order: Sequence[Place], *, language: str, preamble: str) -> str | None:
    """The program in the first place of `order` that holds one, behind the reasoning.

    `fenced`: the last block of the language, behind the preamble. `continuation`: the turn goes on where the preamble stops.
    `whole`: the turn is the program.
    """
    text = after_think(turn)
    for place in order:
        if place == "fenced":
            found = [block for block in blocks(text, language) if block.strip()]
            if found:
                return f"{preamble}\n\n{found[-1]}" if preamble else found[-1]
        elif text.strip() and (place == "whole" or preamble):
            return preamble + text if place == "continuation" else text
    return None
