"""Loads what a plan names: the problems, the model, where verdicts are computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import torch
from accelerate import Accelerator

from rlvr.config.schema import Config
from rlvr.evaluation.parts import RunParts
from rlvr.models.load import load_policy
from rlvr.models.lora import add_adapters
from rlvr.models.policy import Policy
from rlvr.runs.plan import Plan
from rlvr.runs.problems import choose, render
from rlvr.scoring.factory import make_backend


@contextmanager
def loaded(plan: Plan, accelerator: Accelerator, *, training: bool) -> Iterator[RunParts]:
    """The parts of a run; the engine and the scoring backend are closed at the end of the block.

    training: without it there is no reference model, and there are no training problems.
    Errors: `ConfigError`.
    """
    config = plan.config
    with closing(make_backend(config, plan.strictest)) as backend, closing(plan.engine) as engine:
        judge = partial(plan.pack.judge, slow=backend.score, retries=config.verify.retries)
        chosen = choose(plan, judge=judge, training=training)
        policy, reference = _models(config, accelerator, training=training)
        problems = render(chosen, plan, policy, judge=judge, training=training)
        policy.model.to(accelerator.device)
        yield RunParts(
            config=config,
            accelerator=accelerator,
            policy=policy,
            reference=reference,
            engine=engine,
            backend=backend,
            pack=plan.pack,
            eval_rules=plan.eval_rules,
            train=problems.train,
            held_out=problems.held_out,
            warnings=problems.warnings,
        )


def _models(config: Config, accelerator: Accelerator, *, training: bool) -> tuple[Policy, Policy | None]:
    """The policy, and the reference of its KL penalty, if any."""
    autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(str(accelerator.mixed_precision))
    policy = load_policy(config.model, autocast=autocast)
    if not training:
        return policy, None
    if config.model.lora_rank:
        add_adapters(policy.model, config.model, seed=config.seed)
    if not config.algo.beta:
        return policy, None
    return policy, policy if config.model.lora_rank else load_policy(config.model, autocast=autocast)
