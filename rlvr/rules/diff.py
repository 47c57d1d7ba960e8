"""Differences between two rule packs, as lines for a human."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rlvr.rules.options import verifier_node
from rlvr.rules.pack import RulePack
from rlvr.rules.rule import Rule
from rlvr.rules.schedule import shown
from rlvr.text import clip

_LONGEST = 200
"""Characters shown of a value."""


def changes(before: RulePack, after: RulePack) -> tuple[str, ...]:
    """A line for each difference: `rules.format.weight 0.1 -> 0.05`, `rule style added (weight 0.2)`, `rule style removed`.

    Effective options are compared, so that writing out a default is no change. Empty: the packs score alike.
    """
    lines = []
    for name, rule in after.rules.items():
        if name not in before.rules:
            lines.append(f"rule {name} added (weight {shown(_weight(rule))})")
            continue
        old, new = dict(_options(before.rules[name], f"rules.{name}")), dict(_options(rule, f"rules.{name}"))
        for key in dict.fromkeys([*old, *new]):
            if key not in new:
                lines.append(f"{key} removed")
            elif key not in old:
                lines.append(f"{key} added: {clip(shown(new[key]), _LONGEST)}")
            elif repr(old[key]) != repr(new[key]):  # 1 is not True
                lines.append(f"{key} {clip(shown(old[key]), _LONGEST)} -> {clip(shown(new[key]), _LONGEST)}")
    return (*lines, *(f"rule {name} removed" for name in before.rules if name not in after.rules))


def _options(rule: Rule, key: str) -> Iterator[tuple[str, Any]]:
    """Everything that a pack's file can set of a rule, by key."""
    yield f"{key}.weight", _weight(rule)
    if rule.verifier is not None:
        for name, value in verifier_node(rule.verifier).items():
            yield f"{key}.verifier.{name}", value
    for part in rule.parts:
        yield from _options(part, f"{key}.parts.{part.name}")
    yield f"{key}.requires", list(rule.requires)
    yield f"{key}.datasets", list(rule.datasets)
    for attack, reason in rule.allows.items():
        yield f"{key}.allows.{attack}", reason


def _weight(rule: Rule) -> Any:
    return rule.schedule.plain() if rule.schedule else rule.weight
