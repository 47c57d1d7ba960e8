"""The model and its tokenizer, and the log-probabilities of completions under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rlvr.batch import MicroBatch
from rlvr.config import ConfigError, ModelConfig
from rlvr.model_source import model_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A causal language model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    eos_ids: tuple[int, ...]
    """Tokens that end a completion."""
    pad_id: int

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def context(self) -> int:
        """The most tokens of prompt and completion together."""
        return int(getattr(self.model.config, "max_position_embeddings", 2**31))

    def encode(self, prompt: str) -> tuple[int, ...]:
        """Token ids of a rendered prompt, with what the tokenizer puts in front of every text (usually nothing)."""
        rendered_by_template = self.tokenizer.bos_token is not None and prompt.startswith(str(self.tokenizer.bos_token))
        return tuple(self.tokenizer(prompt, add_special_tokens=not rendered_by_template)["input_ids"])

    def decode(self, token_ids: Sequence[int]) -> str:
        """The completion as judged: all that was sampled but the token that ended it. Special tokens stay visible."""
        ids = list(token_ids[:-1] if token_ids and token_ids[-1] in self.eos_ids else token_ids)
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def load_policy(model: ModelConfig) -> Policy:
    """Load model and tokenizer. Errors: `ConfigError` naming the key to set when they cannot be had."""
    source = model_source(model)
    transformers.utils.logging.disable_progress_bar()
    common: dict[str, Any] = {"revision": model.revision}
    if model.gguf_file:
        common["gguf_file"] = model.gguf_file
    options: dict[str, Any] = {"dtype": getattr(torch, model.dtype), "attn_implementation": model.attn_implementation}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
        if model.gguf_file:  # left in its packed blocks, a model can neither be trained nor saved
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
        network = AutoModelForCausalLM.from_pretrained(source, **common, **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        if isinstance(error, OSError) and model.path is None and model.package is None:
            raise ConfigError(
                f"model.name={model.name}: not in the local cache, and the hub did not give it; "
                "set model.path=FOLDER to a checkpoint on disk"
            ) from error
        raise ConfigError(f"model: {source} cannot be loaded: {str(error).splitlines()[0]}") from error
    if model.gradient_checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
    return as_policy(network, tokenizer)


def as_policy(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Policy:
    """A policy from a model and tokenizer at hand; every end-of-sequence token that either names ends a completion."""
    named: Any = getattr(network.generation_config, "eos_token_id", None)
    own: Any = tokenizer.eos_token_id
    eos_ids: set[int] = {*(named if isinstance(named, list) else [named]), own} - {None}
    if not eos_ids:
        raise ConfigError("model: neither the tokenizer nor the generation config names an end-of-sequence token")
    pad_id: Any = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(eos_ids)
    return Policy(model=network.eval(), tokenizer=tokenizer, eos_ids=tuple(sorted(eos_ids)), pad_id=pad_id)


def token_logprobs(model: torch.nn.Module, batch: MicroBatch, *, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probability of every completion token, and the entropy (nats, no gradient) of the distribution it came from.

    Returns logprobs_BT and entropy_BT in float32 at least; both are 0 on padding.
    """
    T = batch.completion_mask_BT.shape[1]
    positions_BL = (batch.attention_mask_BL.cumsum(dim=1) - 1).clamp(min=0)
    logits_BTV = model(
        input_ids=batch.input_ids_BL,
        attention_mask=batch.attention_mask_BL,
        position_ids=positions_BL,
        use_cache=False,
        logits_to_keep=T + 1,
    ).logits[:, :-1]
    logits_BTV = logits_BTV.to(torch.promote_types(logits_BTV.dtype, torch.float32)) / temperature
    all_logprobs_BTV = logits_BTV.log_softmax(dim=-1)
    logprobs_BT = all_logprobs_BTV.gather(-1, batch.completion_ids_BT[..., None]).squeeze(-1)
    with torch.no_grad():
        entropy_BT = -(all_logprobs_BTV.exp() * all_logprobs_BTV).sum(dim=-1)
    mask_BT = batch.completion_mask_BT
    return logprobs_BT * mask_BT, entropy_BT * mask_BT
