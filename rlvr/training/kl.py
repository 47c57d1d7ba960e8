"""Estimators of the KL divergence to the reference policy. Shapes: see `rlvr.types`.

Source: Schulman 2020, "Approximating KL Divergence".
"""

from __future__ import annotations

import torch
from torch import Tensor


def kl_estimate(logprobs_N: Tensor, reference_logprobs_N: Tensor, *, estimator: str) -> Tensor:
    """Estimates of KL(policy || reference) in nats, one from each sampled token.

    estimator: `k1`, `k2` or `k3` (Schulman 2020; k3: DeepSeekMath equation 4). k1 and k3 are unbiased, k2 and k3 never
    negative. As a penalty on the policy's own samples, only k2 has the expected gradient of this divergence; that of k3 is
    the gradient of KL(reference || policy), that of k1 is 0 (Tang and Munos 2025, "On a few pitfalls in KL divergence
    gradient estimation for RL").
    """
    log_ratio_N = logprobs_N - reference_logprobs_N
    match estimator:
        case "k1":
            return log_ratio_N
        case "k2":
            return log_ratio_N.square() / 2
        case "k3":
            return torch.exp(-log_ratio_N) + log_ratio_N - 1.0
    raise AssertionError(estimator)
