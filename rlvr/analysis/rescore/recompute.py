"""Rewards and advantages of stored rollouts, recomputed from new verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch

from rlvr.rules.fingerprint import Fingerprint
from rlvr.rules.pack import Judgement
from rlvr.runs.entries import Advantages, Entry
from rlvr.training.advantages import group_advantages


def recomputed(
    entries: Sequence[Entry], judgements: Sequence[Judgement], rules: Fingerprint, advantages: Advantages
) -> list[Entry]:
    """The entries of a step and split with these judgements, made by the pack with the fingerprint `rules`."""
    rewards = [judgement.reward for judgement in judgements]
    weights, rules_hash = rules.weights, rules.hash
    return [
        replace(
            entry,
            verdicts=judgement.verdicts,
            weights={name: weights[name] for name in judgement.verdicts},
            reward=judgement.reward,
            advantage=advantage
            if advantages.counts(split=entry.split, reward=judgement.reward, finish_reason=entry.finish_reason)
            else None,
            rules_hash=rules_hash,
        )
        for entry, judgement, advantage in zip(entries, judgements, _advantages(entries, rewards, advantages), strict=True)
    ]


def _advantages(entries: Sequence[Entry], rewards: Sequence[float | None], how: Advantages) -> list[float]:
    rewards_PG, present_PG = by_group(entries, rewards)
    values_PG = group_advantages(torch.from_numpy(rewards_PG), scaling=how.scaling, deviation=how.deviation).numpy()
    return values_PG[present_PG].tolist()


def by_group(entries: Sequence[Entry], values: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """Values as [groups, rollouts], with NaN for None and as padding of smaller groups; and a mask of what is not padding."""
    sizes = [len(list(group)) for _, group in groupby(entries, key=lambda entry: entry.group_index)]
    present_PG = np.arange(max(sizes)) < np.array(sizes)[:, None]
    values_PG = np.full(present_PG.shape, np.nan)
    values_PG[present_PG] = [math.nan if value is None else value for value in values]
    return values_PG, present_PG
