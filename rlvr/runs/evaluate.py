"""Evaluates as a checked plan says, and writes everything into a folder like that of a run."""

from __future__ import annotations

import dataclasses
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from rlvr.evaluation.evaluate import Samples, evaluate
from rlvr.evaluation.metrics import Evaluation
from rlvr.models.load import load_policy
from rlvr.models.policy import Policy
from rlvr.parallel.collectives import barrier, broadcast, is_main, n_processes, share
from rlvr.parallel.devices import make_accelerator
from rlvr.rules.load import rules_text
from rlvr.rules.pack import RulePack
from rlvr.runs.folder import RunFolder
from rlvr.runs.plan import Plan
from rlvr.runs.problems import Problems, choose, render
from rlvr.runs.provenance import model_name, versions
from rlvr.scoring.factory import make_backend
from rlvr.tracking.evaluation_console import Display
from rlvr.types import Group


def run_evaluation(plan: Plan, *, folder: Path, config_yaml: str) -> Evaluation:
    """Evaluate as planned and write everything into `folder`. Errors: `ConfigError` before sampling, `RunStopped`."""
    config, start = plan.config, time.perf_counter()
    accelerator = make_accelerator(mixed_precision=config.cluster.mixed_precision, cpu=config.cluster.cpu)
    set_seed(config.seed)
    folder = Path(broadcast(str(folder)))
    RunFolder.check_free(folder)
    barrier()  # all processes have checked the folder before the main one writes there
    autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(accelerator.mixed_precision))
    display, scored = Display(quiet=not is_main()), list[tuple[list[Group], RulePack]]()
    with closing(make_backend(config, plan.strictest)) as backend:
        judge = partial(plan.pack.judge, slow=backend.score, retries=config.verify.retries)
        chosen = choose(plan, judge=judge, training=False)
        policy = load_policy(config.model, autocast=autocast)
        problems = render(chosen, plan, policy, judge=judge, training=False)
        policy.model.to(accelerator.device)
        display.head(_header(plan, policy, problems, accelerator, folder), problems.warnings)
        began = time.perf_counter()
        completions = len(share(problems.held_out)) * (1 + config.eval.samples)
        with display.progress(completions) as on_finished:
            found = evaluate(
                policy,
                plan.engine,
                plan.pack,
                problems.held_out,
                max_new_tokens=config.algo.max_new_tokens,
                stop=config.prompt.stop,
                backend=backend,
                verify=config.verify,
                rules=plan.eval_rules,
                samples=Samples.of(config),
                on_scored=lambda groups, by: scored.append((list(groups), by)),
                on_finished=on_finished,
            )
    seconds = {"eval": time.perf_counter() - began, "total": time.perf_counter() - start}
    if is_main():
        display.result(found, config)
        (groups, by) = scored[0]
        run_folder = RunFolder(path=folder, rules_from=tuple(config.rules_from))
        run_folder.begin(config_yaml, rules_text(config.rules))
        run_folder.rollouts(0, "eval", groups, by)
        run_folder.log(0, found.metrics())
        run_folder.write_summary(_summary(plan, policy, found, groups, seconds))
        display.end(folder, seconds["eval"])
    return found


def _header(plan: Plan, policy: Policy, problems: Problems, accelerator: Accelerator, folder: Path) -> dict[str, str]:
    config, settings, rules = plan.config, plan.config.eval, plan.eval_rules
    also = {} if rules is None else {"eval rules": f"{settings.rules}, scored alongside: {', '.join(rules.rules)}"}
    sampled = f", and {settings.samples} samples at temperature {settings.temperature:g}" if settings.samples else ""
    few_shot = f", {config.prompt.few_shot} few-shot examples in the prompt" if config.prompt.few_shot else ""
    processes = f", {n_processes()} processes" if n_processes() > 1 else ""
    return {
        "model": f"{model_name(config)}, {policy.n_parameters / 1e6:,.2f} M parameters, {config.model.dtype}",
        "data": f"{type(plan.source).__name__}, {len(problems.held_out):,} held-out problems{few_shot}",
        "reward": " + ".join(f"{weight:g} x {name}" for name, weight in plan.pack.weights.items()),
        **also,
        "sampling": f"greedy{sampled}, {config.algo.max_new_tokens} tokens at most, seed {config.seed}",
        "device": f"{accelerator.device}, {torch.get_num_threads()} threads{processes}",
        "folder": str(folder),
    }


def _summary(plan: Plan, policy: Policy, found: Evaluation, groups: list[Group], seconds: dict[str, float]) -> dict[str, Any]:
    """summary.json."""
    config, rules = plan.config, plan.eval_rules
    return {
        "name": config.name,
        "seed": config.seed,
        "model": {"name": model_name(config), "parameters": policy.n_parameters},
        "rules": dict(plan.pack.weights),
        "eval_rules": None if rules is None else dict(rules.weights),
        "evaluation": dataclasses.asdict(found),
        "tokens": sum(len(rollout.token_ids) for group in groups for rollout in group.rollouts),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "versions": versions(),
    }
