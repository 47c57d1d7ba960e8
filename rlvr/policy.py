"""The model and its tokenizer: hidden states of packed tokens, logits and log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from rlvr.config import ConfigError, ModelConfig
from rlvr.head import chosen_logprobs
from rlvr.model_source import model_source
from rlvr.tree.attention import NAME, Attending
from rlvr.tree.forward import TreeForward
from rlvr.tree.layout import grow, plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a model does to the output of its last layer: softcap x tanh(linear / softcap), if there is a soft cap, x scale."""

    scale: float = 1.0
    softcap: float | None = None


@dataclass(slots=True, kw_only=True)
class Policy:
    """A causal language model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    eos_ids: tuple[int, ...]
    """Tokens that end a completion."""
    pad_id: int
    head: Head
    autocast: torch.dtype | None = None
    """Type that the model computes in where that is not the type of its weights (mixed precision)."""
    version: int = 0
    """Of the weights: counts up whenever they change, so that what was computed with them can be kept until then."""

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def context(self) -> int:
        """The most tokens of prompt and completion together."""
        return int(getattr(self.model.config, "max_position_embeddings", 2**31))

    @property
    def _output_layer(self) -> Any:
        """Linear, width to vocabulary."""
        return self.model.get_output_embeddings()

    def encode(self, prompt: str) -> tuple[int, ...]:
        """Token ids of a rendered prompt, with what the tokenizer puts in front of every text (usually nothing)."""
        rendered_by_template = self.tokenizer.bos_token is not None and prompt.startswith(str(self.tokenizer.bos_token))
        return tuple(self.tokenizer(prompt, add_special_tokens=not rendered_by_template)["input_ids"])

    def decode(self, token_ids: Sequence[int]) -> str:
        """The completion as judged: all that was sampled but the token that ended it. Special tokens stay visible."""
        ids = list(token_ids[:-1] if token_ids and token_ids[-1] in self.eos_ids else token_ids)
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def hidden(self, ids_N: Tensor, positions_N: Tensor, tree: Attending) -> Tensor:
        """Last hidden states [N, width] of packed tokens, each of which attends as `tree` says."""
        device = ids_N.device
        ready = torch.zeros((1, 1, 1, 1), device=device)  # a mask of four dimensions is taken as it is; `tree` decides instead
        with torch.autocast(device.type, self.autocast, enabled=self.autocast is not None):
            output = self.model.base_model(
                input_ids=ids_N[None], position_ids=positions_N[None], attention_mask=ready, use_cache=False, tree=tree
            )
        return output.last_hidden_state[0]

    def logits(self, hidden_MW: Tensor) -> Tensor:
        """Of the next token, for each row: [M, V], in float32 at least."""
        with torch.autocast(hidden_MW.device.type, self.autocast, enabled=self.autocast is not None):
            logits_MV = self._output_layer(hidden_MW)
        logits_MV = logits_MV.to(torch.promote_types(logits_MV.dtype, torch.float32))
        if self.head.softcap is not None:
            logits_MV = self.head.softcap * torch.tanh(logits_MV / self.head.softcap)
        return logits_MV * self.head.scale if self.head.scale != 1.0 else logits_MV

    def logprobs(self, hidden_MW: Tensor, targets_M: Tensor, *, temperature: float) -> Tensor:
        """Log-probability (nats) of a token for each row, under the distribution that sampling draws from."""
        return self.logprobs_and_entropies(hidden_MW, targets_M, temperature=temperature, entropies=False)[0]

    def logprobs_and_entropies(
        self, hidden_MW: Tensor, targets_M: Tensor, *, temperature: float, entropies: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """As `logprobs`, with the entropy (nats) of that distribution for each row; `entropies`: whether it is computed."""
        layer = self._output_layer
        if self.autocast is not None:
            hidden_MW = hidden_MW.to(self.autocast)
        return chosen_logprobs(
            hidden_MW,
            layer.weight,
            layer.bias,
            targets_M,
            scale=self.head.scale / temperature,
            softcap=self.head.softcap,
            entropies=entropies,
        )


def load_policy(model: ModelConfig, *, autocast: torch.dtype | None = None) -> Policy:
    """Load model and tokenizer. Errors: `ConfigError` naming the key to set when they cannot be had."""
    source = model_source(model)
    transformers.utils.logging.disable_progress_bar()
    common: dict[str, Any] = {"revision": model.revision}
    if model.gguf_file:
        common["gguf_file"] = model.gguf_file
    options: dict[str, Any] = {"dtype": getattr(torch, model.dtype)}
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
        network.activation_checkpointing_enable({"use_reentrant": False})
    return as_policy(network, tokenizer, autocast=autocast)


def as_policy(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, autocast: torch.dtype | None = None) -> Policy:
    """A policy from a model and tokenizer at hand; every end-of-sequence token that either names ends a completion.

    Errors: `ConfigError` for a model whose attention or output layer is not the one that sharing prefixes relies on.
    """
    named: Any = getattr(network.generation_config, "eos_token_id", None)
    own: Any = tokenizer.eos_token_id
    eos_ids: set[int] = {*(named if isinstance(named, list) else [named]), own} - {None}
    if not eos_ids:
        raise ConfigError("model: neither the tokenizer nor the generation config names an end-of-sequence token")
    pad_id: Any = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(eos_ids)
    policy = Policy(
        model=network.eval(),
        tokenizer=tokenizer,
        eos_ids=tuple(sorted(eos_ids)),
        pad_id=pad_id,
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

    The plain pass comes first, with the attention that the model came with.
    """
    network, device = policy.model, policy.model.device
    kind = f"model: {type(network).__name__}"
    ids = [i % network.config.get_text_config().vocab_size for i in range(6)]
    tree = grow([tuple(ids[:2])], [[tuple(ids[2:4]), tuple(ids[4:])]])
    try:
        texts = [torch.tensor([[*ids[:2], *leaf]], device=device) for leaf in (ids[2:4], ids[4:])]
        with torch.autocast(device.type, policy.autocast, enabled=policy.autocast is not None):
            plain_4V = torch.cat([network(input_ids=text, use_cache=False).logits[0, 2:] for text in texts])
        network.set_attn_implementation(NAME)
        hidden_6W, _ = TreeForward(policy.hidden, tree, device=device).hidden(plan(tree, budget=6)[0])
        ours_4V = policy.logits(hidden_6W[2:])
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RuntimeError) as error:  # whatever it is made of
        raise ConfigError(
            f"{kind} cannot take its attention from outside, so completions cannot share their prompt: {error}"
        ) from error
    plain_4V = plain_4V.to(ours_4V.dtype)
    computed_in = policy.autocast or network.dtype
    rounding = 1e-3 if torch.finfo(computed_in).bits >= 32 else 0.05
    if not (ours_4V - plain_4V).abs().max() <= rounding * plain_4V.abs().max():
        raise ConfigError(f"{kind} gives other logits when completions share their prompt; this family is not supported")
