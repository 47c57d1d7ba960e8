"""Trains as a checked plan says, and writes everything into a run folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from rlvr.config.redact import public
from rlvr.errors import ConfigError
from rlvr.evaluation.parts import RunParts
from rlvr.parallel.collectives import barrier, is_main
from rlvr.parallel.devices import start_process
from rlvr.rules.live import LiveRules
from rlvr.rules.load import rules_text
from rlvr.rules.pack import Judgement, RulePack
from rlvr.rules.validate_live import validate_live_rules
from rlvr.runs.facts import training_facts
from rlvr.runs.folder import RunFolder, agree_on_folder
from rlvr.runs.load import loaded
from rlvr.runs.plan import Plan
from rlvr.runs.provenance import model_name
from rlvr.runs.resume import Resume
from rlvr.runs.summary import training_summary
from rlvr.tracking.console import RunDisplay
from rlvr.tracking.observer import RunInfo
from rlvr.training.checkpoint import CHECKPOINTS, Checkpoint, Checkpoints
from rlvr.training.result import TrainResult
from rlvr.training.trainer import Trainer
from rlvr.types import Problem

Report = Callable[[Path, str, TrainResult], None]
"""Writes the report of a run folder, given a title and what training returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a run goes, and where it begins."""

    folder: RunFolder
    config_yaml: str
    checkpoints: Checkpoints
    resume: Resume | None
    """The run to resume; None: a new one."""
    checkpoint: Checkpoint | None
    """Where the resumed run goes on; None: at its beginning."""

    @property
    def done(self) -> int:
        """Steps done already."""
        return 0 if self.checkpoint is None else self.checkpoint.step


def run(
    plan: Plan,
    *,
    folder: Path,
    config_yaml: str,
    report: Report,
    resume: Resume | None = None,
    sweep: Path | None = None,
) -> TrainResult:
    """Train as planned and write everything into `folder`.

    report: writes the report of a finished run. resume: the run to resume. sweep: the sweep directory this run belongs to.

    Errors: `ConfigError` before any training.
    """
    config, start = plan.config, time.perf_counter()
    accelerator = start_process(mixed_precision=config.cluster.mixed_precision, cpu=config.cluster.cpu, seed=config.seed)
    place = _place(plan, folder, config_yaml, resume)
    changes = [] if resume is None else resume.changes(config)
    with loaded(plan, accelerator, training=True) as parts:
        live = _live_rules(plan, parts, place)
        if not is_main():
            result = Trainer(parts, live, start=place.checkpoint).run()
            barrier()
            return result
        resumed = [] if resume is None else [f"resumes after step {place.done}", *(f"changed: {each}" for each in changes)]
        info = RunInfo(
            name=config.name,
            folder=place.folder.path,
            config=public(config),
            steps=config.steps,
            done=place.done,
            sweep=sweep.name if sweep else None,
            facts=training_facts(plan, parts, live.pack.at(place.done), place.folder.path),
            notes=[*resumed, *(f"warning: {each}" for each in parts.warnings)],
        )
        observers = (place.folder, plan.tracker, RunDisplay())
        summary = None
        with ExitStack() as ends:  # all of them run, the display's first
            ends.callback(barrier)  # a launcher ends the main process as soon as another one has failed
            for observer in observers:
                observer.begin(info)
                ends.callback(lambda observer=observer: observer.end(summary))
            trainer = Trainer(parts, live, observers=observers, checkpoints=place.checkpoints, start=place.checkpoint)
            result = trainer.run()
            found = training_summary(parts, result, seconds=time.perf_counter() - start)
            _write_results(place.folder, parts, found, report, result)
            summary = found
    return result


def _place(plan: Plan, folder: Path, config_yaml: str, resume: Resume | None) -> _Place:
    """Errors: `ConfigError` for a folder that holds a run, and for a run that is done already."""
    config = plan.config
    path = agree_on_folder(folder, new=resume is None)
    checkpoints = Checkpoints(folder=path / CHECKPOINTS, keep=config.checkpoint.keep)
    checkpoint = None if resume is None else checkpoints.latest()
    if checkpoint is not None and config.steps < checkpoint.step:
        raise ConfigError(f"steps={config.steps}: {checkpoint.step} are done already")
    return _Place(
        folder=RunFolder(path=path, rules_from=tuple(config.rules_from), algo=config.algo),
        config_yaml=config_yaml,
        checkpoints=checkpoints,
        resume=resume,
        checkpoint=checkpoint,
    )


def _live_rules(plan: Plan, parts: RunParts, place: _Place) -> LiveRules:
    """The rules that training begins or resumes with; the main process writes them, and all else that the folder begins with.

    Errors: `ConfigError`.
    """
    config, resume = plan.config, place.resume
    barrier()  # all processes have looked at the folder before the main one writes there
    configured = rules_text(config.rules)
    rules = configured if resume is None else resume.active_rules(configured, place.checkpoint, write=is_main())
    if is_main() and resume is None:
        place.folder.create(place.config_yaml, rules)
    elif is_main():
        place.folder.resume(place.config_yaml, place.checkpoint)
    barrier()

    def judge(pack: RulePack, completion: str, problem: Problem) -> Judgement:
        return pack.judge(completion, problem, parts.backend.score, retries=config.verify.retries)

    validate = partial(
        validate_live_rules,
        train=parts.train,
        held_out=parts.held_out,
        on_unscorable=plan.source.on_unscorable,
        problems=config.algo.problems,
        require_isolation=parts.backend.require_isolation,
        judge=judge,
    )
    live = LiveRules(place.folder.path, rules, done=place.done, rules_from=config.rules_from, validate=validate)
    if resume is not None and resume.keeps_rules and rules != configured:
        live.validate(live.pack)  # edited earlier: it may need more of this machine than the configured pack
    return live


def _write_results(folder: RunFolder, parts: RunParts, summary: Mapping[str, Any], report: Report, result: TrainResult) -> None:
    """Summary, model and report. A full disk gives a warning, so that the reason why a run stopped is still shown."""
    title = f"{summary['name']}: {model_name(parts.config)}, {'+'.join(result.pack.rules)}, seed {summary['seed']}"
    try:
        folder.write_summary(summary)
        folder.save_model(parts.policy)
        report(folder.path, title, result)
    except (ConfigError, OSError, SafetensorError) as error:
        print(f"warning: not all of {folder.path} could be written: {error}", file=sys.stderr)
