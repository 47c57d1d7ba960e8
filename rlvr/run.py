"""One run, from a checked plan to a folder with everything in it."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed

from rlvr.build import Plan, backend
from rlvr.config import Config, ConfigError
from rlvr.console import RunDisplay
from rlvr.data.lint import scorable
from rlvr.data.prompts import Prompts, choose_examples, full_marks
from rlvr.policy import Policy, load_policy
from rlvr.report import plot_curves
from rlvr.rules.pack import Judge, RulePack
from rlvr.runfolder import RunFolder
from rlvr.trainer import Observer, Outcome, Trainer
from rlvr.types import Problem
from rlvr.verify.backend import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """What is trained and measured on, rendered for the model."""

    train: Sequence[Problem]
    held_out: Sequence[Problem]
    warnings: tuple[str, ...]


def run(plan: Plan, *, folder: Path, config_yaml: str) -> Outcome:
    """Train as planned and leave everything in `folder`. Errors: `ConfigError` before any training."""
    with closing(backend(plan.config, plan.pack)) as judges:
        return _run(plan, judges, folder, config_yaml)


def _run(plan: Plan, judges: Backend, folder: Path, config_yaml: str) -> Outcome:
    config, start = plan.config, time.perf_counter()
    accelerator = _accelerator(config)
    set_seed(config.seed)
    folder = Path(broadcast_object_list([str(folder)])[0])  # processes that start a second apart name it differently
    RunFolder.check_free(folder)
    accelerator.wait_for_everyone()  # all have looked before one of them writes there
    splits = plan.source.load()
    judge = partial(plan.pack.judge, slow=judges.judge, retries=config.verify.retries)
    examples, train = choose_examples(config.prompt, splits.train, plan.pack, judge=judge)
    computing = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(accelerator.mixed_precision))
    policy = load_policy(config.model, autocast=computing)
    reference = load_policy(config.model, autocast=computing) if config.algo.beta else None
    prompts = Prompts(template=config.prompt, examples=examples, chat_tokenizer=_chat_tokenizer(policy, config))
    problems = render(plan, policy, prompts, train, splits.test[: config.eval.problems], judge)
    policy.model.to(accelerator.device)
    display = RunDisplay(steps=config.steps, pack=plan.pack)
    if not accelerator.is_main_process:
        return _trainer(plan, policy, reference, judges, problems, accelerator, observers=()).run()
    run_folder = RunFolder.create(folder, config_yaml)
    session = plan.tracker.begin(name=config.name, config=dataclasses.asdict(config), folder=folder)
    display.head(_head(plan, policy, problems, accelerator, folder))
    for warning in problems.warnings:
        display.note(f"warning: {warning}")
    observers = (run_folder, session, display)
    try:
        outcome = _trainer(plan, policy, reference, judges, problems, accelerator, observers=observers).run()
    finally:
        display.stop()
    summary = summarise(plan, policy, outcome, seconds=time.perf_counter() - start)
    run_folder.write_summary(summary)
    run_folder.save_model(policy)
    title = f"{config.name}: {_model_name(config)}, {'+'.join(plan.pack.rules)}, seed {config.seed}"
    plot_curves(run_folder.read_metrics(), title=title, forced=outcome.forced, path=folder / "curves.png")
    session.finish(summary)
    display.result(outcome, folder, hints(plan.pack))
    return outcome


def _accelerator(config: Config) -> Accelerator:
    try:
        accelerator = Accelerator(mixed_precision=config.cluster.mixed_precision, cpu=config.cluster.cpu)
    except ValueError as error:
        raise ConfigError(f"cluster.mixed_precision={config.cluster.mixed_precision}: {str(error).splitlines()[0]}") from error
    if int(os.environ.get("WORLD_SIZE") or 1) > accelerator.num_processes:  # each would train by itself, into one folder
        raise ConfigError(f"cluster.cpu={config.cluster.cpu}: several processes without GPUs need cluster.cpu=true")
    return accelerator


def _trainer(
    plan: Plan,
    policy: Policy,
    reference: Policy | None,
    judges: Backend,
    problems: Problems,
    accelerator: Accelerator,
    *,
    observers: Sequence[Observer],
) -> Trainer:
    return Trainer(
        plan.config,
        policy=policy,
        reference=reference,
        engine=plan.engine,
        pack=plan.pack,
        backend=judges,
        train=problems.train,
        held_out=problems.held_out,
        accelerator=accelerator,
        observers=observers,
    )


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
    if len(train) < algo.problems:
        hint = "" if train else "; it is for evaluation: train on another, or on a part of it (dataset.train_share)"
        raise ConfigError(f"algo.problems={algo.problems}: the data set has {len(train)} training problems{hint}")
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


def _head(plan: Plan, policy: Policy, problems: Problems, accelerator: Accelerator, folder: Path) -> dict[str, str]:
    config, algo = plan.config, plan.config.algo
    rules = " + ".join(f"{weight:g} x {name}" for name, weight in plan.pack.weights.items())
    low, high = plan.pack.bounds
    processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
    return {
        "model": f"{_model_name(config)}, {policy.n_parameters / 1e6:,.2f} M parameters, {config.model.dtype}",
        "data": f"{type(plan.source).__name__}, {len(problems.train):,} problems to train on, {len(problems.held_out)} held out"
        + (f", {config.prompt.few_shot} worked examples in the prompt" if config.prompt.few_shot else ""),
        "reward": f"{rules}  (from {low:g} to {high:g})",
        "training": f"{config.steps} steps of {algo.problems} problems x {algo.group_size} rollouts, "
        f"learning rate {algo.learning_rate:g}, seed {config.seed}",
        "device": f"{accelerator.device}, {torch.get_num_threads()} threads{processes}",
        "folder": str(folder),
    }


def _model_name(config: Config) -> str:
    """The folder says more than the name where both are given."""
    return config.model.path or config.model.name or ""


def summarise(plan: Plan, policy: Policy, outcome: Outcome, *, seconds: float) -> dict[str, Any]:
    """summary.json."""
    config = plan.config
    return {
        "name": config.name,
        "seed": config.seed,
        "model": {"name": _model_name(config), "parameters": policy.n_parameters},
        "rules": dict(plan.pack.weights),
        **{
            key: None if evaluation is None else dataclasses.asdict(evaluation)
            for key, evaluation in (("before", outcome.before), ("after", outcome.after), ("forced", outcome.forced))
        },
        "steps": outcome.steps,
        "stopped": outcome.stopped,
        "tokens": outcome.tokens,
        "seconds": {**{name: round(value, 3) for name, value in outcome.seconds.items()}, "total": round(seconds, 3)},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("rlvr", "torch", "transformers", "accelerate")},
        },
    }


def hints(pack: RulePack) -> list[str]:
    """What to try next: one rule out, and a sweep over its weight."""
    rule = next(iter(pack.rules))
    return [
        "try next, with the same groups:",
        f"python train.py rules.{rule}.weight=0                    what is learned when {rule} pays nothing",
        f"python train.py -m rules.{rule}.weight=0,0.05,0.1 seed=0,1   a sweep over weights and seeds",
        "python train.py --help                                   every key",
    ]
