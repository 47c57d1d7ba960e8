"""Parameters of which a sample runs with every test command, and the rest with `pytest -m slow`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], *, every: int = 4, fast: Collection[Any] | None = None) -> list[Any]:
    """`cases` as parameters, all but a sample marked slow.

    The sample: each `every`-th case, the first included; or those in `fast`.
    """
    listed = list(cases)
    if fast is not None:
        assert not set(fast) - set(listed), "a fast case is none of the cases"
    chosen = [at % every == 0 if fast is None else case in fast for at, case in enumerate(listed)]
    return [
        case if quick else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case, quick in zip(listed, chosen, strict=True)
    ]
