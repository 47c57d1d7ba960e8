"""Loads a model and its tokenizer as a policy, and checks that prefix sharing is exact for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rlvr.config.schema import ModelConfig
from rlvr.errors import ConfigError
from rlvr.models.policy import Head, Policy
from rlvr.models.prefix_tree.attention import NAME
from rlvr.models.prefix_tree.forward import TreeForward
from rlvr.models.prefix_tree.layout import build_tree, schedule_passes
from rlvr.models.source import model_source


def load_policy(model: ModelConfig, *, autocast: torch.dtype | None = None) -> Policy:
    """Load model and tokenizer. autocast: see `Policy`. Errors: `ConfigError` naming the key to set where that fails."""
    source = model_source(model)
    transformers.utils.logging.disable_progress_bar()
    common: dict[str, Any] = {"revision": model.revision}
    if model.gguf_file:
        common["gguf_file"] = model.gguf_file
    options: dict[str, Any] = {"dtype": getattr(torch, model.dtype)}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
        if model.gguf_file:  # quantized weights can be neither trained nor saved
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
        network = AutoModelForCausalLM.from_pretrained(source, **common, **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        if isinstance(error, OSError) and model.path is None and model.package is None:
            raise ConfigError(
                f"model.name={model.name}: not in the local cache and not available from the hub; "
                "set model.path=FOLDER to a checkpoint on disk"
            ) from error
        raise ConfigError(f"model: {source} cannot be loaded: {str(error).splitlines()[0]}") from error
    if model.gradient_checkpointing:
        network.activation_checkpointing_enable({"use_reentrant": False})
    return as_policy(network, tokenizer, autocast=autocast)


def as_policy(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, autocast: torch.dtype | None = None) -> Policy:
    """A policy from a loaded model and tokenizer; the end-of-sequence tokens of both end a completion.

    Errors: `ConfigError` for a model whose attention or output layer does not support prefix sharing.
    """
    named: Any = getattr(network.generation_config, "eos_token_id", None)
    own: Any = tokenizer.eos_token_id
    eos_ids: set[int] = {*(named if isinstance(named, list) else [named]), own} - {None}
    if not eos_ids:
        raise ConfigError("model: neither the tokenizer nor the generation config names an end-of-sequence token")
    policy = Policy(
        model=network.eval(),
        tokenizer=tokenizer,
        eos_ids=tuple(sorted(eos_ids)),
        head=_head(network),
        autocast=autocast,
    )
    _check_shares_prefixes(policy)
    return policy


def _head(network: PreTrainedModel) -> Head:
    if network.get_output_embeddings() is None:
        raise ConfigError(f"model: {type(network).__name__} has no output layer to get log-probabilities from")
    config: Any = network.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
    return Head(scale=float(scale), softcap=getattr(config, "final_logit_softcapping", None))


@torch.no_grad()
def _check_shares_prefixes(policy: Policy) -> None:
    """Two completions of a prompt as a tree must give the logits of the plain forward pass, for this very model.

    The plain pass comes first, with the model's original attention.
    """
    network, device = policy.model, policy.model.device
    kind = f"model: {type(network).__name__}"
    ids = np.arange(6) % network.config.get_text_config().vocab_size
    tree = build_tree([ids[:2]], [[ids[2:4], ids[4:]]])
    try:
        texts = torch.from_numpy(ids[[[0, 1, 2, 3], [0, 1, 4, 5]]]).to(device)
        with torch.autocast(device.type, policy.autocast, enabled=policy.autocast is not None):
            plain_4V = torch.cat([network(input_ids=text[None], use_cache=False).logits[0, 2:] for text in texts])
        network.set_attn_implementation(NAME)
        hidden_6W, _ = TreeForward(policy.hidden, tree, device=device).hidden(schedule_passes(tree, budget=6)[0])
        ours_4V = policy.logits(hidden_6W[2:])
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError) as error:  # depends on the architecture
        raise ConfigError(
            f"{kind} does not support a replaced attention function, so completions cannot share their prompt: {error}"
        ) from error
    plain_4V = plain_4V.to(ours_4V.dtype)
    computed_in = policy.autocast or network.dtype
    rounding = 1e-3 if torch.finfo(computed_in).bits >= 32 else 0.05
    if not (ours_4V - plain_4V).abs().max() <= rounding * plain_4V.abs().max():
        raise ConfigError(
            f"{kind} gives different logits when completions share their prompt; this architecture is not supported"
        )
