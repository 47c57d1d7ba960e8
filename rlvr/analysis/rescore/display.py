"""What `rlvr rescore` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlvr.analysis.rescore.reproduction import Kind, Reproduction
from rlvr.rules.fingerprint import Fingerprint
from rlvr.runs.rule_history import ActiveRules, changed_code
from rlvr.text import one_line

_CURVE_ROWS = 12
_SEGMENTS = 8


def show_rules(name: str, history: Sequence[ActiveRules], console: Console) -> None:
    """The active rules by step: the first ones and the last, since a schedule may have many."""
    for at, each in enumerate(history):
        if at < _SEGMENTS or at == len(history) - 1:
            where = f"{'evaluation, ' if each.evaluation else ''}{_steps(each.first, each.last)}"
            _line(console, name, f"{each.reward}  ({each.rules.hash}, {where})")
        elif at == _SEGMENTS:
            _line(console, name, f"... and {len(history) - _SEGMENTS - 1:,} more")


def show_code(rules: Sequence[tuple[Fingerprint, Fingerprint]], console: Console) -> None:
    """Whether the code of the verifiers has changed. rules: fingerprints then and now, for every file of the rollout log."""
    changed = sorted({name for then, now in rules for name in changed_code(then, now)})
    _line(console, "code", f"has changed since: {', '.join(changed)}" if changed else "of the verifiers is unchanged")


def _steps(first: int, last: int) -> str:
    return f"step {first}" if first == last else f"steps {first} to {last}"


def show_reproduction(found: Reproduction, seconds: float, console: Console) -> None:
    """Counts, differences by reason, and the first differences."""
    kinds: tuple[Kind, ...] = ("verdicts", "rewards", "advantages")
    for kind in kinds:
        counted, differing = found.counted.get(kind, 0), found.differing.get(kind, 0)
        text = f"{counted - differing:,} of {counted:,} reproduced"
        _line(console, kind, text, style="bold red" if differing else "")
    if found.differing.get("wording"):
        _line(console, "wording", f"{found.differing['wording']:,} of the verdicts are reproduced with a different detail")
    _line(console, "speed", f"{found.rollouts:,} rollouts in {seconds:.1f} s: {found.rollouts / seconds:,.0f} a second")
    for (rule, then, now), number in sorted(found.reasons.items(), key=lambda item: -item[1]):
        _line(console, f"{number:,}", f"{rule}: {then} -> {now}")
    for each in found.first:
        rollout = _rollout(each.entry.split, each.entry.step, each.entry.problem.id, each.entry.rollout_index)
        console.print(Text(_shown(f"{rollout}: {each.what}: {each.then} -> {each.now}")), soft_wrap=True)
    more = sum(found.differing.values()) - len(found.first)
    if more:
        console.print(Text(f"and {more:,} more (show=N lists N)"))


def _rollout(split: str, step: int, problem_id: str, index: int) -> str:
    return f"{split} step {step}, problem {problem_id}, rollout {index}"


def show_changes(summary: Mapping[str, Any], folder: Path, show: int, console: Console) -> None:
    """Tables of the rules, and the effects on rewards, order and advantages, by split."""
    _line(console, "changes", ", ".join(summary["changes"]))
    for split, of in summary["splits"].items():
        console.print(Text(f"\n{split}: {of['rollouts']:,} rollouts", style="bold"))
        console.print(_rules_table(summary, of))
        for name, text in _findings(of):
            _line(console, name, text)
    console.print(_curve_table(summary["curve"]))
    for flip in summary["flips"][:show]:
        rewards = " -> ".join("masked" if value is None else f"{value:.3g}" for value in flip["reward"].values())
        rules = "; ".join(f"{name}: {each['then']} -> {each['now']}" for name, each in flip["rules"].items())
        rollout = _rollout(flip["split"], flip["step"], flip["problem_id"], flip["rollout_index"])
        console.print(Text(_shown(f"{rollout}: reward {rewards}" + (f" ({rules})" if rules else ""))), soft_wrap=True)
    n_flips = sum(of["flips"]["any"] for of in summary["splits"].values())
    if n_flips > show:
        console.print(Text(f"and {n_flips - show:,} more rollouts flip"))
    console.print(Text(f"\nthe new rollout log and summary.json are in {folder}"), soft_wrap=True)


def _rules_table(summary: Mapping[str, Any], of: Mapping[str, Any]) -> Table:
    table = _table("rule", "weight", "score", "scored", "full score")
    for name, rule in of["rules"].items():
        weights = [_weights(summary["rules"][when], name) for when in ("then", "now")]
        table.add_row(
            Text(name),
            " -> ".join(weights),
            f"{_number(rule['score']['then'])} -> {_number(rule['score']['now'])}",
            f"{rule['judged']['then']:,} -> {rule['judged']['now']:,}",
            f"{rule['gained']:,} gained, {rule['lost']:,} lost",
        )
    return table


def _weights(history: Sequence[Mapping[str, Any]], rule: str) -> str:
    """The first and the last weight, if there are several."""
    found = list(dict.fromkeys(f"{each['weights'][rule]:g}" for each in history if rule in each["weights"]))
    return "-" if not found else found[0] if len(found) == 1 else f"({found[0]} to {found[-1]})"


def _findings(of: Mapping[str, Any]) -> list[tuple[str, str]]:
    reward, masked, flips, pairs, advantages = (of[key] for key in ("reward", "masked", "flips", "pairs", "advantages"))
    found = [
        ("reward", f"{_number(reward['then'])} -> {_number(reward['now'])} on average"),
        ("masked", f"{masked['then']:,} -> {masked['now']:,}" + (f" ({of['errors']:,} by errors)" if of["errors"] else "")),
        (
            "flips",
            f"{flips['any']:,} rollouts: {flips['sign']:,} by the sign of the reward, {flips['pass']:,} by whether the answer "
            f"passes, {flips['masked']:,} by whether they are masked",
        ),
    ]
    if not of["groups"]["all"]:
        return found
    degenerate = of["groups"]["degenerate"]
    return [
        *found,
        ("degenerate", f"{degenerate['then']:,} -> {degenerate['now']:,} of {of['groups']['all']:,} groups"),
        (
            "order",
            f"{pairs['reversed']:,} pairs within groups reversed ({_percent(pairs['reversed_share'])} of those in order), "
            f"{pairs['tie_made']:,} now tied, {pairs['tie_broken']:,} no longer; "
            f"rank correlation {_number(pairs['rank_correlation'])}",
        ),
        (
            "advantages",
            f"moved by {_number(advantages['mean_move'])} on average, {advantages['sign_turned']:,} of "
            f"{advantages['compared']:,} changed sign; correlation {_number(advantages['correlation'])}",
        ),
    ]


def _curve_table(curve: Sequence[Mapping[str, Any]]) -> Table:
    """Mean rewards at some steps, the first and last included; summary.json has all."""
    table = _table("step", "split", "mean reward")
    for split in dict.fromkeys(each["split"] for each in curve):
        rows = [each for each in curve if each["split"] == split]
        last = min(len(rows), _CURVE_ROWS) - 1
        for at in dict.fromkeys(round(n * (len(rows) - 1) / max(last, 1)) for n in range(last + 1)):
            table.add_row(f"{rows[at]['step']}", split, " -> ".join(_number(rows[at][when]) for when in ("then", "now")))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name in ("rule", "split") else "right", overflow="fold")
    return table


def _line(console: Console, name: str, text: str, style: str = "") -> None:
    console.print(Text.assemble((f"{name:>10}", "bold"), "  ", (_shown(text), style)), soft_wrap=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _shown(text: str) -> str:
    """On one line, without lone surrogates, which terminals reject and completions may hold."""
    return one_line(text.encode("utf-8", "backslashreplace").decode())
