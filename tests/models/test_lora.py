"""LoRA adapters: what is trained, the gradient, the reference, and what is saved."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from forked import run, start
from learning import copy_of, gradient, groups
from random_models import plain_logprobs, random_group, random_model
from sampled import sampled
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlvr.config.compose import compose
from rlvr.config.schema import AlgoConfig, ModelConfig
from rlvr.errors import ConfigError
from rlvr.models.load import as_policy
from rlvr.models.lora import adapters_off, add_adapters, has_adapters, merged_state
from rlvr.models.policy import Policy
from rlvr.rollout.base import Sampling
from rlvr.rollout.native.engine import NativeEngine
from rlvr.runs.folder import RunFolder
from rlvr.runs.plan import plan
from rlvr.training.learner import Learner
from rlvr.types import Problem

FAMILIES = ["qwen2", "qwen2.5", "gemma2", "llama"]
IDS = torch.tensor([[3, 9, 4, 20, 7, 5]])


def options(**changes: Any) -> ModelConfig:
    return ModelConfig(name="tiny", package="rlvr.assets.tiny", **{"lora_rank": 4, **changes})


def adapted(policy: Policy, *, stirred: bool = True, dtype: torch.dtype = torch.float64, **changes: Any) -> Policy:
    """A copy with adapters; `stirred`: whose B are no longer zero, as after some training."""
    other = copy_of(policy)
    add_adapters(other.model, options(**changes), seed=0)
    other.model.to(dtype)
    return _stirred(other) if stirred else other


def _stirred(policy: Policy) -> Policy:
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))
    return policy


def trained(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def the_rest(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if "lora_" not in name}


def same(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


@pytest.mark.parametrize("targets", [[], ["layers.1.self_attn.o_proj"], ["q_proj", "v_proj"]], ids=["all", "one", "two"])
@pytest.mark.parametrize("family", sampled([*FAMILIES, "starcoder2"]))
def test_the_gradient_through_the_tree_is_that_of_the_plain_forward(tiny64: Policy, family: str, targets: list[str]) -> None:
    """Each rollout separately through the model, against all at once with shared prompts, in many passes."""
    model = random_model(family)
    add_adapters(model, options(lora_targets=targets), seed=0)
    policy = _stirred(as_policy(model.to(torch.float64), tiny64.tokenizer))
    batch = [random_group((5, 9, 11, 4), (3, 6, 2)), random_group((5, 9, 7), (4, 1))]
    plain = random_model(family)
    add_adapters(plain, options(lora_targets=targets), seed=0)
    _stirred(dataclasses.replace(policy, model=plain.to(torch.float64)))
    parts = [(r.advantage, plain_logprobs(plain, g, r)) for g in batch for r in g.rollouts]
    (-sum(advantage * logprobs_T.mean() for advantage, logprobs_T in parts) / len(parts)).backward()  # type: ignore[union-attr]
    wanted = {name: p.grad for name, p in plain.named_parameters() if p.requires_grad}
    assert wanted
    assert all("lora_" in name for name in wanted)
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in plain.parameters()])
    for budget in (4, 10_000):
        ours = gradient(policy, batch, micro_batch_tokens=budget)
        assert (ours - flat).abs().max() <= 1e-6 * flat.abs().max()


def test_only_adapters_are_trained_and_kept(tiny: Policy) -> None:
    policy = adapted(tiny, stirred=False, dtype=torch.float32)
    rest, before = the_rest(policy.model), trained(policy.model)
    learner = Learner(policy, AlgoConfig(learning_rate=1e-2, warmup_steps=0, weight_decay=0.1), Accelerator(cpu=True), None)
    assert learner.update(groups(policy))["policy/grad_norm"] > 0.0
    state = learner.state()
    assert same(rest, the_rest(policy.model))
    assert set(state["weights"]) == set(before)
    assert len(state["optimizer"]["state"]) == len(before)
    n_layers = tiny.model.config.get_text_config().num_hidden_layers
    assert len(before) == 2 * 7 * n_layers, "two matrices for each of seven linear layers"
    assert any(not torch.equal(before[name], value) for name, value in state["weights"].items())


def test_a_learner_resumes_with_the_same_bits(tiny: Policy) -> None:
    algo = AlgoConfig(learning_rate=1e-2, warmup_steps=0, beta=0.1)
    whole = adapted(tiny, stirred=False, dtype=torch.float32)
    learner = Learner(whole, algo, Accelerator(cpu=True), whole)
    learner.update(groups(whole))
    saved = copy.deepcopy(learner.state())
    wanted = learner.update(groups(whole))
    other = adapted(tiny, dtype=torch.float32)  # different adapters, until the state is loaded
    resumed = Learner(other, algo, Accelerator(cpu=True), other)
    resumed.load_state(saved)
    assert resumed.update(groups(other)) == wanted
    assert same(trained(other.model), trained(whole.model))


def test_adapters_start_from_the_seed_alone(tiny: Policy) -> None:
    def drawn(seed: int) -> dict[str, Tensor]:
        other = copy_of(tiny)
        add_adapters(other.model, options(), seed=seed)
        return trained(other.model)

    torch.manual_seed(5)
    first, left = drawn(0), torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), left), "other random numbers do not change"
    assert same(first, drawn(0))
    assert not same(first, drawn(1))
    assert all(not value.any() for name, value in first.items() if "lora_B" in name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adapters_off_is_the_model_as_it_was(tiny: Policy, dtype: torch.dtype) -> None:
    base = copy_of(tiny)
    base.model.to(dtype)
    policy = copy_of(base)
    add_adapters(policy.model, options(), seed=0)
    _stirred(policy)
    assert {p.dtype for p in trained(policy.model).values()} == {torch.float32}
    with torch.no_grad():
        ids, positions = IDS[0], torch.arange(6)[None]
        plain = base.model(input_ids=ids[None], position_ids=positions, use_cache=False).logits
        on = policy.model(input_ids=ids[None], position_ids=positions, use_cache=False).logits
        with adapters_off(policy.model):
            off = policy.model(input_ids=ids[None], position_ids=positions, use_cache=False).logits
        again = policy.model(input_ids=ids[None], position_ids=positions, use_cache=False).logits
    assert torch.equal(off, plain)
    assert torch.equal(on, again)
    assert not torch.equal(on, plain)
    assert trained(policy.model), "adapters can be trained after having been off"


def test_the_reference_is_the_model_without_adapters(tiny64: Policy) -> None:
    """The same loss, divergence and gradient as with a copy of the untrained model in memory."""
    policy, algo = adapted(tiny64), AlgoConfig(beta=0.3, learning_rate=1e-3, warmup_steps=0)
    other = copy_of(policy)
    ours, theirs = (
        Learner(each, algo, Accelerator(cpu=True), reference).update(groups(each))
        for each, reference in ((policy, policy), (other, copy_of(tiny64)))
    )
    assert ours == theirs
    assert ours["policy/kl"] > 1e-3
    assert same(trained(policy.model), trained(other.model))


def test_sampling_draws_from_the_adapted_model(tiny64: Policy) -> None:
    """The log-probabilities that the engine records are those of the plain forward with adapters, after an update too."""
    policy = adapted(tiny64)
    engine, base = NativeEngine(), copy_of(tiny64)
    learner = Learner(policy, AlgoConfig(learning_rate=1e-2, warmup_steps=0), Accelerator(cpu=True), None)
    problems = [Problem(id=f"p{i}", prompt=f"What is {i} + 2?\n", truth={"answer": "7"}) for i in range(2)]
    sampling = Sampling(seed=0, step=1, group_size=3, temperature=1.0, max_new_tokens=12)
    for _ in range(2):
        engine.sync(policy)
        rollouts = [(group, rollout) for group in engine.sample(problems, sampling) for rollout in group.rollouts]
        with torch.no_grad():
            for group, rollout in rollouts:
                assert np.abs(plain_logprobs(policy.model, group, rollout).numpy() - rollout.logprobs).max() < 1e-4
            apart = [np.abs(plain_logprobs(base.model, g, r).numpy() - r.logprobs).max() for g, r in rollouts]
        assert max(apart) > 1e-2
        learner.update(groups(policy))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_saved_loads_without_peft(tiny64: Policy, family: str, tmp_path: Path) -> None:
    model = random_model(family)
    add_adapters(model, options(), seed=0)
    policy = _stirred(as_policy(model.to(torch.float64), tiny64.tokenizer))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.set_attn_implementation("eager")
    with torch.no_grad():
        wanted = plain_logprobs(model, *_one())
    RunFolder(path=tmp_path).save_model(policy)
    RunFolder(path=tmp_path).save_model(policy)  # as a resumed run does
    assert same(state, model.state_dict()), "the policy is unchanged"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "model"]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float64, attn_implementation="eager")
    assert not has_adapters(loaded)
    assert set(loaded.state_dict()) == set(random_model(family).state_dict())
    with torch.no_grad():
        assert (plain_logprobs(loaded, *_one()) - wanted).abs().max() < 1e-5
        assert (plain_logprobs(random_model(family, attn_implementation="eager"), *_one()) - wanted).abs().max() > 1e-2


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers by the old name
def test_the_adapter_loads_with_peft(tiny64: Policy, tmp_path: Path) -> None:
    from peft import PeftModel

    policy = adapted(tiny64)
    RunFolder(path=tmp_path).save_model(policy)
    loaded: Any = PeftModel.from_pretrained(copy_of(tiny64).model, str(tmp_path / "adapter"))
    found = {name.removeprefix("base_model.model."): p.detach() for name, p in loaded.named_parameters() if "lora_" in name}
    assert same(found, trained(policy.model))


def test_merging_rounds_once(tiny: Policy) -> None:
    policy = copy_of(tiny)
    policy.model.to(torch.bfloat16)
    add_adapters(policy.model, options(), seed=0)
    _stirred(policy)
    name = "model.layers.0.mlp.up_proj"
    layer = policy.model.get_submodule(name)
    a, b = (dict(layer.named_parameters())[f"lora_{each}.default.weight"] for each in "AB")
    base = dict(layer.named_parameters())["base_layer.weight"]
    assert torch.equal(merged_state(policy.model)[f"{name}.weight"], (base + b @ a * (32.0 / 4)).bfloat16())


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens", "qproj", "mlp", "norm"])
def test_a_target_that_is_no_linear_layer_is_refused(tiny: Policy, target: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"model.lora_targets={target}: there is no such linear layer \(allowed: q_proj, k_p"
    ):
        add_adapters(copy_of(tiny).model, options(lora_targets=["q_proj", target]), seed=0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.lora_rank=-1"], "model.lora_rank=-1: must be at least 0"),
        (["model.lora_rank=4", "model.lora_alpha=0"], "model.lora_alpha=0.0: must be above 0"),
        (["model.lora_rank=4", "model.lora_alpha=inf"], "model.lora_alpha=inf: must be above 0"),
        (["model.lora_targets=[q_proj]"], "model.lora_targets=['q_proj']: needs model.lora_rank above 0"),
        (["algo.reference_refresh=-1", "algo.beta=0.1"], "algo.reference_refresh=-1: must be at least 0"),
        (["algo.reference_refresh=2"], "algo.reference_refresh=2: needs algo.beta above 0"),
        (["algo.reference_refresh=2", "algo.beta=0.1", "model.lora_rank=4"], "cannot go with model.lora_rank=4"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(compose(overrides))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def _one() -> tuple[Any, Any]:
    group = random_group((5, 9, 11, 4), (6,))
    return group, group.rollouts[0]


SMALL = ["steps=2", "eval.every=0", "eval.problems=2", "eval.forced_prefix=null", "checkpoint.every=1", "tracking=none"]
SMALL += ["algo.problems=2", "algo.group_size=4", "algo.max_new_tokens=32"]
SMALL += ["algo.beta=0.05", "algo.learning_rate=0.01", "model.lora_rank=4"]


def _bits(folder: Path) -> dict[str, str]:
    files = [folder / "model" / "model.safetensors", folder / "adapter" / "adapter_model.safetensors"]
    files += (folder / "rollouts").iterdir()
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    run("train", *SMALL, f"hydra.run.dir={tmp_path}/whole").check_returncode()
    killed = tmp_path / "killed"
    command = start("train", *SMALL, f"hydra.run.dir={killed}")
    end = time.monotonic() + 120
    while not (killed / "rollouts" / "00000002-train.parquet").exists():
        assert time.monotonic() < end, command.stderr
        time.sleep(0.002)
    command.kill()
    command.wait()
    run("train", f"resume={killed}").check_returncode()
    assert _bits(killed) == _bits(tmp_path / "whole")
    saved = torch.load(killed / "checkpoints" / "2" / "tensors.pt", weights_only=True)
    assert all("lora_" in name for name in saved["weights"])
