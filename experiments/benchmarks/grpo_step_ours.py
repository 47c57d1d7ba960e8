"""Our side of `grpo_step`: the trainer, without evaluation and tracking."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import Accelerator
from grpo_step_cases import Case
from grpo_step_child import Job, Measured, Memory, Step, now
from grpo_step_models import Workload

from rlvr.config.compose import compose
from rlvr.config.schema import Config, RuleConfig
from rlvr.data.curriculum import ProblemStream
from rlvr.evaluation.parts import RunParts
from rlvr.models.load import load_policy
from rlvr.models.policy import Policy
from rlvr.rules.edits import RULES
from rlvr.rules.live import LiveRules
from rlvr.rules.load import rules_text
from rlvr.runs.plan import plan
from rlvr.scoring.factory import make_backend
from rlvr.training.trainer import Trainer
from rlvr.types import Problem

LEARNING_RATE = 1e-6
RULES_FROM = "grpo_step_reward"


def config_of(job: Job, longest: int) -> Config:
    """The defaults of `python train.py`, except for what both sides share. longest: tokens of the longest prompt."""
    case, config = job.case, compose(["model=hf", "tracking=none"])
    config.rules = {"hash": RuleConfig(weight=1.0, verifier={"_target_": f"{RULES_FROM}.TextHash"})}
    config.rules_from = [RULES_FROM]
    config.model.path = str(job.folder / "model")
    config.cluster.cpu, config.cluster.mixed_precision = job.device == "cpu", case.precision
    config.algo = replace(
        config.algo,
        problems=case.problems,
        group_size=case.group_size,
        learning_rate=LEARNING_RATE,
        warmup_steps=0,
        max_prompt_tokens=longest,
        max_new_tokens=case.new_tokens,
    )
    return config


def in_order(problems: list[Problem], case: Case, seed: int) -> list[Problem]:
    """The problems in the order in which our steps take them."""
    stream = ProblemStream(problems=problems, seed=seed)
    return [problem for _ in range(len(problems) // case.problems) for problem in stream.take(case.problems)]


def problems_of(workload: Workload) -> list[Problem]:
    return [Problem(id=name, prompt=prompt, truth={}) for name, prompt in zip(workload.ids, workload.prompts, strict=True)]


def measure(job: Job) -> Measured:
    """Warm up for one step, then measure `job.steps`."""
    workload, memory = Workload.read(job.folder / "workload.json"), Memory(job.device)
    config = config_of(job, max(workload.lengths))
    problems = problems_of(workload)
    accelerator = Accelerator(cpu=config.cluster.cpu, mixed_precision=config.cluster.mixed_precision)
    policy = load_policy(config.model, autocast=torch.bfloat16 if job.case.precision == "bf16" else None)
    policy.model.to(accelerator.device)
    loaded = memory.loaded(policy.model)
    text = rules_text(config.rules)
    with closing(make_backend(config, plan(config).pack)) as backend, TemporaryDirectory() as folder:
        (Path(folder) / RULES).write_text(text)
        live = LiveRules(Path(folder), text, rules_from=config.rules_from, validate=lambda pack: None)
        parts = RunParts(
            config=config,
            accelerator=accelerator,
            policy=policy,
            reference=None,
            engine=plan(config).engine,
            backend=backend,
            pack=live.pack,
            eval_rules=None,
            train=problems,
            held_out=[],
            warnings=(),
        )
        trainer = Trainer(parts, live)
        steps = [_step(trainer, step, job, config, policy, problems) for step in range(1, job.steps + 2)]
    return Measured(side="ours", steps=tuple(steps[1:]), loaded_bytes=loaded, peak_bytes=memory.peak())


def _step(trainer: Trainer, step: int, job: Job, config: Config, policy: Policy, problems: list[Problem]) -> Step:
    start = now(job.device)
    metrics, tokens = trainer.step(step)
    total = now(job.device) - start
    rollout, verify = metrics["time/rollout"], metrics["time/verify"]
    n = job.case.problems
    prompts = in_order(problems, job.case, config.seed)[(step - 1) * n : step * n]
    return Step(
        total=total,
        rollout=rollout,
        verify=verify,
        train=total - rollout - verify,
        prompt_tokens=job.case.group_size * sum(len(policy.encode(problem.prompt)) for problem in prompts),
        completion_tokens=tokens,
        degenerate=round(metrics["group/degenerate"] * job.case.problems),
    )
