"""`python -m rlvr.evaluate`: the arguments, and the folder with everything in it."""

from __future__ import annotations

import dataclasses
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from rlvr import cli
from rlvr.build import Plan, backend, plan
from rlvr.compose import CONF, check_packs, typed, yaml_of
from rlvr.config import ConfigError, EvalConfig
from rlvr.devices import accelerator_of
from rlvr.evaluate import Samples, evaluate
from rlvr.evaluation.display import Display
from rlvr.evaluation.summary import Evaluation
from rlvr.policy import Policy, load_policy
from rlvr.problems import Problems, choose, render
from rlvr.rules.pack import RulePack
from rlvr.rules.text import rules_text
from rlvr.runfolder import RunFolder
from rlvr.summary import model_name, versions
from rlvr.types import Group


def command(usage: str) -> int:
    """With the arguments of the process; returns the exit status. usage: what `--help` says before the keys of `eval`."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        keys = [f"  eval.{f.name:<16} {f.metadata['meaning']}" for f in dataclasses.fields(EvalConfig)]
        print("\n".join([usage.rstrip(), "", "Keys of eval:", *keys]))
        return 0
    if not any(argument.startswith("name=") for argument in sys.argv[1:]):
        overrides = [i for i, argument in enumerate(sys.argv) if i and "=" in argument and not argument.startswith("-")]
        sys.argv.insert(overrides[0] if overrides else len(sys.argv), "name=evaluate")  # Hydra takes them side by side alone
    return cli.command(main)


@hydra.main(version_base="1.3", config_path=str(CONF.resolve()), config_name="config")
def main(config: DictConfig) -> float | None:
    """Compose, check, evaluate; returns the accuracy (or reward, where no rule judges the answer) for sweepers."""
    job = HydraConfig.get()
    overrides = [*job.overrides.hydra, *job.overrides.task]
    folder, found = Path(job.runtime.output_dir), None
    with cli.failures_in_one_line(overrides, job=folder if job.mode is RunMode.MULTIRUN else None):
        check_packs(GlobalHydra.instance().config_loader(), str(job.job.config_name), overrides)
        checked = plan(typed(config))
        if not checked.config.eval.problems:
            raise ConfigError("eval.problems=0: must be at least 1")
        repeat = yaml_of(config).replace("python train.py", "python -m rlvr.evaluate", 1)
        found = run(checked, folder=folder, config_yaml=repeat)
    return None if found is None else found.accuracy if found.accuracy is not None else found.reward


def run(plan: Plan, *, folder: Path, config_yaml: str) -> Evaluation:
    """Evaluate as planned and leave everything in `folder`. Errors: `ConfigError` before anything is sampled, `RunStopped`."""
    config, start = plan.config, time.perf_counter()
    accelerator = accelerator_of(config)
    set_seed(config.seed)
    folder = Path(broadcast_object_list([str(folder)])[0])
    RunFolder.check_free(folder)
    accelerator.wait_for_everyone()  # all have looked before one of them writes there
    computing = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(accelerator.mixed_precision))
    display, judged = Display(quiet=not accelerator.is_main_process), list[tuple[list[Group], RulePack]]()
    with closing(backend(config, plan.strictest)) as judges:
        judge = partial(plan.pack.judge, slow=judges.judge, retries=config.verify.retries)
        chosen = choose(plan, judge=judge, training=False)
        policy = load_policy(config.model, autocast=computing)
        asked = render(chosen, plan, policy, judge=judge, training=False)
        policy.model.to(accelerator.device)
        display.head(_head(plan, policy, asked, accelerator, folder), asked.warnings)
        began = time.perf_counter()
        completions = len(asked.held_out[accelerator.process_index :: accelerator.num_processes]) * (1 + config.eval.samples)
        with display.progress(completions) as on_finished:
            found = evaluate(
                policy,
                plan.engine,
                plan.pack,
                asked.held_out,
                max_new_tokens=config.algo.max_new_tokens,
                stop=config.prompt.stop,
                backend=judges,
                verify=config.verify,
                rules=plan.eval_rules,
                samples=Samples.of(config),
                on_judged=lambda groups, by: judged.append((list(groups), by)),
                on_finished=on_finished,
            )
    seconds = {"eval": time.perf_counter() - began, "total": time.perf_counter() - start}
    if accelerator.is_main_process:
        display.result(found, config)
        (groups, by) = judged[0]
        run_folder = RunFolder(path=folder, rules_from=tuple(config.rules_from))
        run_folder.begin(config_yaml, rules_text(config.rules))
        run_folder.rollouts(0, "eval", groups, by)
        run_folder.log(0, found.metrics())
        run_folder.write_summary(_summary(plan, policy, found, groups, seconds))
        display.end(folder, seconds["eval"])
    return found


def _head(plan: Plan, policy: Policy, asked: Problems, accelerator: Accelerator, folder: Path) -> dict[str, str]:
    config, settings, rules = plan.config, plan.config.eval, plan.eval_rules
    beside = {} if rules is None else {"judged by": f"{settings.rules}, beside them: {', '.join(rules.rules)}"}
    sampled = f", and {settings.samples} samples at temperature {settings.temperature:g}" if settings.samples else ""
    few_shot = f", {config.prompt.few_shot} worked examples in the prompt" if config.prompt.few_shot else ""
    processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
    return {
        "model": f"{model_name(config)}, {policy.n_parameters / 1e6:,.2f} M parameters, {config.model.dtype}",
        "data": f"{type(plan.source).__name__}, {len(asked.held_out):,} held-out problems{few_shot}",
        "reward": " + ".join(f"{weight:g} x {name}" for name, weight in plan.pack.weights.items()),
        **beside,
        "asked": f"greedily{sampled}, {config.algo.max_new_tokens} tokens at most, seed {config.seed}",
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
