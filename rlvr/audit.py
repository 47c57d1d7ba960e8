"""`python -m rlvr.audit rules=PACK dataset=NAME`: can the rules be trusted on this data, and what would an attacker get?

1. Every truth: can the rules score it? 2. Every reference solution, written as the prompt asks: does it get full marks?
3. Attacks (`rlvr.attacks`, and your own: audit.attacks) on a sample of problems: what do they gain?
Other arguments are overrides as for train.py (prompt=..., dataset.path=..., audit.problems=200, verify.workers=4). Exit
status: 0; 1 when an attack gains on more than audit.max_gain of the problems and not every rule that counts declares that it
allows it (`rules.NAME.allows`), or when judging failed; 2 when the arguments are wrong.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlvr.attacks.base import Attack, find_attacks
from rlvr.attacks.trial import Attempt, answer_of, attempt, honest_rewards, target_of
from rlvr.build import backend, data_source, rule_pack
from rlvr.compose import compose
from rlvr.config import AuditConfig, ConfigError, VerifyConfig
from rlvr.data.lint import Lint, lint
from rlvr.data.prompts import Prompts, check_template, full_marks
from rlvr.rules.pack import Judge, RulePack
from rlvr.types import Problem
from rlvr.verify.backend import Backend
from rlvr.verify.judging import threads_for
from rlvr.verify.processes import shared

USAGE = (
    "usage: python -m rlvr.audit rules=PACK dataset=NAME [prompt=NAME] [dataset.path=DIR] [audit.problems=50] [KEY=VALUE ...]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that an audit found."""

    lint: Lint
    references: int
    """Problems that have a reference solution."""
    short: tuple[tuple[Problem, str], ...]
    """Those whose reference solution does not get full marks, with the reason."""
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
    """Lint, judge the references, attack; `backend` judges what is slow, for many problems at a time."""
    backend = backend or shared()
    judge: Judge = partial(pack.judge, slow=backend.judge, retries=retries)
    checked = lint(problems, pack)
    bad = {problem.id for problem, _ in checked.bad}
    with_reference = [p for p in problems if p.id not in bad and ("solution" in p.metadata or "completion" in p.metadata)]
    with threads_for(backend) as threads:
        reasons = list(threads.map(lambda problem: full_marks(prompts, problem, pack, judge=judge), with_reference))
        sound = [problem for problem, reason in zip(with_reference, reasons, strict=True) if reason is None]
        chosen = _spread(sound, n_targets)
        answers = list(dict.fromkeys(answer for problem in chosen if (answer := answer_of(problem))))
        found = threads.map(lambda problem: target_of(problem, chosen, answers, prompts, judge), chosen)
        targets = [target for target in found if target is not None]
        honest = list(threads.map(lambda target: honest_rewards(target, judge), targets))
        attempts = [attempt(attack, targets, honest, pack, judge, threads) for attack in attacks]
    return Report(
        lint=checked,
        references=len(with_reference),
        short=tuple((problem, why) for problem, why in zip(with_reference, reasons, strict=True) if why),
        attacked=len(targets),
        attempts=tuple(attempts),
    )


def _spread(problems: Sequence[Problem], n: int) -> Sequence[Problem]:
    """At most `n` of them, from all over the data set."""
    return [problems[at * len(problems) // n] for at in range(n)] if len(problems) > n else problems


def show(report: Report, pack: RulePack, settings: AuditConfig, console: Console) -> None:
    """Lint, references and the table of attacks, for a terminal or a file."""
    found = report.lint
    console.print(
        f"truths      {found if found.bad else f'all {found.problems:,} can be scored'}", markup=False, highlight=False
    )
    full = report.references - len(report.short)
    console.print(f"references  {full:,} of {report.references:,} get full marks", highlight=False)
    for problem, reason in report.short[: settings.show]:
        console.print(f"            {problem.id}: {reason}", markup=False, highlight=False)
    table = Table(
        header_style="bold", title=f"{len(report.attempts)} attacks on {report.attacked} problems", title_justify="left"
    )
    for column in ("attack", "earns", "tried", "gained", "worst example: reward (fair): completion, or why it is allowed"):
        last = column.startswith("worst")
        table.add_column(
            column, justify="right" if column in ("tried", "gained") else "left", overflow="fold", no_wrap=not last
        )
    for each in report.attempts:
        style = "" if not each.gained and not each.errors else "yellow" if each.declared and not each.errors else "bold red"
        cells = (
            each.attack.name(),
            each.attack.earns,
            f"{each.tried}" if each.tried else "-",
            f"{each.share:.0%}" if each.tried else "-",
        )
        table.add_row(*(Text(cell, style=style) for cell in (*cells, _explained(each))))
    console.print(table, highlight=False)


def _explained(attempt: Attempt) -> str:
    if attempt.errors:
        return f"{attempt.errors} completions could not be judged"
    if attempt.worst is None:
        return ""
    completion, reward, fair = attempt.worst
    shown = " ".join(completion.split())
    text = f"{reward:.2f} ({fair:.2f}): {shown if len(shown) < 90 else f'{shown[:50]} ... {shown[-35:]}'}"
    return f"{text}\nallowed: {attempt.declared}" if attempt.declared else text


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    try:
        if not all(any(argument.startswith(key) for argument in arguments) for key in ("rules=", "dataset=")):
            raise ConfigError(f"rules=PACK and dataset=NAME are needed; {USAGE}")
        config = compose(arguments)
        settings = config.audit
        if settings.problems < 1 or not 0 <= settings.max_gain <= 1:
            key = "problems" if settings.problems < 1 else "max_gain"
            raise ConfigError(
                f"audit.{key}={getattr(settings, key)}: must be {'at least 1' if key == 'problems' else 'in [0, 1]'}"
            )
        check_template(config.prompt)
        pack = rule_pack(config)
        attacks = find_attacks(settings.attacks, ("rlvr.", *config.rules_from))
        pack.check_allows({name for attack in attacks for name in (attack.name(), attack.family())})
        splits = data_source(config.dataset).load()
        problems = [*splits.train, *splits.test]
        prompts = Prompts(template=replace(config.prompt, few_shot=0))
        judges = backend(config, pack)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    start = time.perf_counter()
    with closing(judges):
        retries = config.verify.retries
        report = audit(pack, problems, prompts, attacks, settings.problems, backend=judges, retries=retries)
    show(report, pack, settings, Console())
    failed = report.failed(settings.max_gain)
    for each in failed:
        gain = f"gains on {each.share:.0%} of the problems, more than audit.max_gain={settings.max_gain:g}"
        print(
            f"failed: {each.attack.name()}: {'could not be judged' if each.errors else gain}: {each.attack.hack()}",
            file=sys.stderr,
        )
    if not report.attacked:
        print("warning: nothing was attacked: no reference solution gets full marks; see prompt=...", file=sys.stderr)
    print(f"{time.perf_counter() - start:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
