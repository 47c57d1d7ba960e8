"""Text and numbers as the page shows them."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

NONE = "-"
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
    "|[\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e0fff\U0010fffe\U0010ffff]"
)


def visible(text: Any) -> str:
    """Text with invisible and direction-changing characters as code points; markup stays as it is."""
    return text if isinstance(text, Markup) else _INVISIBLE.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", str(text))


def cut(text: str, most: int, from_end: bool = False) -> str:
    """At most so many characters: the first and last ones, or only the last."""
    if len(text) <= most:
        return text
    if from_end:
        return f"{left_out(len(text) - most)} {text[-most:]}"
    return f"{text[: most // 2]} {left_out(len(text) - most)} {text[-(most // 2) :]}"


def left_out(n: int) -> str:
    return f"[{n:,} characters left out]"


def number(value: float | None, share: bool = False) -> str:
    """Four digits, or a percentage with one decimal; a dash for None."""
    if value is None:
        return NONE
    return f"{value:.1%}" if share else f"{value:,.4g}"
