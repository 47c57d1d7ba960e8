"""Which models are accepted, which are refused, and that an accepted one computes the same as by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from random_models import FAMILIES, plain_logprobs, random_group, random_ids, random_model, random_model_of
from sampled import sampled
from transformers import (
    BloomConfig,
    CohereConfig,
    GptOssConfig,
    GraniteConfig,
    MambaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from rlvr.config.schema import ModelConfig
from rlvr.errors import ConfigError
from rlvr.models.load import as_policy, load_policy
from rlvr.models.policy import Policy
from rlvr.models.prefix_tree.attention import NAME
from rlvr.models.prefix_tree.forward import TreeForward
from rlvr.models.prefix_tree.layout import schedule_passes
from rlvr.training.batch import micro_batch, training_tree

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "pad_token_id": 0,
}
GROUPS = [random_group((*random_ids(8, seed=1), *random_ids(n, seed=n)), [5, 1, 7]) for n in (3, 4)]


def logprobs(policy: Policy, *, budget: int = 10_000, temperature: float = 1.0) -> torch.Tensor:
    """Of every token of GROUPS, one after another."""
    training = training_tree([(group, rollout) for group in GROUPS for rollout in group.rollouts])
    forward = TreeForward(policy.hidden, training.tree, device=CPU)
    found = []
    for step in schedule_passes(training.tree, budget=budget):
        hidden, last = forward.hidden(step)
        batch = micro_batch(training, step, last, device=CPU)
        if batch is not None:
            found.append(policy.logprobs_and_entropies(hidden[batch.rows_N], batch.targets_N, temperature=temperature)[0])
    return torch.cat(found)


def plain(model: PreTrainedModel, *, temperature: float = 1.0) -> torch.Tensor:
    return torch.cat([plain_logprobs(model, g, r, temperature=temperature) for g in GROUPS for r in g.rollouts])


NO_WORSE = 2.5
"""Bound on the mean rounding error of a tree over that of separate texts."""


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.detach().double() - exact.detach()).abs().mean())


@pytest.mark.parametrize(
    "config",
    [
        BloomConfig(vocab_size=61, hidden_size=32, n_head=4, n_layer=2),  # has no position ids
        MambaConfig(vocab_size=61, hidden_size=32, num_hidden_layers=2),  # has no attention
        GptOssConfig(**SMALL, head_dim=8, num_local_experts=4, num_experts_per_tok=2),  # has sinks in its softmax
    ],
    ids=["bloom", "mamba", "gpt-oss"],
)
def test_a_model_that_would_be_wrong_is_refused(config: PreTrainedConfig, tiny64: Policy) -> None:
    model = random_model_of(config, dtype=torch.float32)
    with pytest.raises(ConfigError, match=rf"^model: {type(model).__name__} .*completions.*share their prompt"):
        as_policy(model, tiny64.tokenizer)


class _Halved(Qwen2ForCausalLM):
    """Scales its logits in a way that its configuration does not show."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits / 2
        return output


def test_an_unknown_output_transformation_is_refused(tiny64: Policy) -> None:
    config = Qwen2Config(**SMALL)
    torch.manual_seed(0)
    assert as_policy(Qwen2ForCausalLM(config), tiny64.tokenizer).head.scale == 1.0
    with pytest.raises(ConfigError, match=r"^model: _Halved gives different logits"):
        as_policy(_Halved(config), tiny64.tokenizer)


def test_a_model_without_an_end_of_sequence_is_refused() -> None:
    model = random_model("qwen2", eos_token_id=None)
    model.generation_config.eos_token_id = None
    with pytest.raises(ConfigError, match="end-of-sequence"):
        as_policy(model, SimpleNamespace(eos_token_id=None))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", sampled(FAMILIES))
def test_every_family_is_accepted_in_every_type(family: str, tiny64: Policy) -> None:
    exact = plain(random_model(family))
    for dtype in (torch.float32, torch.bfloat16):
        policy = as_policy(random_model(family, dtype=dtype), tiny64.tokenizer)
        assert policy.model.config._attn_implementation == NAME
        found = logprobs(policy, budget=20)
        assert found.dtype == torch.float32
        assert error(found, exact) <= NO_WORSE * error(plain(random_model(family, dtype=dtype)), exact)


@pytest.mark.parametrize(
    "config",
    [GraniteConfig(**SMALL, logits_scaling=3.0, initializer_range=0.3), CohereConfig(**SMALL, logit_scale=0.3)],
    ids=["granite", "cohere"],
)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_scaled_logits(config: PreTrainedConfig, temperature: float, tiny64: Policy) -> None:
    wanted = plain(random_model_of(config), temperature=temperature)
    policy = as_policy(random_model_of(config), tiny64.tokenizer)
    assert policy.head.scale != 1.0
    assert (logprobs(policy, temperature=temperature) - wanted).abs().max() <= 1e-6


@pytest.mark.parametrize("budget", [10_000, 20])
@pytest.mark.parametrize("family", ["qwen2.5", "qwen3", "gemma2", "gemma3", "starcoder2"])
def test_mixed_precision(family: str, budget: int, tiny64: Policy) -> None:
    """Computes in bfloat16, also where norms return queries and keys, but not values, in float32."""
    exact = plain(random_model(family))
    with torch.autocast("cpu", torch.bfloat16):
        alone = plain(random_model(family, dtype=torch.float32))
    policy = as_policy(random_model(family, dtype=torch.float32), tiny64.tokenizer, autocast=torch.bfloat16)
    seen: list[torch.dtype] = []
    policy.model.base_model.layers[0].self_attn.o_proj.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    found = logprobs(policy, budget=budget)
    assert set(seen) == {torch.bfloat16}
    assert found.dtype == torch.float32
    assert error(found, exact) <= NO_WORSE * error(alone, exact)


@pytest.mark.parametrize("family", ["qwen2.5", "qwen3", "gemma2"])
def test_gradients_in_mixed_precision(family: str, tiny64: Policy) -> None:
    """About as close to those in float64 as in bfloat16 without a tree."""
    model = random_model(family)
    plain(model).sum().backward()
    alone = random_model(family, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        plain(alone).float().sum().backward()
    policy = as_policy(random_model(family, dtype=torch.float32), tiny64.tokenizer, autocast=torch.bfloat16)
    logprobs(policy).sum().backward()
    exact, by_itself, ours = (
        torch.cat([p.grad.double().flatten() for p in each.parameters() if p.grad is not None])
        for each in (model, alone, policy.model)
    )
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in policy.model.parameters())
    assert (ours - exact).norm() <= 1.2 * (by_itself - exact).norm()
    assert (ours - exact).norm() <= 0.3 * exact.norm()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_checkpointing_is_a_key(checkpointing: bool) -> None:
    policy = load_policy(ModelConfig(name="tiny", package="rlvr.assets.tiny", gradient_checkpointing=checkpointing))
    assert policy.model.is_activation_checkpointing == checkpointing
