"""The audit of a rule pack on a data set: lint, reference solutions, attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rlvr.analysis.audit.attacks.base import Attack
from rlvr.analysis.audit.attempt import Attempt, answer_of, attempt, target_of
from rlvr.config.schema import VerifyConfig
from rlvr.data.prompts import Prompts
from rlvr.rules.lint import Lint, lint
from rlvr.rules.pack import Judge, RulePack
from rlvr.runs.problems import full_score_gap
from rlvr.scoring.backend import Backend
from rlvr.scoring.local.supervisor import shared
from rlvr.scoring.scheduler import threads_for
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The findings of an audit."""

    lint: Lint
    references: int
    """Problems that have a reference solution."""
    short: tuple[tuple[Problem, str], ...]
    """Problems whose reference solution does not get the full score, with the reason."""
    attacked: int
    attempts: tuple[Attempt, ...]

    def failed(self, max_gain: float) -> list[Attempt]:
        return [each for each in self.attempts if each.errors or (each.share > max_gain and not each.declared)]


def audit(
    pack: RulePack,
    problems: Sequence[Problem],
    prompts: Prompts,
    attacks: Sequence[Attack],
    n_targets: int,
    *,
    backend: Backend | None = None,
    retries: int = VerifyConfig.retries,
) -> Report:
    """Lint, score the reference solutions, attack. backend: runs slow verifiers, for many problems at a time."""
    backend = backend or shared()
    judge: Judge = partial(pack.judge, slow=backend.score, retries=retries)
    checked = lint(problems, pack)
    bad = {problem.id for problem, _ in checked.bad}
    with_reference = [p for p in problems if p.id not in bad and ("solution" in p.metadata or "completion" in p.metadata)]
    with threads_for(backend) as threads:
        reasons = list(threads.map(lambda problem: full_score_gap(prompts, problem, pack, judge=judge), with_reference))
        solved = [problem for problem, reason in zip(with_reference, reasons, strict=True) if reason is None]
        chosen = _spread(solved, n_targets)
        answers = list(dict.fromkeys(answer for problem in chosen if (answer := answer_of(problem))))
        found = threads.map(lambda problem: target_of(problem, chosen, answers, prompts, judge), chosen)
        targets = [target for target in found if target is not None]
        attempts = [attempt(attack, targets, pack, judge, threads) for attack in attacks]
    return Report(
        lint=checked,
        references=len(with_reference),
        short=tuple((problem, why) for problem, why in zip(with_reference, reasons, strict=True) if why),
        attacked=len(targets),
        attempts=tuple(attempts),
    )


def _spread(problems: Sequence[Problem], n: int) -> Sequence[Problem]:
    """At most `n` problems, evenly spread over the data set."""
    return [problems[at * len(problems) // n] for at in range(n)] if len(problems) > n else problems
