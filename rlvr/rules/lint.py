"""Ground truths that the rules cannot score, found before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlvr.errors import ConfigError
from rlvr.rules.pack import RulePack
from rlvr.types import Problem

_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """How many problems were checked, and which cannot be scored."""

    problems: int
    bad: tuple[tuple[Problem, str], ...]
    """Problems with the reason why a rule that counts cannot score them."""

    def __str__(self) -> str:
        """One line: how many, by which rules, and the first few."""
        rules = Counter(reason.partition(":")[0] for _, reason in self.bad)
        examples = "; ".join(f"{problem.id}: {reason}" for problem, reason in self.bad[:_EXAMPLES])
        counts = ", ".join(f"{count} by {rule}" for rule, count in rules.items())
        return f"{len(self.bad)} of {self.problems} ground truths cannot be scored ({counts}): {examples}"


def lint(problems: Sequence[Problem], pack: RulePack) -> Lint:
    """Check every ground truth with every rule that counts."""
    bad = [(problem, reason) for problem in problems if (reason := pack.check_truth(problem))]
    return Lint(problems=len(problems), bad=tuple(bad))


def scorable(
    problems: Sequence[Problem], pack: RulePack, on_unscorable: Literal["fail", "drop", "keep"]
) -> tuple[Sequence[Problem], str | None]:
    """The problems to use, and a warning if some cannot be scored. Errors: `ConfigError` with `fail`."""
    found = lint(problems, pack)
    if not found.bad:
        return problems, None
    if on_unscorable == "fail":
        raise ConfigError(f"dataset: {found}; dataset.on_unscorable=drop leaves them out, keep has their rollouts masked")
    if on_unscorable == "keep":
        return problems, f"{found}; their rollouts will be masked"
    bad = {problem.id for problem, _ in found.bad}
    return [problem for problem in problems if problem.id not in bad], f"{found}; left out"
