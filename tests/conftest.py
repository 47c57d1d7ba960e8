"""What several tests need: the tiny model, the real data beside the checkout, judged groups from given texts."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests run side by side, and what they start inherits it

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from rlvr.config.schema import ModelConfig, PromptConfig
from rlvr.data.prompts import Prompts
from rlvr.models.load import load_policy
from rlvr.models.policy import Policy
from rlvr.rules.pack import RulePack
from rlvr.runs.problems import choose_examples, full_score_gap
from rlvr.scoring.local.rule_pack import LocalRulePack
from rlvr.scoring.local.supervisor import supervised
from rlvr.training.advantages import with_advantages
from rlvr.types import Group, Problem, Rollout

settings.register_profile("rlvr", deadline=None)  # a test says what is right, not how long it takes on a busy machine
settings.load_profile("rlvr")

ROOT = Path(__file__).parents[1]
SUPPORT = ROOT / "tests" / "support"
"""Modules that tests share; on the path, also for what tests start."""
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def gsm8k_path() -> Path:
    if not (DATA / "gsm8k").is_dir():
        pytest.skip(f"the real GSM8K is not at {DATA / 'gsm8k'}")
    return DATA / "gsm8k"


@pytest.fixture
def tiny() -> Policy:
    """The bundled model, fresh: a test may train it."""
    return load_policy(ModelConfig(name="tiny", package="rlvr.assets.tiny"))


@pytest.fixture(scope="session")
def tiny64() -> Policy:
    """The bundled model in double precision, where how sums are split hardly matters. Not to be trained."""
    policy = load_policy(ModelConfig(name="tiny", package="rlvr.assets.tiny"))
    policy.model.to(torch.float64)
    return policy


def group_of(policy: Policy, problem: Problem, texts: list[str], pack: RulePack) -> Group:
    """A judged group whose rollouts say `texts`."""
    rollouts = []
    for text in texts:
        ids = (*policy.encode(text), policy.eos_ids[0])
        judgement = pack.judge(text, problem, supervised)
        rollouts.append(
            Rollout(
                token_ids=ids,
                logprobs=(0.0,) * len(ids),
                text=text,
                finish_reason="stop",
                verdicts=judgement.verdicts,
                reward=judgement.reward,
            )
        )
    group = Group(problem=problem, prompt_ids=policy.encode(problem.prompt), rollouts=tuple(rollouts))
    return with_advantages([group], scaling="group")[0]


def with_rewards(group: Group, rewards: list[float | None]) -> Group:
    """The same rollouts with other rewards, and the advantages that follow."""
    rollouts = tuple(replace(r, reward=reward) for r, reward in zip(group.rollouts, rewards, strict=True))
    return with_advantages([replace(group, rollouts=rollouts)], scaling="group")[0]


def score_gap(prompts: Prompts, problem: Problem, pack: LocalRulePack) -> str | None:
    """Why the reference solution of a problem does not get the full score, or None."""
    return full_score_gap(prompts, problem, pack, judge=pack.judge)


def few_shot_examples(
    template: PromptConfig, train: Sequence[Problem], pack: LocalRulePack
) -> tuple[tuple[Problem, ...], Sequence[Problem]]:
    """The few-shot examples of a prompt, and the training problems without them."""
    return choose_examples(template, train, pack, judge=pack.judge)
