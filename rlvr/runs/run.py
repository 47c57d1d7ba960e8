"""One run, from a checked plan to a folder with everything in it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from safetensors import SafetensorError

from rlvr.config.redact import public
from rlvr.config.schema import Config
from rlvr.errors import ConfigError
from rlvr.models.load import load_policy
from rlvr.models.lora import add_adapters
from rlvr.models.policy import Policy
from rlvr.parallel.devices import make_accelerator
from rlvr.rules.live import LiveRules
from rlvr.rules.load import rules_text
from rlvr.rules.pack import Judgement, RulePack
from rlvr.rules.validate_live import validate_live_rules
from rlvr.runs.folder import RunFolder
from rlvr.runs.plan import Plan
from rlvr.runs.problems import Problems, choose, render
from rlvr.runs.provenance import model_name
from rlvr.runs.resume import Resume
from rlvr.runs.summary import hints, summarise
from rlvr.scoring.backend import Backend
from rlvr.scoring.factory import make_backend
from rlvr.tracking.console import RunDisplay
from rlvr.training.checkpoint import CHECKPOINTS, Checkpoint, Checkpoints
from rlvr.training.result import TrainResult
from rlvr.training.trainer import Trainer
from rlvr.types import Problem

Report = Callable[[Path, str, TrainResult], None]
"""Writes the report of a run folder, given a title and what training returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a run leaves what, and what it goes on from."""

    folder: Path
    config_yaml: str
    report: Report
    resume: Resume | None
    sweep: Path | None


def run(
    plan: Plan,
    *,
    folder: Path,
    config_yaml: str,
    report: Report,
    resume: Resume | None = None,
    sweep: Path | None = None,
) -> TrainResult:
    """Train as planned and leave everything in `folder`.

    report: writes the report of a finished run. resume: go on with the run there. sweep: the sweep directory this run belongs to.

    Errors: `ConfigError` before any training.
    """
    with closing(make_backend(plan.config, plan.strictest)) as judges:
        return _run(plan, judges, _Place(folder=folder, config_yaml=config_yaml, report=report, resume=resume, sweep=sweep))


def _run(plan: Plan, judges: Backend, place: _Place) -> TrainResult:
    config, resume, start = plan.config, place.resume, time.perf_counter()
    accelerator = make_accelerator(mixed_precision=config.cluster.mixed_precision, cpu=config.cluster.cpu)
    set_seed(config.seed)
    folder = Path(broadcast_object_list([str(place.folder)])[0])  # processes that start a second apart name it differently
    checkpoints = Checkpoints(folder=folder / CHECKPOINTS, keep=config.checkpoint.keep)
    if resume is None:
        RunFolder.check_free(folder)
    changed = [] if resume is None else resume.changed(config)
    goes_on = None if resume is None else checkpoints.latest()
    if goes_on is not None and config.steps < goes_on.step:
        raise ConfigError(f"steps={config.steps}: {goes_on.step} are done already")
    accelerator.wait_for_everyone()  # all have looked before one of them writes there
    policy, reference, problems = _parts(plan, judges, accelerator)
    run_folder = RunFolder(path=folder, rules_from=tuple(config.rules_from), algo=config.algo)
    rules = _rules_in_force(config, place, run_folder, goes_on, write=accelerator.is_main_process)
    accelerator.wait_for_everyone()
    live = _live_rules(plan, judges, problems, folder, rules, goes_on)
    if resume is not None and resume.keeps_rules and rules != rules_text(config.rules):
        live.validate(live.pack)  # edited before; it may ask more of this machine than the configured one
    trainer = partial(
        Trainer,
        config,
        policy=policy,
        reference=reference,
        engine=plan.engine,
        pack=plan.pack,
        backend=judges,
        train=problems.train,
        held_out=problems.held_out,
        accelerator=accelerator,
        live=live,
        eval_rules=plan.eval_rules,
        start=goes_on,
    )
    if not accelerator.is_main_process:
        outcome = trainer().run()
        accelerator.wait_for_everyone()
        return outcome
    display = RunDisplay(steps=config.steps, label=f"{folder.name}: " if place.sweep else "")
    done = goes_on.step if goes_on else 0
    display.head(_head(plan, live.pack.at(done), policy, problems, accelerator, folder))
    for line in _notes(done if resume else None, changed, problems):
        display.note(done, line)
    session = plan.tracker.begin(
        name=config.name, config=public(config), folder=folder, sweep=place.sweep.name if place.sweep else None
    )
    summary = None
    try:
        outcome = trainer(observers=(run_folder, session, display), checkpoints=checkpoints).run()
        summary = summarise(plan, policy, outcome, seconds=time.perf_counter() - start)
        _leave(run_folder, policy, summary, place.report, title=model_name(config), outcome=outcome)
    finally:
        display.stop()
        session.finish(summary)
        if accelerator.num_processes > 1:
            accelerator.wait_for_everyone()  # a launcher ends the main process as soon as another one has failed
    display.result(outcome, folder, [] if place.sweep else hints(plan.pack))
    return outcome


def _rules_in_force(config: Config, place: _Place, folder: RunFolder, goes_on: Checkpoint | None, *, write: bool) -> str:
    """The text of the rules that training begins or goes on with, and the folder made ready for it."""
    rules = rules_text(config.rules)
    if place.resume is not None:
        rules = place.resume.rules_in_force(rules, goes_on, write=write)
    if write and place.resume is None:
        folder.begin(place.config_yaml, rules)
    elif write:
        folder.go_on(place.config_yaml, goes_on)
    return rules


def _notes(resumed_at: int | None, changed: Sequence[str], problems: Problems) -> list[str]:
    """What to say before the first step."""
    resumed = [] if resumed_at is None else [f"goes on after step {resumed_at}"]
    return [*resumed, *(f"changed: {each}" for each in changed), *(f"warning: {each}" for each in problems.warnings)]


def _leave(
    folder: RunFolder, policy: Policy, summary: Mapping[str, Any], report: Report, *, title: str, outcome: TrainResult
) -> None:
    """What is there at the end of a run, as far as the disk takes it: what stopped the run is still said."""
    title = f"{summary['name']}: {title}, {'+'.join(outcome.pack.rules)}, seed {summary['seed']}"
    try:
        folder.write_summary(summary)
        folder.save_model(policy)
        report(folder.path, title, outcome)
    except (ConfigError, OSError, SafetensorError) as error:
        print(f"warning: not all of {folder.path} could be written: {error}", file=sys.stderr)


def _parts(plan: Plan, judges: Backend, accelerator: Accelerator) -> tuple[Policy, Policy | None, Problems]:
    """The policy, the reference it is kept to, if any, and the problems, rendered."""
    config = plan.config
    judge = partial(plan.pack.judge, slow=judges.score, retries=config.verify.retries)
    chosen = choose(plan, judge=judge, training=True)
    computing = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(accelerator.mixed_precision))
    policy = load_policy(config.model, autocast=computing)
    reference = None
    if config.model.lora_rank:
        add_adapters(policy.model, config.model, seed=config.seed)
        reference = policy if config.algo.beta else None  # with its adapters off
    elif config.algo.beta:
        reference = load_policy(config.model, autocast=computing)
    problems = render(chosen, plan, policy, judge=judge, training=True)
    policy.model.to(accelerator.device)
    return policy, reference, problems


def _live_rules(
    plan: Plan, judges: Backend, problems: Problems, folder: Path, rules: str, goes_on: Checkpoint | None
) -> LiveRules:
    def judge(pack: RulePack, completion: str, problem: Problem) -> Judgement:
        return pack.judge(completion, problem, judges.score, retries=plan.config.verify.retries)

    validate = partial(
        validate_live_rules,
        train=problems.train,
        held_out=problems.held_out,
        on_unscorable=plan.source.on_unscorable,
        problems=plan.config.algo.problems,
        require_isolation=judges.require_isolation,
        judge=judge,
    )
    done = 0 if goes_on is None else goes_on.step
    return LiveRules(folder, rules, done=done, rules_from=plan.config.rules_from, validate=validate)


def _head(
    plan: Plan, pack: RulePack, policy: Policy, problems: Problems, accelerator: Accelerator, folder: Path
) -> dict[str, str]:
    config, algo = plan.config, plan.config.algo
    rules = " + ".join(f"{weight:g} x {name}" for name, weight in pack.weights.items())
    low, high = pack.bounds
    processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
    return {
        "model": f"{model_name(config)}, {policy.n_parameters / 1e6:,.2f} M parameters, {config.model.dtype}",
        "data": f"{type(plan.source).__name__}, {len(problems.train):,} problems to train on, {len(problems.held_out)} held out"
        + (f", {config.prompt.few_shot} few-shot examples in the prompt" if config.prompt.few_shot else ""),
        "reward": f"{rules}  (from {low:g} to {high:g})",
        "training": f"{config.steps} steps of {algo.problems} problems x {algo.group_size} rollouts, "
        f"learning rate {algo.learning_rate:g}, seed {config.seed}",
        "device": f"{accelerator.device}, {torch.get_num_threads()} threads{processes}",
        "folder": str(folder),
    }
