"""Sampling: the right distribution, noise that belongs to the rollout, and no dependence on the batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from learning import moved
from sampled import sampled

from rlvr import Problem
from rlvr.models.policy import Policy
from rlvr.models.prefix_tree.forward import TreeForward
from rlvr.models.prefix_tree.layout import schedule_passes, shared_prefix_length
from rlvr.rollout.base import Sampling
from rlvr.rollout.native.engine import NativeEngine
from rlvr.rollout.native.kv_cache import Slots
from rlvr.rollout.rng import noise
from rlvr.rollout.stop import StopStrings
from rlvr.training.batch import micro_batch, taking_part, training_tree
from rlvr.types import Group, Rollout

PROBLEMS = [
    Problem(id=f"p{i}", prompt=prompt, truth={})
    for i, prompt in enumerate(
        ["What is 3 + 4?\n", "Tom has 3 apples and buys 14 more. How many has he now?\n", "7\n", "Why?\n"]
    )
]
SAMPLING = Sampling(group_size=6, temperature=1.0, max_new_tokens=24, seed=3, step=5)


def engine(policy: Policy, **options: int) -> NativeEngine:
    made = NativeEngine(**options)
    made.sync(policy)
    return made


def by_id(groups: list[Group]) -> dict[str, list[list[int]]]:
    return {group.problem.id: [rollout.token_ids.tolist() for rollout in group.rollouts] for group in groups}


def contents(groups: list[Group]) -> list[Any]:
    """All that was sampled."""
    return [
        (r.token_ids.tolist(), r.logprobs.tolist(), r.entropies.tolist(), r.text, r.finish_reason)  # type: ignore[union-attr]
        for group in groups
        for r in group.rollouts
    ]


@pytest.mark.parametrize("shots", sampled([3, 0]))
def test_a_rollout_does_not_depend_on_batch_order_or_company(tiny64: Policy, shots: int) -> None:
    problems = [replace(p, prompt="What is 2 + 2?\n2 + 2 = 4\n\n" * shots + p.prompt) for p in PROBLEMS]
    sampling = replace(SAMPLING, group_size=3)
    whole = by_id(engine(tiny64).sample(problems, sampling))
    assert len({tuple(ids) for group in whole.values() for ids in group}) > 8, "rollouts differ"
    for cache_tokens in (1, 200):  # one rollout at a time, and a few that are admitted as others are retired
        assert by_id(engine(tiny64, cache_tokens=cache_tokens).sample(problems, sampling)) == whole
    assert by_id(engine(tiny64, prefill_tokens=1).sample(problems, sampling)) == whole
    assert by_id(engine(tiny64).sample(problems[::-1], sampling)) == whole
    assert by_id(engine(tiny64).sample(problems[2:3], sampling))["p2"] == whole["p2"]
    fewer = by_id(engine(tiny64).sample(problems, replace(sampling, group_size=2)))
    assert all(whole[name][:2] == ids for name, ids in fewer.items())


def test_both_ways_to_attend_give_the_same(tiny64: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [replace(p, prompt="What is 2 + 2?\n2 + 2 = 4\n\n" + p.prompt) for p in PROBLEMS]
    by_blocks = engine(tiny64, cache_tokens=300).sample(problems, SAMPLING)
    monkeypatch.setattr(Slots, "_blocks", Slots._explicit)
    written_out = engine(tiny64, cache_tokens=300).sample(problems, SAMPLING)
    assert by_id(by_blocks) == by_id(written_out)


def test_each_rollout_is_handed_on_as_soon_as_it_is_finished(tiny64: Policy) -> None:
    """In the order in which they finish, and without any other effect."""
    plain = engine(tiny64).sample(PROBLEMS, SAMPLING)
    finished: list[tuple[Problem, int, Rollout]] = []
    groups = engine(tiny64).sample(PROBLEMS, SAMPLING, on_finished=lambda *each: finished.append(each))
    assert contents(groups) == contents(plain)
    assert len(finished) == 24
    places = {group.problem.id: group for group in groups}
    assert {(problem.id, at) for problem, at, _ in finished} == {(problem.id, at) for problem in PROBLEMS for at in range(6)}
    assert all(places[problem.id].rollouts[at] is rollout for problem, at, rollout in finished)
    lengths = [len(rollout.token_ids) for _, _, rollout in finished]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_what_prompts_share_goes_through_the_model_once(tiny64: Policy) -> None:
    """The shared prefix once for each `sync`, each prompt once a call, each sampled token but the last once."""
    shared_prefix = "What is 2 + 2?\n2 + 2 = 4\n\n" * 5
    problems = [replace(p, prompt=shared_prefix + p.prompt) for p in PROBLEMS]
    prompts = [tiny64.encode(p.prompt) for p in problems]
    shared = shared_prefix_length(prompts)
    assert shared >= len(tiny64.encode(shared_prefix)) - 1
    sizes: list[int] = []
    hook = tiny64.model.base_model.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    sampler = engine(tiny64)
    try:
        groups = sampler.sample(problems, SAMPLING)
        fed = sum(len(r.token_ids) - 1 for group in groups for r in group.rollouts)
        assert sizes[:2] == [shared, sum(map(len, prompts)) - len(prompts) * shared]
        assert sum(sizes[2:]) == fed
        sizes.clear()
        assert contents(sampler.sample(problems, SAMPLING)) == contents(groups)
        assert sizes[0] != shared, "with the same weights the shared prefix is cached"
        sizes.clear()
        sampler.sync(tiny64)
        sampler.sample(problems, SAMPLING)
        assert sizes[0] == shared
    finally:
        hook.remove()


def test_the_others_are_not_finished_when_one_is_handed_on(tiny64: Policy) -> None:
    """An exception at the first one comes before the rest has been through the model."""
    passes: list[int] = []
    hook = tiny64.model.base_model.register_forward_pre_hook(lambda *_: passes.append(1))

    def leave(problem: Problem, at: int, rollout: Rollout) -> None:
        raise LookupError(len(rollout.token_ids))

    try:
        with pytest.raises(LookupError) as left:
            engine(tiny64).sample(PROBLEMS, SAMPLING, on_finished=leave)
        assert len(passes) == left.value.args[0]
        engine(tiny64).sample(PROBLEMS, SAMPLING)
        assert len(passes) > 2 * left.value.args[0], "the others take longer"
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
    (group,) = engine(tiny64).sample(PROBLEMS[:1], sampling)
    counts = np.bincount([rollout.token_ids[0] for rollout in group.rollouts], minlength=512)
    with torch.no_grad():
        logits = tiny64.model(torch.from_numpy(group.prompt_ids)[None]).logits[0, -1]
    probabilities = (logits / temperature).softmax(-1).numpy()
    common = probabilities * n >= 5
    z = (counts - n * probabilities)[common] / np.sqrt(n * probabilities * (1 - probabilities))[common]
    assert np.abs(z).max() < 4.5
    assert counts[~common].sum() < n * probabilities[~common].sum() + 5 * np.sqrt(n * probabilities[~common].sum()) + 5


def test_greedy_is_what_transformers_generates(tiny64: Policy) -> None:
    greedy = Sampling(group_size=1, temperature=0.0, max_new_tokens=24)
    for group in engine(tiny64).sample(PROBLEMS, greedy):
        prompt = torch.from_numpy(group.prompt_ids).long()[None]
        expected = tiny64.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=24, do_sample=False, pad_token_id=0
        )
        assert group.rollouts[0].token_ids.tolist() == expected[0, prompt.shape[1] :].tolist()


def test_recorded_logprobs_and_entropies_are_those_of_the_training_forward(tiny64: Policy) -> None:
    groups = engine(tiny64).sample(PROBLEMS, replace(SAMPLING, temperature=0.7))
    scored = [replace(group, rollouts=tuple(replace(r, reward=0.0) for r in group.rollouts)) for group in groups]
    training = training_tree(taking_part(scored))
    forward = TreeForward(tiny64.hidden, training.tree, device=torch.device("cpu"))
    (step,) = schedule_passes(training.tree, budget=10**6)
    with torch.no_grad():
        hidden, last = forward.hidden(step)
        batch = micro_batch(training, step, last, device=torch.device("cpu"))
        assert batch is not None
        logprobs_N, _ = tiny64.logprobs_and_entropies(hidden[batch.rows_N], batch.targets_N, temperature=0.7)
        all_logprobs = (tiny64.logits(hidden[batch.rows_N]) / 0.7).log_softmax(-1)
    # recorded numbers pass through float32 in the batch
    assert torch.allclose(logprobs_N, batch.sampling_logprobs_N.double(), atol=1e-5)
    entropies = [entropy for rollout in training.rollouts.values() for entropy in rollout.entropies]
    assert np.allclose(-(all_logprobs.exp() * all_logprobs).sum(-1).numpy(), entropies, atol=1e-9)


def test_finish_reasons_and_text(tiny64: Policy) -> None:
    for group in engine(tiny64).sample(PROBLEMS, replace(SAMPLING, max_new_tokens=12)):
        for rollout in group.rollouts:
            ended = rollout.token_ids[-1] in tiny64.eos_ids
            assert rollout.finish_reason == ("stop" if ended else "length")
            assert ended or len(rollout.token_ids) == 12
            assert not any(token in tiny64.eos_ids for token in rollout.token_ids[:-1])
            assert "<|endoftext|>" not in rollout.text
            assert (rollout.token_ids.dtype, rollout.logprobs.dtype) == (np.int32, np.float64)
            assert (rollout.logprobs <= 0).all()
            assert rollout.loss_mask.all()


def test_stop_strings_end_a_completion_exactly(tiny64: Policy) -> None:
    free = engine(tiny64).sample(PROBLEMS, SAMPLING)
    stops = (" =", "an")
    stopped = engine(tiny64).sample(PROBLEMS, replace(SAMPLING, stop=stops))
    hits = 0
    for before, after in zip(free, stopped, strict=True):
        for whole, cut in zip(before.rollouts, after.rollouts, strict=True):
            n = len(cut.token_ids)
            assert cut.token_ids.tolist() == whole.token_ids[:n].tolist(), "the noise is the same"
            assert cut.logprobs == pytest.approx(whole.logprobs[:n], abs=1e-9)
            found = [whole.text.find(stop) + len(stop) for stop in stops if stop in whole.text]
            assert cut.text == (whole.text[: min(found)] if found else whole.text)
            if found:
                hits += 1
                assert cut.finish_reason == "stop"
                assert not any(stop in tiny64.decode(cut.token_ids[:-1]) for stop in stops), "no token more than needed"
            else:
                assert (n, cut.finish_reason) == (len(whole.token_ids), whole.finish_reason)
    assert hits > 5


def test_a_stop_string_is_found_across_tokens(tiny64: Policy) -> None:
    stop = StopStrings(tiny64, ("</answer>", "é!"))
    for text, cut in (
        ("so <answer> 4 </answer> and", "so <answer> 4 </answer>"),
        ("caf\u00e9! and </answer>", "caf\u00e9!"),
        ("</answer", None),
        ("", None),
    ):
        ids = tiny64.encode(text)
        assert stop.cut(ids) == cut
        if cut:  # the token that completes the string is one of those that are looked at
            n = next(n for n in range(1, len(ids) + 1) if stop.cut(ids[:n]) is not None)
            assert stop.possible(ids[n - 1 : n])[0]
    assert not StopStrings(tiny64, ()).possible(np.arange(512)).any()


def test_what_is_sampled_is_of_the_policy_synced_last(tiny: Policy, tiny64: Policy) -> None:
    """Its numbers, its type, its version."""
    sampler = NativeEngine()
    with pytest.raises(AssertionError):
        sampler.sample(PROBLEMS, SAMPLING)
    for policy, computed_in in ((replace(tiny64, version=7), np.float64), (replace(moved(tiny), version=3), np.float32)):
        sampler.sync(policy)
        groups = sampler.sample(PROBLEMS, SAMPLING)
        assert contents(groups) == contents(engine(policy).sample(PROBLEMS, SAMPLING))
        for group in groups:
            for rollout in group.rollouts:
                assert rollout.policy_version == policy.version
                assert rollout.entropies is not None
                assert rollout.logprobs.dtype == rollout.entropies.dtype == computed_in
                assert rollout.logprobs.base is None or rollout.logprobs.base.size == len(rollout.token_ids), "a copy"
    sampler.close()
    with pytest.raises(AssertionError):
        sampler.sample(PROBLEMS, SAMPLING)


def test_options_are_checked() -> None:
    for name in ("cache_tokens", "prefill_tokens"):
        with pytest.raises(ValueError, match=f"{name}=0: must be at least 1"):
            NativeEngine(**{name: 0})
