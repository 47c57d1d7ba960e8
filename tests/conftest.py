"""What several tests need: the tiny model, the real data beside the checkout, scored groups from given texts."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests run side by side, and what they start inherits it

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from rlvr.config.schema import AlgoConfig, ModelConfig, PromptConfig
from rlvr.data.prompts import Prompts
from rlvr.models.load import load_policy
from rlvr.models.policy import Policy
from rlvr.rules.pack import RulePack
from rlvr.runs.problems import choose_examples, full_score_gap
from rlvr.scoring.local.rule_pack import LocalRulePack
from rlvr.scoring.local.supervisor import supervised
from rlvr.training.advantages import with_advantages
from rlvr.types import Group, Problem, Rollout

# No deadline: a test says what is right, not how long it takes on a busy machine.
settings.register_profile("rlvr", deadline=None, max_examples=60)
settings.load_profile("rlvr")

ROOT = Path(__file__).parents[1]
SUPPORT = ROOT / "tests" / "support"
"""Modules that tests share; on the path, also for what tests start."""
DATA = ROOT.parent / "shared" / "data"


REQUIRED = bool(os.environ.get("RLVR_REQUIRE"))
"""Set in CI: a test that would be skipped fails, but for those marked `may_skip`."""


def needs(available: bool, install: str, *, in_ci: bool = True) -> pytest.MarkDecorator:
    """Marks a test that needs a program, a package or data. install: what to do where it is not `available`.

    in_ci: whether CI has to have it, so that a skip is a failure there.
    """
    if not available and REQUIRED and not in_ci:
        return pytest.mark.may_skip(f"needs: {install}")
    return pytest.mark.skipif(not available, reason=f"needs: {install}")


def choices(key: str) -> tuple[str, ...]:
    """What may be chosen for a key of `algo`."""
    return AlgoConfig.__dataclass_fields__[key].metadata["bounds"].one_of


def data(name: str) -> Path:
    """The folder of a real data set beside the checkout; skips the test where it is not there."""
    if not (DATA / name).is_dir():
        pytest.skip(f"needs: the data set {name} at {DATA / name}")
    return DATA / name


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("may_skip")
    if marker is not None:
        pytest.skip(marker.args[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRED and report.skipped and item.get_closest_marker("may_skip") is None and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"RLVR_REQUIRE is set and the test was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if REQUIRED and report.skipped:
        report.outcome, report.longrepr = "failed", f"RLVR_REQUIRE is set and a file was skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def gsm8k_path() -> Path:
    return data("gsm8k")


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
    """A scored group whose rollouts say `texts`."""
    rollouts = []
    for text in texts:
        ids = np.append(policy.encode(text), policy.eos_ids[0])
        judgement = pack.judge(text, problem, supervised)
        rollouts.append(
            Rollout(
                token_ids=ids,
                logprobs=np.zeros(len(ids)),
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


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: many tests wait for processes that they start."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)
