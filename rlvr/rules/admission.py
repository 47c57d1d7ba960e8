"""What rules must be able to do before a running experiment goes on with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from rlvr.config import ConfigError, VerifyConfig
from rlvr.data.lint import scorable
from rlvr.rules.pack import RulePack
from rlvr.types import Problem
from rlvr.verify.backend import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Asks of a new pack what a run asks of its pack before it starts, and judges with it once."""

    backend: Backend
    """Where the run judges."""
    verify: VerifyConfig
    train: Sequence[Problem]
    """The problems that the run trains on."""
    held_out: Sequence[Problem]
    """And those that it is evaluated on."""
    on_unscorable: Literal["fail", "drop", "keep"]
    """As of the data set; but a run that is under way leaves no problems out, which would change their order: it masks them."""
    problems: int
    """A step: at least so many must remain that the rules can score."""

    def __call__(self, pack: RulePack) -> None:
        """Errors: `ConfigError`."""
        if pack.isolated and not self.verify.redis_url:  # with workers elsewhere, theirs have to
            from rlvr.sandbox.jail import require

            require(self.verify.allow_weak_isolation)
        on_unscorable = "fail" if self.on_unscorable == "fail" else "drop"
        remaining, warning = scorable(self.train, pack, on_unscorable)
        if len(remaining) < self.problems:
            raise ConfigError(f"rules: of {len(self.train)} training problems {len(remaining)} can be scored: {warning}")
        scorable(self.held_out, pack, on_unscorable)
        self._judge(pack, remaining)

    def _judge(self, pack: RulePack, problems: Sequence[Problem]) -> None:
        """A verifier that fails here (it cannot be imported by a worker, or may not be) would fail on every rollout."""
        judge = partial(pack.judge, slow=self.backend.judge, retries=self.verify.retries)
        chosen = {name: next((p for p in problems if rule.applies(p)), None) for name, rule in pack.rules.items()}
        for problem in {problem.id: problem for problem in chosen.values() if problem is not None}.values():
            solution = problem.metadata.get("completion") or problem.metadata.get("solution") or ""
            for name, verdict in judge(str(solution), problem).verdicts.items():
                if verdict.outcome == "error":
                    raise ConfigError(f"rules.{name}: cannot judge problem {problem.id}: {verdict.reason}: {verdict.detail}")
