"""The page: one file, without scripts and external resources. Completions are untrusted, so all text is escaped.

The template escapes by default, its content security policy forbids scripts, and characters that are invisible or change the
text direction are shown by their code points.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from rlvr.analysis.report.charts import Figure, changes, reason_figures, run_figures, sweep_figures
from rlvr.analysis.report.curves_png import plot_curves
from rlvr.analysis.report.formatting import cut, number, visible
from rlvr.analysis.report.run_record import Found, Record, commands, find, read_record
from rlvr.analysis.report.samples import Sample, samples
from rlvr.analysis.report.svg import Mark
from rlvr.analysis.report.tables import evaluation_table, failed_table, job_table, provenance, rule_table, variant_table
from rlvr.analysis.report.variants import Variant, variants
from rlvr.analysis.report.verdict_history import History, readable, with_pass_rates
from rlvr.files import write_whole

if TYPE_CHECKING:
    from rlvr.training.result import TrainResult

PAGE = "report.html"
_SAMPLES = 12
"""Sample rollouts on a page, half of them the best, half the worst."""
_MOST_PARTS = 8
"""Variants for which reasons and rollouts are shown."""
_MOST_ERRORS = 20
"""Tracebacks on a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Figures and samples of a variant, or of a single run (with an empty label)."""

    label: str
    figures: Sequence[Figure] = ()
    samples: Sequence[Sample] = ()


def write_report(folder: Path) -> Path:
    """Write `folder`/report.html for the run or the sweep in it; it appears whole or not at all. Returns its path.

    Errors: `ConfigError` where there is no run.
    """
    folder = Path(folder)
    text = render(find(folder))
    write_whole(folder / PAGE, text)
    return folder / PAGE


def write_run_report(folder: Path, title: str, result: TrainResult) -> None:
    """What training writes at its end: curves.png and report.html. Errors: `ConfigError`, `OSError`."""
    plot_curves(read_record(folder).rows, title=title, forced=result.forced, path=folder / "curves.png")
    write_report(folder)


def render(found: Found) -> str:
    """The page as text."""
    read = {record.name: readable(record) for record in found.records}
    histories = {name: history for name, (history, _) in read.items() if history is not None}
    unread = [reason for _, reason in read.values() if reason is not None]
    rows = {record.name: with_pass_rates(record, histories.get(record.name)) for record in found.records}
    marks = changes(found.records)
    of = variants(found.records, found.overrides())
    view = _sweep(found, of, rows, marks) if found.sweep else _run(found.records[0], rows, histories, marks)
    parts = of[:_MOST_PARTS]
    context = {
        "folder": str(found.folder),
        "style": Markup((files("rlvr.analysis.report") / "page.css").read_text(encoding="utf-8")),
        "failed": failed_table(of if found.sweep else []),
        "errors": [(record.name, record.error) for record in found.records if "\n" in record.error][:_MOST_ERRORS],
        "missing": [*unread, *_missing(found)],
        "marks": marks,
        "edited": any(edit.changes for record in found.records for edit in record.edits),
        "reasons": _reasons(parts, histories, marks, found.sweep),
        "reasons_on": "training rollouts" if any(h.split == "train" for h in histories.values()) else "held-out problems",
        "samples": _samples(parts, histories, found.sweep),
        "commands": commands(found),
        "provenance": provenance(found.records, histories),
        **view,
    }
    return _environment().get_template("page.html").render(**context, contents=_contents(context))


def _run(
    record: Record, rows: Mapping[str, Sequence[Mapping[str, Any]]], histories: Mapping[str, History], marks: Sequence[Mark]
) -> dict[str, Any]:
    summary, of = record.summary, rows[record.name]
    tables = [evaluation_table(record), rule_table(of, histories.get(record.name))]
    tiles = []
    for name, share in (("accuracy", True), ("format", True), ("reward", False)):
        values = [row[f"eval/{name}"] for row in record.rows if f"eval/{name}" in row]
        if values:
            ends = values if len(values) == 1 else (values[0], values[-1])
            tiles.append((f"{name}, held out", " → ".join(number(value, share) for value in ends)))
    if "evaluation" not in summary:
        tiles.append(("steps", f"{record.steps}" + (f" of {record.planned}" if record.planned else "")))
    if "seconds" in summary:
        tiles.append(("time", f"{summary['seconds']['total']:,.0f} s"))
    model = summary.get("model", {}).get("name") or (record.config.get("model") or {}).get("name")
    rules = " + ".join(record.config.get("rules") or summary.get("rules") or {})
    told = [text for text in (model, rules, f"seed {record.seed}" if record.seed is not None else "") if text]
    name = record.config.get("name", summary.get("name", record.name))
    return {
        "title": f"{name}: {', '.join(told)}" if told else str(name),
        "status": record.status,
        "complete": record.finished,
        "tiles": tiles,
        "tables": [table for table in tables if table is not None],
        "charts": run_figures(record, of, marks),
        "config_text": record.config_text,
        "config_of": "",
    }


def _sweep(
    found: Found, of: Sequence[Variant], rows: Mapping[str, Sequence[Mapping[str, Any]]], marks: Sequence[Mark]
) -> dict[str, Any]:
    finished = sum(record.finished for record in found.records)
    configured = next((record for record in found.records if record.config_text), None)
    return {
        "title": f"{found.folder.name}: {len(found.records)} jobs",
        "status": f"{finished} of {len(found.records)} jobs finished",
        "complete": finished == len(found.records),
        "tiles": [("jobs", str(len(found.records))), ("variants", str(len(of))), ("finished", str(finished))],
        "tables": [variant_table(of), job_table(of)],
        "charts": sweep_figures(of, rows, marks),
        "config_text": configured.config_text if configured else "",
        "config_of": f" of job {configured.name}; the others have the overrides above" if configured else "",
    }


def _missing(found: Found) -> list[str]:
    """What is missing, with the jobs in which it is."""
    names: dict[str, list[str]] = {}
    for record in found.records:
        for text in record.missing:
            names.setdefault(text, []).append(record.name)
    if not found.sweep:
        return list(names)
    return [f"{'all jobs' if len(of) == len(found.records) else 'job ' + ', '.join(of)}: {text}" for text, of in names.items()]


def _reasons(parts: Sequence[Variant], histories: Mapping[str, History], marks: Sequence[Mark], sweep: bool) -> list[_Part]:
    made = []
    for variant in parts:
        of = [histories[record.name] for record in variant.counted if record.name in histories]
        names = {record.name for record in variant.records}
        if figures := reason_figures(of, [mark for mark in marks if names.intersection(mark.runs)]):
            made.append(_Part(label=variant.label if sweep else "", figures=figures))
    return made


def _samples(parts: Sequence[Variant], histories: Mapping[str, History], sweep: bool) -> list[_Part]:
    """Samples from the first job of each variant that has any."""
    made = []
    for variant in parts:
        record = next((record for record in variant.counted if record.name in histories), None)
        shown = samples(record, histories[record.name].split, max(_SAMPLES // len(parts) // 2, 1)) if record else []
        if record and shown:
            made.append(_Part(label=f"{variant.label}, job {record.name}" if sweep else "", samples=shown))
    return made


def _contents(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    sections = {
        "results": ("Results", True),
        "failed": ("Failed jobs", bool(context["failed"].rows)),
        "curves": ("Curves", context["charts"]),
        "changes": ("Changes of the rules", context["marks"]),
        "reasons": ("Verdict reasons", context["reasons"]),
        "rollouts": ("Rollouts", context["samples"]),
        "repeat": ("What to type", True),
        "provenance": ("Configuration and versions", True),
    }
    return [(name, title) for name, (title, there) in sections.items() if there]


def _environment() -> Environment:
    template = (files("rlvr.analysis.report") / "page.html").read_text(encoding="utf-8")
    environment = Environment(loader=DictLoader({"page.html": template}), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"visible": visible, "number": number, "cut": cut, "json": partial(json.dumps, ensure_ascii=False)}
    return environment
