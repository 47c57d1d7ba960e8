"""`python -m rlvr.audit rules=PACK dataset=NAME`: can the rules be trusted on this data, and what would an attacker get?

1. Every truth: can the rules score it? 2. Every reference solution, written as the prompt asks: does it get full marks?
3. Attacks (`rlvr.attacks`, and your own: audit.attacks) on a sample of problems: what do they gain?
Other arguments are overrides as for train.py (prompt=..., dataset.path=..., audit.problems=200). Exit status: 0; 1 when an
attack gains on more than audit.max_gain of the problems and not every rule that counts declares that it allows it
(`rules.NAME.allows`), or when judging failed; 2 when the arguments are wrong.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlvr.attacks.base import BLUFF, Attack, Target, find_attacks
from rlvr.build import data_source, rule_pack
from rlvr.compose import compose
from rlvr.config import AuditConfig, ConfigError
from rlvr.data.lint import Lint, lint
from rlvr.data.prompts import Prompts, check_template, full_marks
from rlvr.rules.pack import RulePack
from rlvr.types import Problem

_CLOSE = 1e-9
USAGE = (
    "usage: python -m rlvr.audit rules=PACK dataset=NAME [prompt=NAME] [dataset.path=DIR] [audit.problems=50] [KEY=VALUE ...]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one attack came to."""

    attack: Attack
    tried: int
    """Problems on which it could be made."""
    gained: int
    """Problems on which it got more than is fair."""
    worst: tuple[str, float, float] | None
    """The completion that gained most, its reward, and what would have been fair."""
    declared: str | None
    """Why the rules allow it, where all that count do."""
    errors: int
    """Completions that could not be judged."""

    @property
    def share(self) -> float:
        return self.gained / self.tried if self.tried else 0.0


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


def audit(pack: RulePack, problems: Sequence[Problem], prompts: Prompts, attacks: Sequence[Attack], n_targets: int) -> Report:
    """Lint, judge the references, attack."""
    checked = lint(problems, pack)
    bad = {problem.id for problem, _ in checked.bad}
    with_reference = [p for p in problems if p.id not in bad and ("solution" in p.metadata or "completion" in p.metadata)]
    reasons = [(problem, full_marks(prompts, problem, pack)) for problem in with_reference]
    sound = [problem for problem, reason in reasons if reason is None]
    targets = list(_targets(sound, pack, prompts, n_targets))
    honest = [tuple(pack.judge(each, t.problem).reward or 0.0 for each in (t.right, t.wrong)) for t in targets]
    return Report(
        lint=checked,
        references=len(with_reference),
        short=tuple((problem, reason) for problem, reason in reasons if reason),
        attacked=len(targets),
        attempts=tuple(_attempt(attack, targets, honest, pack) for attack in attacks),
    )


def _targets(problems: Sequence[Problem], pack: RulePack, prompts: Prompts, n: int) -> Iterator[Target]:
    """Problems spread over the data set, with honest solutions."""
    chosen = [problems[at * len(problems) // n] for at in range(n)] if len(problems) > n else problems
    answers = list(dict.fromkeys(answer for problem in chosen if (answer := _answer(problem))))
    for problem in chosen:
        rendered = prompts.render(problem)
        right = prompts.completion(problem)
        full = pack.judge(right, rendered).reward
        if "completion" in problem.metadata:
            others = [prompts.completion(other) for other in chosen if other is not problem]
            wrong = next((each for each in others if _less(pack, each, rendered, full)), None)
            if wrong is not None:
                yield Target(problem=rendered, right=right, wrong=wrong, answer="", wrong_answers=("", ""), write=None)
            continue
        write = partial(prompts.completion, problem)
        choices = problem.truth.get("choices")
        candidates = [chr(ord("A") + at) for at in range(len(choices))] if choices else answers
        wrong_answers: list[str] = []
        for each in candidates:
            if len(wrong_answers) < 2 and each != _answer(problem) and _less(pack, write(each, BLUFF), rendered, full):
                wrong_answers.append(each)
        # Where no answer is wrong (no rule judges answers), any other will do.
        wrong_answers += [each for each in ("0", "1") if len(wrong_answers) < 2 and each != _answer(problem)]
        yield Target(
            problem=rendered,
            right=right,
            wrong=write(wrong_answers[0], BLUFF),
            answer=_answer(problem),
            wrong_answers=tuple(wrong_answers),
            write=write,
        )


def _answer(problem: Problem) -> str:
    return str(problem.metadata.get("answer", problem.truth.get("answer", "")))


def _less(pack: RulePack, completion: str, problem: Problem, full: float | None) -> bool:
    reward = pack.judge(completion, problem).reward
    return reward is not None and full is not None and reward < full - _CLOSE


def _attempt(attack: Attack, targets: Sequence[Target], honest: Sequence[tuple[float, ...]], pack: RulePack) -> Attempt:
    """`honest`: rewards of the right and the wrong honest solution of each target."""
    tried, gained, errors, most = 0, 0, 0, 0.0
    worst: tuple[str, float, float] | None = None
    for target, (right, wrong) in zip(targets, honest, strict=True):
        completions = [each for each in attack.build(target) if each is not None]
        if not completions:
            continue
        tried += 1
        judged = [pack.judge(each, target.problem).reward for each in completions]
        errors += sum(reward is None for reward in judged)
        rewards = [reward or 0.0 for reward in judged]
        if attack.earns == "guess":  # as many completions as candidates
            fair = (right + (len(rewards) - 1) * wrong) / len(rewards)
            excess, reward = sum(rewards) / len(rewards) - fair, max(rewards)
        else:
            fair, reward = wrong if attack.earns == "nothing" else right, max(rewards)
            # An attack that earns less than all gains when it gets all.
            excess = reward - fair + (2 * _CLOSE if attack.earns == "less" else 0.0)
        if excess > _CLOSE:
            gained += 1
            if worst is None or excess > most:
                most, worst = excess, (completions[rewards.index(reward)], reward, fair)
    return Attempt(
        attack=attack,
        tried=tried,
        gained=gained,
        worst=worst,
        declared=pack.allows(attack.name(), attack.family()) if gained else None,
        errors=errors,
    )


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
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    start = time.perf_counter()
    report = audit(pack, problems, prompts, attacks, settings.problems)
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
