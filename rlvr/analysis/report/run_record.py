"""Reads a run folder in any state: of a run in progress, killed, or older than parts of the format."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from rlvr.config.redact import flat
from rlvr.errors import JOB_ERROR, ConfigError
from rlvr.rules.edits import Edit, read_edits
from rlvr.runs.rollout_log import RolloutLog
from rlvr.text import one_line

_CONFIG, _METRICS, _SUMMARY, _MULTIRUN = "config.yaml", "metrics.jsonl", "summary.json", "multirun.yaml"
_NO_VARIANT = ("seed", "name", "resume")
"""Configuration keys in which jobs of one variant may differ; also those of tracking."""
_NOT_AGAIN = ("hydra.mode=", "hydra.sweep.dir=", "hydra.run.dir=")
"""Arguments of a sweep that are not repeated: they would write into its folder again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run as found on disk."""

    path: Path
    name: str
    """Name of its folder."""
    config: Mapping[str, Any]
    """Resolved configuration; empty if missing."""
    config_text: str
    rows: Sequence[Mapping[str, Any]]
    """Metrics, a row a step, steps ascending."""
    summary: Mapping[str, Any]
    """Empty until the run has ended."""
    error: str
    """error.txt of a failed sweep job: a line or a traceback; empty without one."""
    edits: Sequence[Edit]
    """Edits of rules.yaml, refused ones included."""
    has_rollout_log: bool
    missing: Sequence[str]
    """What is missing or unreadable, a sentence each."""

    @property
    def steps(self) -> int:
        """The last step with metrics; 0 without any."""
        return self.rows[-1]["step"] if self.rows else 0

    @property
    def planned(self) -> int | None:
        """Steps it was configured for."""
        return self.config.get("steps")

    @property
    def finished(self) -> bool:
        return bool(self.summary) and self.summary.get("stopped") is None and not self.error

    @property
    def state(self) -> str:
        """In a word or two."""
        return "finished" if self.finished else "failed" if self.error else "stopped" if self.summary else "no end"

    @property
    def status(self) -> str:
        """In words: finished, failed or stopped and why, or without an end."""
        if self.finished:
            return "finished"
        if self.error:
            return f"failed: {self.error.splitlines()[-1]}"
        if self.summary:
            return f"stopped after step {self.summary.get('steps', self.steps)}: {self.summary['stopped']}"
        of = f" of {self.planned}" if self.planned else ""
        reached = f"step {self.steps}{of} is the last one written" if self.rows else "no step was written"
        return f"no end: {reached}; it is still running, was killed, or failed"

    @property
    def seed(self) -> Any:
        return self.config.get("seed", self.summary.get("seed"))


def read_record(path: Path, name: str = "") -> Record:
    """Reads what is there; what is missing or cannot be read is named in `missing`."""
    missing: list[str] = []

    def read(file: str, parse: Any, default: Any) -> Any:
        try:
            return parse((path / file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            missing.append(f"{file} is missing")
        except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: also from JSON and UTF-8
            missing.append(f"{file} cannot be read: {one_line(error)[:200]}")
        return default

    failure = (path / JOB_ERROR).read_text(encoding="utf-8", errors="replace").strip() if (path / JOB_ERROR).is_file() else ""
    text = read(_CONFIG, str, "")
    config = read(_CONFIG, _mapping, {}) if text else {}
    rows, summary = read(_METRICS, _rows, []), read(_SUMMARY, lambda text: dict(json.loads(text)), {})
    try:
        edits = read_edits(path)
    except (OSError, ValueError, TypeError) as error:
        edits = list[Edit]()
        missing.append(f"the edits of the rules cannot be read: {one_line(error)[:200]}")
    has_rollout_log = bool(RolloutLog.of(path).files())
    if not has_rollout_log:
        missing.append("there is no rollout log (rollouts/*.parquet): verdict reasons, pass rates and rollouts cannot be shown")
    return Record(
        path=path.resolve(),
        name=name or path.resolve().name,
        config=config,
        config_text=text,
        rows=rows,
        summary=summary,
        error=failure,
        edits=edits,
        has_rollout_log=has_rollout_log,
        missing=missing,
    )


def _mapping(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text) or {})


def _rows(text: str) -> list[dict[str, Any]]:
    """Whole lines; the last one may be half-written."""
    rows = [dict(json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [row for row in rows if isinstance(row.get("step"), int)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The run or the runs of a folder."""

    folder: Path
    records: Sequence[Record]
    sweep: bool
    task: Sequence[str] | None
    """The arguments of the sweep, from Hydra's multirun.yaml."""

    def overrides(self) -> list[tuple[str, ...]]:
        """What distinguishes each run, except its seed: overrides of the command line, or differences of configurations."""
        if not self.sweep:
            return [()]
        given = _jobs(self.task) if self.task else {}
        if given and all(record.name in given for record in self.records):
            swept = [given[record.name] for record in self.records]
            common = set.intersection(*map(set, swept)) if len(swept) > 1 else set()
            return [tuple(o for o in job if o not in common and o.partition("=")[0] not in _NO_VARIANT) for job in swept]
        return _differences([record.config for record in self.records])


def find(folder: Path) -> Found:
    """A run (it has metrics or a configuration), or a folder with runs in folders directly below it.

    Errors: `ConfigError` where there is neither.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is not a folder")
    if _is_run(folder):
        return Found(folder=folder.resolve(), records=[read_record(folder)], sweep=False, task=None)
    multirun = folder / _MULTIRUN
    task = _task(multirun) if multirun.is_file() else None
    numbered = multirun.is_file()  # a job that failed at once leaves an empty folder
    jobs = [path for path in folder.iterdir() if path.is_dir() and (_is_run(path) or (numbered and path.name.isdecimal()))]
    if not jobs:
        raise ConfigError(f"{folder}: holds neither a run ({_METRICS} or {_CONFIG}) nor folders with runs")
    jobs.sort(key=lambda path: (int(path.name) if path.name.isdecimal() else -1, path.name))
    return Found(folder=folder.resolve(), records=[read_record(path, path.name) for path in jobs], sweep=True, task=task)


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in (_METRICS, _CONFIG, _SUMMARY, JOB_ERROR))


def _task(multirun: Path) -> list[str] | None:
    try:
        overrides = yaml.safe_load(multirun.read_text(encoding="utf-8"))["hydra"]["overrides"]
        given = [str(each) for each in (*overrides["hydra"], *overrides["task"])]
        return list({each.partition("=")[0]: each for each in given if not each.startswith(_NOT_AGAIN)}.values())
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return None


def _jobs(task: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Overrides by job number as Hydra's basic sweeper makes them; empty for a different sweeper."""
    choices: list[list[str]] = []
    try:
        for override in OverridesParser.create().parse_overrides(list(task)):
            key = override.get_key_element()
            if key == "hydra/sweeper" and override.value() != "basic":
                return {}
            if key.startswith("hydra"):
                continue
            if override.is_discrete_sweep():
                choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            elif override.is_sweep_override():
                return {}
            else:
                choices.append([str(override.input_line)])
    except HydraException:
        return {}
    return {str(number): job for number, job in enumerate(product(*choices))}


def _differences(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Keys with different values that all configurations have, and the names of the rules; where those do not distinguish all
    variants, every key that differs."""
    by_key = [flat(config) for config in configs]
    known = [each for each in by_key if each]
    keys = [key for key in dict.fromkeys(key for each in known for key in each) if not _ignored(key)]
    differing = [key for key in keys if len({repr(each.get(key)) for each in known}) > 1]
    everywhere = [key for key in differing if all(key in each for each in known)]
    full = [tuple(f"{key}={_plain(each[key])}" for key in differing if key in each) for each in by_key]
    short = [tuple(f"{key}={_plain(each[key])}" for key in everywhere if key in each) for each in by_key]
    packs = ["+".join(config.get("rules") or {}) for config in configs]
    if len({pack for pack, config in zip(packs, configs, strict=True) if config}) > 1:
        short = [(f"rules={pack}", *told) for pack, told in zip(packs, short, strict=True)]
    chosen = short if len(set(short)) == len(set(full)) else full
    return [told if config else ("configuration unknown",) for told, config in zip(chosen, configs, strict=True)]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _ignored(key: str) -> bool:
    return key in _NO_VARIANT or key.startswith("tracking.") or ".allows." in key


def rule_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rules of all steps: an edit may add or remove one."""
    keys = dict.fromkeys(key for row in rows for key in row if key.startswith("rule/") and key.endswith("/score"))
    return [key.removeprefix("rule/").removesuffix("/score") for key in keys]


def commands(found: Found) -> list[tuple[str, str]]:
    """Commands to type, each with what it does."""
    lines: list[tuple[str, str]] = []
    if found.sweep and found.task:
        lines.append((f"rlvr train -m {shlex.join(found.task)}", "the sweep again, into a new folder"))
    for record in found.records:
        run = shlex.quote(str(record.path))
        which = f"job {record.name}" if found.sweep else "this run"
        if record.config and "evaluation" not in record.summary:
            repeat = f"rlvr train --config-path {run} --config-name config"
            lines.append((repeat, f"{which} again, with its configuration, into a new folder"))
        if not found.sweep and record.config and not record.finished:
            lines.append((f"rlvr train resume={run}", "resume from its last checkpoint"))
        if not found.sweep and record.has_rollout_log:
            lines.append((f"rlvr rescore run={run}", "are all stored verdicts reproduced?"))
    lines.append((f"rlvr report {shlex.quote(str(found.folder))}", "this page again"))
    return lines
