"""One run, from a checked plan to a folder with everything in it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from safetensors import SafetensorError

from rlvr.build import Plan, backend
from rlvr.checkpoint import Checkpoint, Checkpoints
from rlvr.compose import public
from rlvr.config import Config, ConfigError
from rlvr.console import RunDisplay
from rlvr.data.lint import scorable
from rlvr.data.prompts import Prompts, choose_examples, full_marks
from rlvr.devices import accelerator_of
from rlvr.evaluation.request import evaluation_rules
from rlvr.lora import add_adapters
from rlvr.policy import Policy, load_policy
from rlvr.report import plot_curves, write_report
from rlvr.resume import Resume
from rlvr.rules.admission import Admission
from rlvr.rules.live import LiveRules
from rlvr.rules.pack import Judge, RulePack
from rlvr.rules.text import rules_text
from rlvr.runfolder import RunFolder
from rlvr.stream import enough
from rlvr.summary import hints, model_name, summarise
from rlvr.trainer import Outcome, Trainer
from rlvr.types import Problem
from rlvr.verify.backend import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """What is trained and measured on, rendered for the model."""

    train: Sequence[Problem]
    held_out: Sequence[Problem]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a run leaves what, and what it goes on from."""

    folder: Path
    config_yaml: str
    resume: Resume | None
    sweep: Path | None


def run(plan: Plan, *, folder: Path, config_yaml: str, resume: Resume | None = None, sweep: Path | None = None) -> Outcome:
    """Train as planned and leave everything in `folder`; `resume`: go on with the run there; `sweep`: which it is a job of.

    Errors: `ConfigError` before any training.
    """
    rules = evaluation_rules(plan.config)
    with closing(backend(plan.config, rules if rules is not None and rules.isolated else plan.pack)) as judges:
        place = _Place(folder=folder, config_yaml=config_yaml, resume=resume, sweep=sweep)
        return _run(plan, rules, judges, place)


def _run(plan: Plan, eval_rules: RulePack | None, judges: Backend, place: _Place) -> Outcome:
    config, resume, start = plan.config, place.resume, time.perf_counter()
    accelerator = accelerator_of(config)
    set_seed(config.seed)
    folder = Path(broadcast_object_list([str(place.folder)])[0])  # processes that start a second apart name it differently
    checkpoints = Checkpoints(folder=folder / "checkpoints", keep=config.checkpoint.keep)
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
        eval_rules=eval_rules,
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
        _leave(run_folder, policy, summary, title=model_name(config), outcome=outcome)
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


def _leave(folder: RunFolder, policy: Policy, summary: Mapping[str, Any], *, title: str, outcome: Outcome) -> None:
    """What is there at the end of a run, as far as the disk takes it: what stopped the run is still said."""
    title = f"{summary['name']}: {title}, {'+'.join(outcome.pack.rules)}, seed {summary['seed']}"
    try:
        folder.write_summary(summary)
        folder.save_model(policy)
        plot_curves(folder.read_metrics(), title=title, forced=outcome.forced, path=folder.path / "curves.png")
        write_report(folder.path)
    except (ConfigError, OSError, SafetensorError) as error:
        print(f"warning: not all of {folder.path} could be written: {error}", file=sys.stderr)


def _parts(plan: Plan, judges: Backend, accelerator: Accelerator) -> tuple[Policy, Policy | None, Problems]:
    """The policy, the reference it is kept to, if any, and the problems, rendered."""
    config = plan.config
    splits = plan.source.load()
    judge = partial(plan.pack.judge, slow=judges.judge, retries=config.verify.retries)
    examples, train = choose_examples(config.prompt, splits.train, plan.pack, judge=judge)
    computing = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(accelerator.mixed_precision))
    policy = load_policy(config.model, autocast=computing)
    reference = None
    if config.model.lora_rank:
        add_adapters(policy.model, config.model, seed=config.seed)
        reference = policy if config.algo.beta else None  # with its adapters off
    elif config.algo.beta:
        reference = load_policy(config.model, autocast=computing)
    prompts = Prompts(template=config.prompt, examples=examples, chat_tokenizer=_chat_tokenizer(policy, config))
    problems = render(plan, policy, prompts, train, splits.test[: config.eval.problems], judge)
    policy.model.to(accelerator.device)
    return policy, reference, problems


def _live_rules(
    plan: Plan, judges: Backend, problems: Problems, folder: Path, rules: str, goes_on: Checkpoint | None
) -> LiveRules:
    admission = Admission(
        backend=judges,
        verify=plan.config.verify,
        train=problems.train,
        held_out=problems.held_out,
        on_unscorable=plan.source.on_unscorable,
        problems=plan.config.algo.problems,
    )
    done = 0 if goes_on is None else goes_on.step
    return LiveRules(folder, rules, done=done, rules_from=plan.config.rules_from, admit=admission)


def _chat_tokenizer(policy: Policy, config: Config) -> Any:
    if not config.model.chat:
        return None
    if not policy.tokenizer.chat_template:
        raise ConfigError("model.chat=true: the tokenizer has no chat template; set model.chat=false")
    return policy.tokenizer


def render(
    plan: Plan, policy: Policy, prompts: Prompts, train: Sequence[Problem], test: Sequence[Problem], judge: Judge
) -> Problems:
    """Render all problems and check them: truths that the pack cannot score, prompts that are too long, a prompt that asks for
    something else than the pack rewards."""
    algo, warnings = plan.config.algo, []
    (train, of_train), (test, of_test) = (scorable(split, plan.pack, plan.source.on_unscorable) for split in (train, test))
    warnings += [f"{split} problems: {text}" for split, text in (("training", of_train), ("held-out", of_test)) if text]
    if algo.train_problems is not None and train:
        train = enough(train[: algo.train_problems], algo.problems)
    if len(train) < algo.problems:
        hint = "" if train else "; it is for evaluation: train on another, or on a part of it (dataset.train_share)"
        raise ConfigError(f"algo.problems={algo.problems}: the data set has {len(train)} training problems{hint}")
    twice = [name for name, count in Counter(problem.id for problem in train).items() if count > 1]
    if twice:
        raise ConfigError(f"dataset: {len(twice)} ids of training problems are there more than once ({twice[0]})")
    solved = next((p for p in train if p.metadata.get("solution") or p.metadata.get("completion")), None)
    mismatch = full_marks(prompts, solved, plan.pack, judge=judge) if solved else None
    if mismatch:
        warnings.append(f"a right solution written as the prompt asks does not get full marks: {mismatch}; see prompt=...")
    rendered = [[prompts.render(problem) for problem in split] for split in (train, test)]
    # The rest of the prompt is the same for all, so the longest question makes the longest prompt.
    lengths = map(len, policy.tokenizer([problem.prompt for problem in (*train, *test)])["input_ids"])
    _, longest = max(zip(lengths, rendered[0] + rendered[1], strict=True), key=lambda pair: pair[0])
    n_tokens = len(policy.encode(longest.prompt + (plan.config.eval.forced_prefix or "")))
    if n_tokens > algo.max_prompt_tokens:
        raise ConfigError(f"algo.max_prompt_tokens={algo.max_prompt_tokens}: the prompt of {longest.id} has {n_tokens} tokens")
    if n_tokens + algo.max_new_tokens > policy.context:
        raise ConfigError(
            f"algo.max_new_tokens={algo.max_new_tokens}: with a prompt of {n_tokens} tokens ({longest.id}) that is more than "
            f"the {policy.context} tokens the model takes"
        )
    return Problems(train=rendered[0], held_out=rendered[1], warnings=tuple(warnings))


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
        + (f", {config.prompt.few_shot} worked examples in the prompt" if config.prompt.few_shot else ""),
        "reward": f"{rules}  (from {low:g} to {high:g})",
        "training": f"{config.steps} steps of {algo.problems} problems x {algo.group_size} rollouts, "
        f"learning rate {algo.learning_rate:g}, seed {config.seed}",
        "device": f"{accelerator.device}, {torch.get_num_threads()} threads{processes}",
        "folder": str(folder),
    }
