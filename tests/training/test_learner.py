"""What does not change the gradient, what does not change the weights, what does not go through the model."""

from __future__ import annotations

import copy
import math
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from forked import start
from learning import WORDS, copy_of, gradient, groups, moved, tokens_seen, tree_tokens
from random_models import plain_logprobs
from sampled import sampled
from torch import Tensor

from conftest import ROOT, SUPPORT, choices, with_rewards
from rlvr.config.schema import AlgoConfig, ModelConfig
from rlvr.errors import RunStopped
from rlvr.models.load import load_policy
from rlvr.models.policy import Policy
from rlvr.parallel.collectives import share
from rlvr.training.learner import Learner
from rlvr.types import Group


@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize(
    "options",
    sampled(
        [*({"aggregation": each} for each in choices("aggregation")), {"ratio": "sequence"}, {"surrogate": "cispo"}], every=2
    ),
    ids=lambda options: "-".join(options.values()),
)
def test_the_budget_does_not_change_the_gradient(tiny64: Policy, options: dict[str, str], beta: bool) -> None:
    batch, reference = groups(tiny64), moved(tiny64) if beta else None
    whole = gradient(tiny64, batch, reference, micro_batch_tokens=10_000, **options)
    assert whole.abs().max() > 1e-4
    for budget in (1, 60):
        split = gradient(tiny64, batch, reference, micro_batch_tokens=budget, **options)
        assert (split - whole).abs().max() <= 1e-6 * whole.abs().max()


def test_the_gradient_is_that_of_the_loss_written_out(tiny64: Policy) -> None:
    """On-policy, the ratio is 1 and carries the gradient: minus the weighted sum of advantage x log-probability."""
    batch, plain = groups(tiny64), copy_of(tiny64)
    parts = [(rollout.advantage, plain_logprobs(plain.model, group, rollout)) for group in batch for rollout in group.rollouts]
    (-sum(advantage * logprobs_T.mean() for advantage, logprobs_T in parts) / len(parts)).backward()  # type: ignore[union-attr]
    wanted = torch.cat([p.grad.flatten() for p in plain.model.parameters() if p.grad is not None])
    ours = gradient(tiny64, batch, micro_batch_tokens=60)
    assert (ours - wanted).abs().max() <= 1e-6 * wanted.abs().max()


PROCESS_OPTIONS = AlgoConfig(max_grad_norm=1e9, learning_rate=1e-30, aggregation="token_mean", micro_batch_tokens=100)


def _first_moment(learner: Learner) -> Tensor:
    """Of Adam after one step from rest: a tenth of the gradient."""
    states: Any = learner._optimizer.state_dict()["state"]
    return torch.cat([state["exp_avg"].flatten() for state in states.values()])


def _stale(batch: list[Group]) -> list[Group]:
    """Sampled by weights 0, 1, 2, ... updates older than the policy's."""
    return [
        replace(group, rollouts=tuple(replace(r, policy_version=-lag) for r in group.rollouts))
        for lag, group in enumerate(batch)
    ]


def train_a_share(folder: str) -> None:
    """In one of two processes: an update on this process's share of the groups."""
    policy = load_policy(ModelConfig(name="tiny", package="rlvr.assets.tiny"))
    policy.model.to(torch.float64)
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    learner = Learner(policy, PROCESS_OPTIONS, accelerator, None)
    metrics = learner.update(share(_stale(groups(policy, 3))))
    torch.save((metrics, _first_moment(learner)), f"{folder}/{accelerator.process_index}.pt")
    torch.distributed.destroy_process_group()


def test_processes_do_not_change_the_gradient(tiny64: Policy, tmp_path: Path) -> None:
    """Three groups on one process, or two on one and one on the other."""
    alone = Learner(copy_of(tiny64), PROCESS_OPTIONS, Accelerator(cpu=True), None)
    wanted = alone.update(_stale(groups(tiny64, 3)))
    assert wanted["policy/staleness"] == 1.0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    paths = [ROOT, ROOT / "tests", SUPPORT, Path(__file__).parent]
    environment = {**os.environ, **common, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    code = f"import test_learner; test_learner.train_a_share({str(tmp_path)!r})"
    commands = [start("--version", env={**environment, "RANK": rank, "LOCAL_RANK": rank}, preexec=code) for rank in ("0", "1")]
    for command in commands:
        assert command.wait() == 0, command.stderr
    for process in range(2):
        metrics, moment = torch.load(tmp_path / f"{process}.pt")
        assert metrics == pytest.approx(wanted, rel=1e-6)
        assert (moment - _first_moment(alone)).abs().max() <= 1e-6 * moment.abs().max()


def test_masked_rollouts_change_nothing(tiny64: Policy) -> None:
    """A rollout without a reward counts as not sampled."""
    batch = groups(tiny64)
    masked = [with_rewards(group, [1.0, None, 0.0, None, 0.5]) for group in batch]
    left_out = [replace(g, rollouts=tuple(r for r in g.rollouts if r.reward is not None)) for g in masked]
    assert torch.equal(gradient(tiny64, masked), gradient(tiny64, left_out))


def test_truncated_rollouts_can_be_masked(tiny64: Policy) -> None:
    """They stay in their group's mean, so the advantages of the others are what they were."""
    batch = [_truncated(group, {1, 2}) for group in groups(tiny64)]
    left_out = [replace(g, rollouts=tuple(r for r in g.rollouts if r.finish_reason == "stop")) for g in batch]
    assert torch.equal(gradient(tiny64, batch, mask_truncated=True), gradient(tiny64, left_out))
    assert not torch.allclose(gradient(tiny64, batch, mask_truncated=False), gradient(tiny64, left_out))


def _truncated(group: Group, which: set[int]) -> Group:
    rollouts = (replace(r, finish_reason="length") if i in which else r for i, r in enumerate(group.rollouts))
    return replace(group, rollouts=tuple(rollouts))


def test_only_what_has_a_gradient_goes_through_the_model(tiny: Policy) -> None:
    batch = groups(tiny, 5)
    batch[1] = with_rewards(batch[1], [0.5] * 5)  # degenerate
    batch[2] = with_rewards(batch[2], [None] * 5)  # masked
    batch[3] = with_rewards(batch[3], [1.0, None, 0.0, 0.5, None])  # one rollout is exactly average, two are masked
    batch[4] = _truncated(batch[4], {0, 1})
    trained = [batch[0], _only(batch[3], {0, 2}), _only(batch[4], {2, 3, 4})]
    seen = tokens_seen(tiny)
    learner = Learner(tiny, AlgoConfig(mask_truncated=True, micro_batch_tokens=100), Accelerator(cpu=True), None)
    metrics = learner.update(batch)
    assert sum(seen) == tree_tokens(trained)
    assert metrics["policy/grad_norm"] > 0.0


def _only(group: Group, which: set[int]) -> Group:
    return replace(group, rollouts=tuple(r for i, r in enumerate(group.rollouts) if i in which))


def test_a_kl_penalty_keeps_rollouts_without_an_advantage(tiny: Policy) -> None:
    batch = [with_rewards(group, [0.5] * 5) for group in groups(tiny)]
    reference = moved(tiny)
    seen = tokens_seen(tiny)
    learner = Learner(tiny, AlgoConfig(beta=0.1), Accelerator(cpu=True), reference)
    assert learner.update(batch)["policy/grad_norm"] > 0.0
    assert sum(seen) == tree_tokens(batch)


@pytest.mark.parametrize("reward", [0.0, 1.1, None])
def test_all_wrong_all_right_all_masked_leave_the_weights(tiny: Policy, reward: float | None) -> None:
    batch = [with_rewards(group, [reward] * len(WORDS)) for group in groups(tiny)]
    learner = Learner(tiny, AlgoConfig(learning_rate=1e-2, warmup_steps=0, weight_decay=0.1), Accelerator(cpu=True), None)
    learner.update(groups(tiny))  # leaves momentum behind
    before, version, seen = copy.deepcopy(tiny.model.state_dict()), tiny.version, tokens_seen(tiny)
    metrics = learner.update(batch)
    assert all(torch.equal(before[name], value) for name, value in tiny.model.state_dict().items())
    assert (seen, tiny.version) == ([], version)
    assert metrics["policy/grad_norm"] == 0.0
    assert all(math.isfinite(value) for value in metrics.values())


def test_a_gradient_that_is_not_finite_stops_the_run(tiny: Policy) -> None:
    """Before it reaches the weights."""
    first, *others = groups(tiny, 1)[0].rollouts
    batch = [replace(groups(tiny, 1)[0], rollouts=(replace(first, advantage=math.nan), *others))]
    before = copy.deepcopy(tiny.model.state_dict())
    with pytest.raises(RunStopped, match=r"^the gradient is nan; try a lower algo.learning_rate$"):
        Learner(tiny, AlgoConfig(), Accelerator(cpu=True), None).update(batch)
    assert all(torch.equal(before[name], value) for name, value in tiny.model.state_dict().items())
