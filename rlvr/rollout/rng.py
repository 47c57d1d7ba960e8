"""Random numbers of a rollout."""

from __future__ import annotations

import hashlib

import numpy as np

from rlvr.rollout.base import Sampling


def noise(sampling: Sampling, problem_id: str, rollout: int) -> np.ndarray:
    """Uniform random numbers of one rollout, one a token: float64 in [0, 1), [max_new_tokens].

    They are a function of (seed, step, problem, rollout) alone, so that a rollout does not depend on the batch, the process
    or the order it is sampled in. rollout: index in the group.
    """
    name = f"{sampling.seed}/{sampling.step}/{rollout}/{problem_id}"
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key)).random(sampling.max_new_tokens)
