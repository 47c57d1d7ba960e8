"""Trains as a checked plan says, and writes everything into a run folder."""

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
from accelerate.utils import set_seed
from safetensors import SafetensorError

from rlvr.config.redact import public
from rlvr.config.schema import Config
from rlvr.errors import ConfigError
from rlvr.models.load import load_policy
from rlvr.models.lora import add_adapters
from rlvr.models.policy import Policy
from rlvr.parallel.collectives import barrier, broadcast, is_main, n_processes
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
class _Invocation:
    """The arguments of `run` besides the plan."""

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
    """Train as planned and write everything into `folder`.

    report: writes the report of a finished run. resume: the run to resume. sweep: the sweep directory this run belongs to.

    Errors: `ConfigError` before any training.
    """
    with closing(make_backend(plan.config, plan.strictest)) as backend:
        invocation = _Invocation(folder=folder, config_yaml=config_yaml, report=report, resume=resume, sweep=sweep)
        return _run(plan, backend, invocation)


def _run(plan: Plan, backend: Backend, invocation: _Invocation) -> TrainResult:
    config, resume, start = plan.config, invocation.resume, time.perf_counter()
    accelerator = make_accelerator(mixed_precision=config.cluster.mixed_precision, cpu=config.cluster.cpu)
    set_seed(config.seed)
    folder = Path(broadcast(str(invocation.folder)))  # processes that start a second apart have different default names
    checkpoints = Checkpoints(folder=folder / CHECKPOINTS, keep=config.checkpoint.keep)
    if resume is None:
        RunFolder.check_free(folder)
    changes = [] if resume is None else resume.changes(config)
    checkpoint = None if resume is None else checkpoints.latest()
    if checkpoint is not None and config.steps < checkpoint.step:
        raise ConfigError(f"steps={config.steps}: {checkpoint.step} are done already")
    barrier()  # all processes have checked the folder before the main one writes there
    policy, reference, problems = _load(plan, backend, accelerator)
    run_folder = RunFolder(path=folder, rules_from=tuple(config.rules_from), algo=config.algo)
    rules = _active_rules(config, invocation, run_folder, checkpoint, write=is_main())
    barrier()
    live = _live_rules(plan, backend, problems, folder, rules, checkpoint)
    if resume is not None and resume.keeps_rules and rules != rules_text(config.rules):
        live.validate(live.pack)  # edited earlier: it may need more of this machine than the configured pack
    trainer = partial(
        Trainer,
        config,
        policy=policy,
        reference=reference,
        engine=plan.engine,
        pack=plan.pack,
        backend=backend,
        train=problems.train,
        held_out=problems.held_out,
        accelerator=accelerator,
        live=live,
        eval_rules=plan.eval_rules,
        start=checkpoint,
    )
    if not is_main():
        result = trainer().run()
        barrier()
        return result
    display = RunDisplay(steps=config.steps, label=f"{folder.name}: " if invocation.sweep else "")
    done = checkpoint.step if checkpoint else 0
    display.head(_header(plan, live.pack.at(done), policy, problems, accelerator, folder))
    for line in _notes(done if resume else None, changes, problems):
        display.note(done, line)
    session = plan.tracker.begin(
        name=config.name, config=public(config), folder=folder, sweep=invocation.sweep.name if invocation.sweep else None
    )
    summary = None
    try:
        result = trainer(observers=(run_folder, session, display), checkpoints=checkpoints).run()
        summary = summarise(plan, policy, result, seconds=time.perf_counter() - start)
        _write_results(run_folder, policy, summary, invocation.report, title=model_name(config), result=result)
    finally:
        display.stop()
        session.finish(summary)
        if n_processes() > 1:
            barrier()  # a launcher ends the main process as soon as another one has failed
    display.result(result, folder, [] if invocation.sweep else hints(plan.pack))
    return result


def _active_rules(
    config: Config, invocation: _Invocation, folder: RunFolder, checkpoint: Checkpoint | None, *, write: bool
) -> str:
    """Text of the rules that training begins or resumes with; the main process also prepares the folder."""
    rules = rules_text(config.rules)
    if invocation.resume is not None:
        rules = invocation.resume.active_rules(rules, checkpoint, write=write)
    if write and invocation.resume is None:
        folder.begin(invocation.config_yaml, rules)
    elif write:
        folder.resume(invocation.config_yaml, checkpoint)
    return rules


def _notes(resumed_at: int | None, changes: Sequence[str], problems: Problems) -> list[str]:
    """Lines to show before the first step."""
    resumed = [] if resumed_at is None else [f"resumes after step {resumed_at}"]
    return [*resumed, *(f"changed: {each}" for each in changes), *(f"warning: {each}" for each in problems.warnings)]


def _write_results(
    folder: RunFolder, policy: Policy, summary: Mapping[str, Any], report: Report, *, title: str, result: TrainResult
) -> None:
    """Summary, model and report. A full disk gives a warning, so that the reason why a run stopped is still shown."""
    title = f"{summary['name']}: {title}, {'+'.join(result.pack.rules)}, seed {summary['seed']}"
    try:
        folder.write_summary(summary)
        folder.save_model(policy)
        report(folder.path, title, result)
    except (ConfigError, OSError, SafetensorError) as error:
        print(f"warning: not all of {folder.path} could be written: {error}", file=sys.stderr)


def _load(plan: Plan, backend: Backend, accelerator: Accelerator) -> tuple[Policy, Policy | None, Problems]:
    """The policy, the reference of the KL divergence (None without one), and the rendered problems."""
    config = plan.config
    judge = partial(plan.pack.judge, slow=backend.score, retries=config.verify.retries)
    chosen = choose(plan, judge=judge, training=True)
    autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(accelerator.mixed_precision))
    policy = load_policy(config.model, autocast=autocast)
    reference = None
    if config.model.lora_rank:
        add_adapters(policy.model, config.model, seed=config.seed)
        reference = policy if config.algo.beta else None  # with its adapters disabled
    elif config.algo.beta:
        reference = load_policy(config.model, autocast=autocast)
    problems = render(chosen, plan, policy, judge=judge, training=True)
    policy.model.to(accelerator.device)
    return policy, reference, problems


def _live_rules(
    plan: Plan, backend: Backend, problems: Problems, folder: Path, rules: str, checkpoint: Checkpoint | None
) -> LiveRules:
    def judge(pack: RulePack, completion: str, problem: Problem) -> Judgement:
        return pack.judge(completion, problem, backend.score, retries=plan.config.verify.retries)

    validate = partial(
        validate_live_rules,
        train=problems.train,
        held_out=problems.held_out,
        on_unscorable=plan.source.on_unscorable,
        problems=plan.config.algo.problems,
        require_isolation=backend.require_isolation,
        judge=judge,
    )
    done = 0 if checkpoint is None else checkpoint.step
    return LiveRules(folder, rules, done=done, rules_from=plan.config.rules_from, validate=validate)


def _header(
    plan: Plan, pack: RulePack, policy: Policy, problems: Problems, accelerator: Accelerator, folder: Path
) -> dict[str, str]:
    config, algo = plan.config, plan.config.algo
    rules = " + ".join(f"{weight:g} x {name}" for name, weight in pack.weights.items())
    low, high = pack.bounds
    processes = f", {n_processes()} processes" if n_processes() > 1 else ""
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
