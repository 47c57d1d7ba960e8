"""Validate an edited rule pack before a running experiment adopts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from rlvr.errors import ConfigError
from rlvr.rules.lint import scorable
from rlvr.rules.pack import Judgement, RulePack
from rlvr.types import Problem


def validate_live_rules(
    pack: RulePack,
    *,
    train: Sequence[Problem],
    held_out: Sequence[Problem],
    on_unscorable: Literal["fail", "drop", "keep"],
    problems: int,
    require_isolation: Callable[[], None],
    judge: Callable[[RulePack, str, Problem], Judgement],
) -> None:
    """Check an edited pack as a run checks its pack before it starts, and score one problem per rule with it.

    train, held_out: the problems of the run. on_unscorable: that of the data set; a running experiment drops no problems, which
    would change their order, but masks them. problems: per step; at least that many must remain scorable.
    require_isolation: raises `ConfigError` if programs of the model cannot be isolated. judge: scores with the pack.
    Errors: `ConfigError`.
    """
    if pack.isolated:
        require_isolation()
    on_unscorable = "fail" if on_unscorable == "fail" else "drop"
    remaining, warning = scorable(train, pack, on_unscorable)
    if len(remaining) < problems:
        raise ConfigError(f"rules: of {len(train)} training problems {len(remaining)} can be scored: {warning}")
    scorable(held_out, pack, on_unscorable)
    _check_scores(pack, remaining, judge)


def _check_scores(pack: RulePack, problems: Sequence[Problem], judge: Callable[[RulePack, str, Problem], Judgement]) -> None:
    """A verifier that fails here (a worker cannot or may not import it) would fail on every rollout."""
    chosen = {name: next((p for p in problems if rule.applies(p)), None) for name, rule in pack.rules.items()}
    for problem in {problem.id: problem for problem in chosen.values() if problem is not None}.values():
        solution = problem.metadata.get("completion") or problem.metadata.get("solution") or ""
        for name, verdict in judge(pack, str(solution), problem).verdicts.items():
            if verdict.outcome == "error":
                raise ConfigError(f"rules.{name}: cannot score problem {problem.id}: {verdict.reason}: {verdict.detail}")
