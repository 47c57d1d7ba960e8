"""Sampling: the right distribution, noise of the rollout's own, nothing that depends on the batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr import Problem
from rlvr.batch import micro_batches
from rlvr.policy import Policy, token_logprobs
from rlvr.rollout.engine import Sampling, noise
from rlvr.rollout.native import NativeEngine
from rlvr.types import Group, Rollout

PROBLEMS = [
    Problem(id=f"p{i}", prompt=prompt, truth={})
    for i, prompt in enumerate(
        ["What is 3 + 4?\n", "Tom has 3 apples and buys 14 more. How many has he now?\n", "7\n", "Why?\n"]
    )
]
SAMPLING = Sampling(group_size=6, temperature=1.0, max_new_tokens=24, seed=3, step=5)


def by_id(groups: list[Group]) -> dict[str, list[tuple[int, ...]]]:
    return {group.problem.id: [rollout.token_ids for rollout in group.rollouts] for group in groups}


def test_a_rollout_does_not_depend_on_batch_order_or_company(tiny64: Policy) -> None:
    whole = by_id(NativeEngine(max_batch=128).sample(tiny64, PROBLEMS, SAMPLING))
    assert len({ids for group in whole.values() for ids in group}) > 15, "rollouts differ"
    for size in (1, 6, 13):
        assert by_id(NativeEngine(max_batch=size).sample(tiny64, PROBLEMS, SAMPLING)) == whole
    assert by_id(NativeEngine().sample(tiny64, PROBLEMS[::-1], SAMPLING)) == whole
    assert by_id(NativeEngine().sample(tiny64, PROBLEMS[2:3], SAMPLING))["p2"] == whole["p2"]
    fewer = by_id(NativeEngine().sample(tiny64, PROBLEMS, replace(SAMPLING, group_size=2)))
    assert all(whole[name][:2] == ids for name, ids in fewer.items())


def test_each_rollout_is_told_of_as_soon_as_it_has_ended(tiny64: Policy) -> None:
    """Those of a batch in the order in which they end, batches one after the other; and nothing else changes for it."""
    plain = NativeEngine(max_batch=12).sample(tiny64, PROBLEMS, SAMPLING)
    told: list[tuple[Problem, int, Rollout]] = []
    groups = NativeEngine(max_batch=12).sample(tiny64, PROBLEMS, SAMPLING, on_finished=lambda *each: told.append(each))
    assert groups == plain
    assert len(told) == 24
    places = {group.problem.id: group for group in groups}
    assert {(problem.id, at) for problem, at, _ in told} == {(problem.id, at) for problem in PROBLEMS for at in range(6)}
    assert all(places[problem.id].rollouts[at] is rollout for problem, at, rollout in told)
    for batch in (told[:12], told[12:]):
        lengths = [len(rollout.token_ids) for _, _, rollout in batch]
        assert lengths == sorted(lengths)
        assert lengths[0] < lengths[-1]
    assert {problem.id for problem, _, _ in told[:12]} == {"p0", "p1"}


def test_the_others_are_not_sampled_yet_when_one_is_told_of(tiny64: Policy) -> None:
    """Leaving at the first one leaves before the rest has been through the model."""
    passes: list[int] = []
    hook = tiny64.model.register_forward_pre_hook(lambda *_: passes.append(1))

    def leave(problem: Problem, at: int, rollout: Rollout) -> None:
        raise LookupError(len(rollout.token_ids))

    try:
        with pytest.raises(LookupError) as left:
            NativeEngine().sample(tiny64, PROBLEMS, SAMPLING, on_finished=leave)
        assert len(passes) == left.value.args[0]
        NativeEngine().sample(tiny64, PROBLEMS, SAMPLING)
        assert len(passes) > 2 * left.value.args[0], "the others go on for longer"
    finally:
        hook.remove()


def test_seed_step_problem_and_rollout_each_change_the_noise() -> None:
    base = noise(SAMPLING, "p0", 0)
    assert base.shape == (24,)
    assert np.array_equal(base, noise(SAMPLING, "p0", 0))
    others = [noise(replace(SAMPLING, seed=4), "p0", 0), noise(replace(SAMPLING, step=6), "p0", 0)]
    others += [noise(SAMPLING, "p1", 0), noise(SAMPLING, "p0", 1)]
    for other in others:
        assert not np.isclose(base, other).any()


def test_noise_is_uniform() -> None:
    numbers = np.concatenate([noise(SAMPLING, f"p{i}", g) for i in range(200) for g in range(8)])
    counts, _ = np.histogram(numbers, bins=20, range=(0, 1))
    expected = len(numbers) / 20
    assert ((counts - expected) ** 2 / expected).sum() < 50  # chi-squared, 19 degrees of freedom: p < 0.0002


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_first_tokens_have_the_models_distribution(tiny64: Policy, temperature: float) -> None:
    n = 4000
    sampling = replace(SAMPLING, group_size=n, temperature=temperature, max_new_tokens=1)
    (group,) = NativeEngine(max_batch=n).sample(tiny64, PROBLEMS[:1], sampling)
    counts = np.bincount([rollout.token_ids[0] for rollout in group.rollouts], minlength=512)
    with torch.no_grad():
        logits = tiny64.model(torch.tensor([group.prompt_ids])).logits[0, -1]
    probabilities = (logits / temperature).softmax(-1).numpy()
    common = probabilities * n >= 5
    z = (counts - n * probabilities)[common] / np.sqrt(n * probabilities * (1 - probabilities))[common]
    assert np.abs(z).max() < 4.5
    assert counts[~common].sum() < n * probabilities[~common].sum() + 5 * np.sqrt(n * probabilities[~common].sum()) + 5


def test_greedy_is_what_transformers_generates(tiny64: Policy) -> None:
    greedy = Sampling(group_size=1, temperature=0.0, max_new_tokens=24)
    for group in NativeEngine().sample(tiny64, PROBLEMS, greedy):
        prompt = torch.tensor([group.prompt_ids])
        expected = tiny64.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=24, do_sample=False, pad_token_id=tiny64.pad_id
        )
        assert group.rollouts[0].token_ids == tuple(expected[0, prompt.shape[1] :].tolist())


def test_recorded_logprobs_are_those_of_the_training_forward(tiny64: Policy) -> None:
    groups = NativeEngine().sample(tiny64, PROBLEMS, replace(SAMPLING, temperature=0.7))
    judged = [replace(group, rollouts=tuple(replace(r, reward=0.0) for r in group.rollouts)) for group in groups]
    for batch in micro_batches(judged, size=5, pad_id=tiny64.pad_id, device=torch.device("cpu")):
        with torch.no_grad():
            logprobs_BT, entropy_BT = token_logprobs(tiny64.model, batch, temperature=0.7)
        # recorded numbers pass through float32 in the batch
        assert torch.allclose(logprobs_BT, batch.sampling_logprobs_BT.double(), atol=1e-5)
        assert (entropy_BT[batch.completion_mask_BT] > 0).all()
        assert (entropy_BT[~batch.completion_mask_BT] == 0).all()


def test_finish_reasons_and_text(tiny64: Policy) -> None:
    for group in NativeEngine().sample(tiny64, PROBLEMS, replace(SAMPLING, max_new_tokens=12)):
        for rollout in group.rollouts:
            ended = rollout.token_ids[-1] in tiny64.eos_ids
            assert rollout.finish_reason == ("stop" if ended else "length")
            assert ended or len(rollout.token_ids) == 12
            assert not any(token in tiny64.eos_ids for token in rollout.token_ids[:-1])
            assert "<|endoftext|>" not in rollout.text
            assert len(rollout.logprobs) == len(rollout.token_ids)
            assert all(logprob <= 0 for logprob in rollout.logprobs)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="max_batch=0: must be at least 1"):
        NativeEngine(max_batch=0)
