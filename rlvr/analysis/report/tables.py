"""The tables of the page."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from rlvr.analysis.report.formatting import NONE, number
from rlvr.analysis.report.run_record import Record, rule_names
from rlvr.analysis.report.variants import Estimate, Variant, pick_value, series
from rlvr.analysis.report.verdict_history import History

_MEASURES = ("accuracy", "format", "reward")
_REASONS = 3
_INTERVALS = 12
"""Intervals of equal rules that are listed; a linear schedule has one for every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the page. Cells are text, which is escaped, or `Markup`, which is not."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Markup]]
    text_columns: int
    """The first so many columns are text, the rest numbers."""
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A metric in the tables of a sweep."""

    name: str
    key: str
    pick: str
    share: bool


_COLUMNS = (
    _Column(name="accuracy before", key="eval/accuracy", pick="first", share=True),
    _Column(name="accuracy, final", key="eval/accuracy", pick="final", share=True),
    _Column(name="accuracy, best", key="eval/accuracy", pick="best", share=True),
    _Column(name="format, final", key="eval/format", pick="final", share=True),
    _Column(name="format, best", key="eval/format", pick="best", share=True),
    _Column(name="reward, final", key="eval/reward", pick="final", share=False),
    _Column(name="reward, best", key="eval/reward", pick="best", share=False),
    _Column(name="sampled reward, last 5 steps", key="reward/mean", pick="late", share=False),
)


def estimated(value: Estimate | None, share: bool = False) -> str:
    """Mean ± half the width of its interval."""
    if value is None or value.half is None:
        return number(value and value.mean, share)
    return f"{number(value.mean, share)} ± {value.half * 100:.1f}" if share else f"{number(value.mean)} ± {value.half:.2g}"


def variant_table(variants: Sequence[Variant]) -> Table:
    """One row per variant: means over seeds with intervals."""
    columns = [c for c in _COLUMNS if any(variant.estimate(c.key, c.pick) for variant in variants)]
    rows = [
        [
            variant.label,
            ", ".join(_seed(record) for record in variant.records),
            f"{sum(record.finished for record in variant.records)} of {len(variant.records)}",
            *(estimated(variant.estimate(c.key, c.pick), c.share) for c in columns),
        ]
        for variant in variants
    ]
    caption = (
        "Mean over the finished jobs of a row ± half of its 95 % t-interval (points of a percentage); without ±: one job. "
        "Accuracy, format and reward are held out, greedy; best: the highest of a job's evaluations, which flatters noisy jobs."
    )
    return Table(
        head=["overrides", "seeds", "finished", *(c.name for c in columns)], rows=rows, text_columns=3, caption=caption
    )


def job_table(variants: Sequence[Variant]) -> Table:
    """One row per job."""
    rows = []
    columns = [c for c in _COLUMNS if any(series(r.rows, c.key) for variant in variants for r in variant.records)]
    for variant in variants:
        for record in variant.records:
            picked = [pick_value([value for _, value in series(record.rows, c.key)], c.pick) for c in columns]
            values = [number(value, c.share) for value, c in zip(picked, columns, strict=True)]
            rows.append([_link(record), variant.label, _seed(record), record.state, *values])
    return Table(
        head=["job", "overrides", "seed", "state", *(c.name for c in columns)], rows=rows, text_columns=4, caption="Jobs"
    )


def _seed(record: Record) -> str:
    return NONE if record.seed is None else str(record.seed)


def _link(record: Record) -> str | Markup:
    if not (record.path / "report.html").is_file():
        return record.name
    return Markup('<a href="{}/report.html">{}</a>').format(quote(record.name), record.name)


def failed_table(variants: Sequence[Variant]) -> Table:
    """Jobs that did not finish, with what is known about it."""
    rows = [[r.name, variant.label, _seed(r), r.status] for variant in variants for r in variant.records if not r.finished]
    return Table(head=["job", "overrides", "seed", "what is known"], rows=rows, text_columns=4)


def evaluation_table(record: Record) -> Table | None:
    """Evaluations before and after, or the only one, by measure and by rule; None without one."""
    summary = record.summary
    names = {"before": "before", "forced": "before, reasoning forced", "after": "after", "evaluation": "evaluated"}
    found = [(names[key], summary[key]) for key in names if summary.get(key)]
    if not found:
        return _evaluations_so_far(record)
    rules = list(dict.fromkeys(name for _, of in found for name in of.get("rules", {})))
    sampled = list(dict.fromkeys(name for _, of in found for name in of.get("sampled", {})))
    rows = [
        [
            name,
            *(_measured(of, key, share=key != "reward") for key in _MEASURES),
            *(_measured(of.get("sampled", {}) | {"intervals": of.get("intervals", {})}, key, share=True) for key in sampled),
            number(of.get("truncated"), share=True),
            *(number(of.get("rules", {}).get(rule), share=True) for rule in rules),
        ]
        for name, of in found
    ]
    best = max(series(record.rows, "eval/accuracy"), key=lambda point: point[1], default=None)
    caption = f"Held out, greedy: {found[-1][1].get('problems', '?')} problems; in brackets 95 % intervals over problems."
    if best is not None and len(found) > 1:
        caption += f" Best accuracy of the evaluations: {number(best[1], share=True)} after step {best[0]}."
    head = ["", *_MEASURES, *sampled, "truncated", *(f"score of {rule}" for rule in rules)]
    return Table(head=head, rows=rows, text_columns=1, caption=caption)


def _measured(of: Mapping[str, Any], key: str, share: bool) -> str:
    interval = of.get("intervals", {}).get(key)
    return number(of.get(key), share) + (f" ({number(interval[0], share)} to {number(interval[1], share)})" if interval else "")


def _evaluations_so_far(record: Record) -> Table | None:
    found = [row for row in record.rows if "eval/reward" in row]
    if not found:
        return None
    shown = {"before": found[0], f"after step {found[-1]['step']}": found[-1]}
    rows = [[name, *(number(row.get(f"eval/{key}"), key != "reward") for key in _MEASURES)] for name, row in shown.items()]
    return Table(head=["", *_MEASURES], rows=rows, text_columns=1, caption="Held out, greedy, so far.")


def rule_table(rows: Sequence[Mapping[str, Any]], history: History | None) -> Table | None:
    """Weight, score, pass rate and reasons of each rule on the sampled rollouts; None without steps."""
    cells = []
    for name in rule_names(rows):
        counted: Counter[str] = Counter()
        for counts in history.rules.get(name, {}).values() if history else ():
            counted.update(counts.reasons)
        frequent = ", ".join(f"{reason} {n / counted.total():.0%}" for reason, n in counted.most_common(_REASONS))
        values = []
        for metric, share in (("weight", False), ("score", True), ("pass", True)):
            found = [value for _, value in series(rows, f"rule/{name}/{metric}")]
            values += [number(pick_value(found, pick), share) for pick in ("first", "late" if share else "final")]
        cells.append([name, frequent or NONE, *values])
    head = ["rule", "most frequent reasons", "weight, first", "last", "score, first step", "last 5 steps"]
    head += ["pass rate, first step", "last 5 steps"]
    caption = "Sampled rollouts, by rule. Pass rate: share with the full score."
    return Table(head=head, rows=cells, text_columns=2, caption=caption) if cells else None


def provenance(records: Sequence[Record], histories: Mapping[str, History]) -> list[Table]:
    """Hashes, versions and times, one row per run, and the active rules of a single run by step."""
    versions = dict.fromkeys(name for record in records for name in record.summary.get("versions", {}))
    head = [
        "run",
        "hash of config.yaml",
        "hash of the rules",
        *versions,
        "training, s",
        "evaluation, s",
        "total, s",
        "tokens sampled",
    ]
    rows = []
    for record in records:
        config_hash = hashlib.sha256(record.config_text.encode()).hexdigest()[:16] if record.config_text else NONE
        history = histories.get(record.name)
        hashes = list(dict.fromkeys(each.rules.hash for each in history.rule_history)) if history else []
        rules = hashes[0] if len(hashes) == 1 else f"{hashes[0]} … {hashes[-1]} ({len(hashes)})" if hashes else "not recorded"
        seconds, seen = record.summary.get("seconds", {}), record.summary.get("versions", {})
        known = [str(seen.get(name, NONE)) for name in versions]
        times = [number(seconds.get(name)) for name in ("train", "eval", "total")]
        tokens = record.summary.get("tokens")
        rows.append([record.name, config_hash, rules, *known, *times, NONE if tokens is None else f"{tokens:,}"])
    tables = [Table(head=head, rows=rows, text_columns=3 + len(versions))]
    if len(records) == 1 and records[0].name in histories:
        tables.append(_active_rules(histories[records[0].name]))
    return tables


def _active_rules(history: History) -> Table:
    shown = list(history.rule_history)
    more = len(shown) - _INTERVALS
    if more > 0:
        shown = [*shown[: _INTERVALS - 1], shown[-1]]
    rows = [
        [f"{each.first} to {each.last}" if each.first != each.last else f"{each.first}", each.rules.hash, each.reward]
        for each in shown
    ]
    caption = "Active rules" + (f"; {more} intervals before the last are left out" if more > 0 else "")
    return Table(head=["steps", "hash", "reward"], rows=rows, text_columns=3, caption=caption)
