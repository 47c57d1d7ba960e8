"""The reference of the KL divergence: the untrained model, or every so many steps the policy as it then is."""

from __future__ import annotations

import copy

import pytest
import torch
from accelerate import Accelerator
from learning import copy_of, groups, moved
from torch import Tensor

from rlvr.config.schema import AlgoConfig
from rlvr.models.policy import Policy
from rlvr.training.learner import Learner


def algo(refresh: int = 2) -> AlgoConfig:
    return AlgoConfig(beta=0.1, learning_rate=1e-3, warmup_steps=0, reference_refresh=refresh)


def weights(policy: Policy) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in policy.model.parameters()]


def equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def test_every_other_step_the_policy_becomes_the_reference(tiny: Policy) -> None:
    policy, reference = copy_of(tiny), copy_of(tiny)
    learner, after = Learner(policy, algo(2), Accelerator(cpu=True), reference), [weights(policy)]
    kls = []
    for step in range(1, 6):
        kls.append(learner.update(groups(policy))["policy/kl"])
        after.append(weights(policy))
        assert equal(weights(reference), after[step - step % 2])
    assert [kl == 0.0 for kl in kls] == [True, False, True, False, True], "right after a refresh there is no distance"
    assert not equal(after[4], after[5])


def test_without_a_refresh_the_reference_stays_and_is_not_kept(tiny: Policy) -> None:
    policy, reference = copy_of(tiny), copy_of(tiny)
    learner = Learner(policy, algo(0), Accelerator(cpu=True), reference)
    for _ in range(2):
        learner.update(groups(policy))
    assert equal(weights(reference), weights(tiny))
    assert not equal(weights(policy), weights(tiny))
    assert learner.state()["reference"] is None


@pytest.mark.parametrize("done", [1, 2])
def test_it_resumes_with_the_same_bits(tiny: Policy, done: int) -> None:
    whole, whole_reference = copy_of(tiny), copy_of(tiny)
    learner = Learner(whole, algo(), Accelerator(cpu=True), whole_reference)
    for _ in range(done):
        learner.update(groups(whole))
    saved = copy.deepcopy(learner.state())
    wanted = [learner.update(groups(whole)) for _ in range(2)]
    policy, reference = moved(tiny), copy_of(tiny)
    resumed = Learner(policy, algo(), Accelerator(cpu=True), reference)
    resumed.load_state(saved)
    assert policy.version == done
    assert [resumed.update(groups(policy)) for _ in range(2)] == wanted, "staleness too"
    assert equal(weights(policy), weights(whole))
    assert equal(weights(reference), weights(whole_reference))


def test_a_refreshed_reference_outlives_the_option(tiny: Policy) -> None:
    """A run resumed without refreshing keeps the reference it had, in its checkpoints too."""
    policy = copy_of(tiny)
    learner = Learner(policy, algo(1), Accelerator(cpu=True), copy_of(tiny))
    learner.update(groups(policy))
    saved, then = copy.deepcopy(learner.state()), weights(policy)
    for _ in range(2):
        reference = copy_of(tiny)
        resumed = Learner(copy_of(tiny), algo(0), Accelerator(cpu=True), reference)
        resumed.load_state(saved)
        resumed.update(groups(tiny))
        assert equal(weights(reference), then)
        saved = copy.deepcopy(resumed.state())
