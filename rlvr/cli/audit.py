"""`rlvr audit rules=PACK dataset=NAME`: can the rules be trusted on this data, and what would an attacker get?

1. Every ground truth: can the rules score it? 2. Every reference solution, written as the prompt asks: does it get the full
score? 3. Attacks (`rlvr.analysis.audit.attacks`, and your own: audit.attacks) on a sample of problems: what do they gain?
Other arguments are overrides as for `rlvr train` (prompt=..., dataset.path=..., audit.problems=200, verify.workers=4).
Exit status: 0; 1 when an attack gains on more than audit.max_gain of the problems and not all rules that count allow it
(`rules.NAME.allows`), or when scoring failed; 2 when the arguments are wrong.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlvr.analysis.audit.attacks.base import find_attacks
from rlvr.analysis.audit.attempt import Attempt
from rlvr.analysis.audit.audit import Report, audit
from rlvr.config.compose import compose
from rlvr.config.schema import AuditConfig
from rlvr.data.prompts import Prompts, check_template
from rlvr.data.source import data_source
from rlvr.errors import ConfigError
from rlvr.rules.load import rule_pack
from rlvr.rules.pack import RulePack
from rlvr.scoring.factory import make_backend
from rlvr.text import clip, one_line

USAGE = "usage: rlvr audit rules=PACK dataset=NAME [prompt=NAME] [dataset.path=DIR] [audit.problems=50] [KEY=VALUE ...]"


def show(report: Report, pack: RulePack, settings: AuditConfig, console: Console) -> None:
    """Print lint, reference solutions and the table of attacks, for a terminal or a file."""
    found = report.lint if report.lint.bad else f"all {report.lint.problems:,} can be scored"
    full = report.references - len(report.short)
    lines = [f"ground truths  {found}", f"references     {full:,} of {report.references:,} get the full score"]
    lines += [f"               {problem.id}: {reason}" for problem, reason in report.short[: settings.show]]
    console.print("\n".join(lines), markup=False, highlight=False)
    title = f"{len(report.attempts)} attacks on {report.attacked} problems"
    table = Table(header_style="bold", title=title, title_justify="left")
    for column in ("attack", "earns", "tried", "gained"):
        justify = "right" if column in ("tried", "gained") else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=True)
    table.add_column("worst example: reward (fair): completion, or why it is allowed", overflow="fold")
    for each in report.attempts:
        style = "" if not each.gained and not each.errors else "yellow" if each.declared and not each.errors else "bold red"
        shares = (str(each.tried), f"{each.share:.0%}") if each.tried else ("-", "-")
        cells = (each.attack.name(), each.attack.earns, *shares, _explained(each))
        table.add_row(*(Text(cell, style=style) for cell in cells))
    console.print(table, highlight=False)


def _explained(attempt: Attempt) -> str:
    if attempt.errors:
        return f"{attempt.errors} completions could not be scored"
    if attempt.worst is None:
        return ""
    completion, reward, fair = attempt.worst
    text = f"{reward:.2f} ({fair:.2f}): {clip(one_line(completion), 90, tail=35)}"
    return f"{text}\nallowed: {attempt.declared}" if attempt.declared else text


def run(arguments: Sequence[str]) -> int:
    """Returns the exit status. Errors: `ConfigError`."""
    try:
        if not all(any(argument.startswith(key) for argument in arguments) for key in ("rules=", "dataset=")):
            raise ConfigError(f"rules=PACK and dataset=NAME are needed; {USAGE}")
        config = compose(arguments)
        settings = config.audit
        check_template(config.prompt)
        pack = rule_pack(config)
        attacks = find_attacks(settings.attacks, ("rlvr.", *config.rules_from))
        pack.check_allows({name for attack in attacks for name in (attack.name(), attack.family())})
        splits = data_source(config.dataset).load()
        problems = [*splits.train, *splits.test]
        prompts = Prompts(template=replace(config.prompt, few_shot=0))
        backend = make_backend(config, pack)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    start = time.perf_counter()
    with closing(backend):
        retries = config.verify.retries
        report = audit(pack, problems, prompts, attacks, settings.problems, backend=backend, retries=retries)
    show(report, pack, settings, Console())
    failed = report.failed(settings.max_gain)
    for each in failed:
        gain = f"gains on {each.share:.0%} of the problems, more than audit.max_gain={settings.max_gain:g}"
        what = "could not be scored" if each.errors else gain
        print(f"failed: {each.attack.name()}: {what}: {each.attack.hack()}", file=sys.stderr)
    if not report.attacked:
        print("warning: nothing was attacked: no reference solution gets the full score; see prompt=...", file=sys.stderr)
    print(f"{time.perf_counter() - start:.1f} s")
    return 1 if failed else 0
