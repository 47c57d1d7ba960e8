"""Small models of many families with random weights, groups of random tokens, and the plain forward pass as a reference."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    Starcoder2Config,
)

from rlvr.types import Group, Problem, Rollout

VOCABULARY = 61

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,  # large enough for attention to matter
    "eos_token_id": 1,
    "bos_token_id": 2,
    "pad_token_id": 0,
}
_WINDOW = 5
"""Shorter than any path from prompt to completion."""

FAMILIES: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "qwen2": (Qwen2Config, {"tie_word_embeddings": False}),
    "qwen2.5": (Qwen2Config, {"tie_word_embeddings": True, "num_hidden_layers": 2}),
    "qwen2 with windows": (Qwen2Config, {"use_sliding_window": True, "sliding_window": _WINDOW, "max_window_layers": 1}),
    "qwen3": (Qwen3Config, {}),
    "llama": (LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "smollm": (
        LlamaConfig,
        {"tie_word_embeddings": True, "hidden_size": 24, "num_attention_heads": 3, "num_key_value_heads": 1},
    ),
    "gemma": (GemmaConfig, {}),
    "gemma2": (
        Gemma2Config,
        {
            "sliding_window": _WINDOW,
            "attn_logit_softcapping": 1.0,
            "final_logit_softcapping": 2.0,
            "query_pre_attn_scalar": 16,
        },
    ),
    "gemma3": (
        Gemma3TextConfig,
        {
            "sliding_window": _WINDOW,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "query_pre_attn_scalar": 16,
        },
    ),
    "mistral": (MistralConfig, {"sliding_window": _WINDOW}),
    "starcoder2": (Starcoder2Config, {"use_bias": True}),  # its norms alone stay in float64
}


def random_model(family: str, *, dtype: torch.dtype = torch.float64, **changes: Any) -> PreTrainedModel:
    """Has the same weights at every call; biases are random too."""
    kind, options = FAMILIES[family]
    return random_model_of(kind(**{**_SHAPE, **options, **changes}), dtype=dtype)


def random_model_of(config: PreTrainedConfig, *, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    state = torch.get_rng_state()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    torch.set_rng_state(state)
    return model.to(dtype).eval()


def random_group(prompt_ids: Sequence[int], lengths: Sequence[int], *, seed: int = 0) -> Group:
    """A prompt with completions of the given lengths, random rewards and random advantages other than 0."""
    draw = random.Random(f"{seed} {prompt_ids}")
    rollouts = tuple(
        Rollout(
            token_ids=random_ids(n, seed=draw.randrange(10**6)),
            logprobs=[-draw.random() for _ in range(n)],
            text="",
            finish_reason="stop",
            reward=draw.random(),
            advantage=draw.uniform(0.5, 2.0) * draw.choice([-1, 1]),
        )
        for n in lengths
    )
    return Group(problem=Problem(id="p", prompt="", truth={}), prompt_ids=np.array(prompt_ids), rollouts=rollouts)


def random_ids(n: int, *, seed: int) -> tuple[int, ...]:
    draw = random.Random(seed)
    return tuple(draw.randrange(3, VOCABULARY) for _ in range(n))


def plain_logprobs(model: PreTrainedModel, group: Group, rollout: Rollout, *, temperature: float = 1.0) -> Tensor:
    """Log-probabilities of a rollout's tokens [T] by the model's plain forward pass over prompt and completion."""
    logits_TV = _plain_logits(model, group, rollout) / temperature
    return logits_TV.log_softmax(dim=-1).gather(1, torch.tensor(rollout.token_ids).long()[:, None]).squeeze(1)


def plain_entropies(model: PreTrainedModel, group: Group, rollout: Rollout, *, temperature: float = 1.0) -> Tensor:
    """Entropies [T] of the distributions that a rollout's tokens were drawn from."""
    logits_TV = _plain_logits(model, group, rollout) / temperature
    return torch.distributions.Categorical(logits=logits_TV).entropy()


def _plain_logits(model: PreTrainedModel, group: Group, rollout: Rollout) -> Tensor:
    ids = torch.from_numpy(np.concatenate([group.prompt_ids, rollout.token_ids]))
    return model(input_ids=ids[None], use_cache=False).logits[0, len(group.prompt_ids) - 1 : -1]
