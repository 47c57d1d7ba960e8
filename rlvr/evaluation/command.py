"""`python -m rlvr.evaluate`: the arguments, and the folder with everything in it."""

from __future__ import annotations

import dataclasses
import platform
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
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
from rlvr.config import Config, ConfigError, EvalConfig
from rlvr.data.lint import scorable
from rlvr.data.prompts import Prompts, choose_examples, full_marks
from rlvr.devices import accelerator_of
from rlvr.evaluate import Samples, evaluate
from rlvr.evaluation.display import Display
from rlvr.evaluation.request import evaluation_rules
from rlvr.evaluation.summary import Evaluation
from rlvr.policy import Policy, load_policy
from rlvr.rules.pack import Judge, RulePack
from rlvr.rules.text import rules_text
from rlvr.runfolder import RunFolder
from rlvr.summary import model_name
from rlvr.types import Group, Problem
from rlvr.verify.backend import Backend


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
        rules = evaluation_rules(checked.config)
        repeat = yaml_of(config).replace("python train.py", "python -m rlvr.evaluate", 1)
        found = run(checked, rules, folder=folder, config_yaml=repeat)
    return None if found is None else found.accuracy if found.accuracy is not None else found.reward


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is evaluated on, rendered for the model."""

    problems: list[Problem]
    warnings: list[str]


def run(plan: Plan, rules: RulePack | None, *, folder: Path, config_yaml: str) -> Evaluation:
    """Evaluate as planned and leave everything in `folder`. Errors: `ConfigError` before anything is sampled, `RunStopped`."""
    config, start = plan.config, time.perf_counter()
    accelerator = accelerator_of(config)
    set_seed(config.seed)
    folder = Path(broadcast_object_list([str(folder)])[0])
    RunFolder.check_free(folder)
    accelerator.wait_for_everyone()  # all have looked before one of them writes there
    computing = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(accelerator.mixed_precision))
    policy = load_policy(config.model, autocast=computing)
    strictest = rules if rules is not None and rules.isolated else plan.pack
    display, judged = Display(quiet=not accelerator.is_main_process), list[tuple[list[Group], RulePack]]()
    with closing(backend(config, strictest)) as judges:
        asked = _asked(plan, rules, policy, judges)
        policy.model.to(accelerator.device)
        display.head(_head(plan, rules, policy, asked, accelerator, folder), asked.warnings)
        began = time.perf_counter()
        completions = len(asked.problems[accelerator.process_index :: accelerator.num_processes]) * (1 + config.eval.samples)
        with display.progress(completions) as on_finished:
            found = evaluate(
                policy,
                plan.engine,
                plan.pack,
                asked.problems,
                max_new_tokens=config.algo.max_new_tokens,
                stop=config.prompt.stop,
                backend=judges,
                verify=config.verify,
                rules=rules,
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
        run_folder.write_summary(_summary(plan, rules, policy, found, groups, seconds))
        display.end(folder, seconds["eval"])
    return found


def _asked(plan: Plan, rules: RulePack | None, policy: Policy, judges: Backend) -> Asked:
    """The held-out problems, checked as a run checks them. Errors: `ConfigError`."""
    config, warnings = plan.config, list[str]()
    if config.model.chat and not policy.tokenizer.chat_template:
        raise ConfigError("model.chat=true: the tokenizer has no chat template; set model.chat=false")
    splits = plan.source.load()
    judge: Judge = partial(plan.pack.judge, slow=judges.judge, retries=config.verify.retries)
    examples, train = choose_examples(config.prompt, splits.train, plan.pack, judge=judge)
    prompts = Prompts(template=config.prompt, examples=examples, chat_tokenizer=policy.tokenizer if config.model.chat else None)
    test = splits.test[: config.eval.problems]
    for pack in filter(None, (plan.pack, rules)):
        test, warning = scorable(test, pack, plan.source.on_unscorable)
        warnings += [f"held-out problems: {warning}"] if warning else []
    if not test:
        raise ConfigError("dataset: it has no held-out problems that the rules can score")
    solved = next((p for p in (*train, *test) if p.metadata.get("solution") or p.metadata.get("completion")), None)
    mismatch = full_marks(prompts, solved, plan.pack, judge=judge) if solved else None
    if mismatch:
        warnings.append(f"a right solution written as the prompt asks does not get full marks: {mismatch}; see prompt=...")
    problems = [prompts.render(problem) for problem in test]
    _check_lengths(problems, policy, config)
    return Asked(problems=problems, warnings=warnings)


def _check_lengths(problems: list[Problem], policy: Policy, config: Config) -> None:
    algo = config.algo
    longest, n_tokens = max(((p.id, len(policy.encode(p.prompt))) for p in problems), key=lambda pair: pair[1])
    if n_tokens > algo.max_prompt_tokens:
        raise ConfigError(f"algo.max_prompt_tokens={algo.max_prompt_tokens}: the prompt of {longest} has {n_tokens} tokens")
    if n_tokens + algo.max_new_tokens > policy.context:
        raise ConfigError(
            f"algo.max_new_tokens={algo.max_new_tokens}: with a prompt of {n_tokens} tokens ({longest}) that is more than "
            f"the {policy.context} tokens the model takes"
        )


def _head(
    plan: Plan, rules: RulePack | None, policy: Policy, asked: Asked, accelerator: Accelerator, folder: Path
) -> dict[str, str]:
    config, settings = plan.config, plan.config.eval
    beside = {} if rules is None else {"judged by": f"{settings.rules}, beside them: {', '.join(rules.rules)}"}
    sampled = f", and {settings.samples} samples at temperature {settings.temperature:g}" if settings.samples else ""
    few_shot = f", {config.prompt.few_shot} worked examples in the prompt" if config.prompt.few_shot else ""
    processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
    return {
        "model": f"{model_name(config)}, {policy.n_parameters / 1e6:,.2f} M parameters, {config.model.dtype}",
        "data": f"{type(plan.source).__name__}, {len(asked.problems):,} held-out problems{few_shot}",
        "reward": " + ".join(f"{weight:g} x {name}" for name, weight in plan.pack.weights.items()),
        **beside,
        "asked": f"greedily{sampled}, {config.algo.max_new_tokens} tokens at most, seed {config.seed}",
        "device": f"{accelerator.device}, {torch.get_num_threads()} threads{processes}",
        "folder": str(folder),
    }


def _summary(
    plan: Plan, rules: RulePack | None, policy: Policy, found: Evaluation, groups: list[Group], seconds: dict[str, float]
) -> dict[str, Any]:
    """summary.json."""
    config = plan.config
    return {
        "name": config.name,
        "seed": config.seed,
        "model": {"name": model_name(config), "parameters": policy.n_parameters},
        "rules": dict(plan.pack.weights),
        "eval_rules": None if rules is None else dict(rules.weights),
        "evaluation": dataclasses.asdict(found),
        "tokens": sum(len(rollout.token_ids) for group in groups for rollout in group.rollouts),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("rlvr", "torch", "transformers", "accelerate")},
        },
    }
