"""Metrics of sampling: which rollouts and which tokens they are of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rlvr import Problem, load_rules
from rlvr.tracking.step_metrics import rollout_metrics
from rlvr.types import Group, Rollout


def test_entropy_is_of_the_tokens_that_count_and_length_of_all() -> None:
    first = Rollout(
        token_ids=[1, 2, 3],
        logprobs=[-1.0, np.nan, -1.0],
        entropies=np.array([0.5, np.nan, 1.0], dtype=np.float32),
        loss_mask=[True, False, True],
        text="",
        finish_reason="length",
        reward=1.0,
    )
    second = Rollout(token_ids=[4], logprobs=[-1.0], entropies=[3.0], text="", finish_reason="stop", reward=0.0)
    masked = replace(second, entropies=[9.0], reward=None)
    unknown = replace(second, entropies=None)
    group = Group(
        problem=Problem(id="p", prompt="", truth={}), prompt_ids=np.array([1]), rollouts=(first, second, masked, unknown)
    )
    pack = load_rules("r1_format+answer")
    metrics = rollout_metrics([group], pack)
    assert metrics["policy/entropy"] == pytest.approx(4.5 / 3)
    assert metrics["rollout/length"] == 6 / 4
    assert metrics["rollout/truncated"] == 1 / 4
    assert "policy/entropy" not in rollout_metrics([replace(group, rollouts=(unknown,))], pack)
