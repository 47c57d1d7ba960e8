"""Random numbers of a rollout, which belong to (seed, step, problem, rollout)."""

from __future__ import annotations

import hashlib

import numpy as np

from rlvr.rollout.base import Sampling


def noise(sampling: Sampling, problem_id: str, rollout: int) -> np.ndarray:
    """The uniform random numbers of one rollout, float64 in [0, 1), one a token: shape [max_new_tokens].

    They belong to (seed, step, problem, rollout) and to nothing else, so that a rollout does not depend on the batch, the
    process or the order it was sampled in.
    """
    name = f"{sampling.seed}/{sampling.step}/{rollout}/{problem_id}"
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key)).random(sampling.max_new_tokens)
