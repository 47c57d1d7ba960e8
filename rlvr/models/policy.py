"""The policy: a model with its tokenizer; hidden states of packed tokens, logits and log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlvr.models.logprobs import chosen_logprobs
from rlvr.models.prefix_tree.attention import Attending


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """From the output layer's result to logits: softcap x tanh(linear / softcap) if there is a soft cap, x scale."""

    scale: float = 1.0
    softcap: float | None = None


@dataclass(slots=True, kw_only=True)
class Policy:
    """A causal language model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    eos_ids: tuple[int, ...]
    """Tokens that end a completion."""
    head: Head
    autocast: torch.dtype | None = None
    """The type to compute in, where it is not that of the weights (mixed precision)."""
    version: int = 0
    """Version of the weights: how many updates they have had since the run began."""

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def context(self) -> int:
        """Context length: the most tokens of prompt and completion together."""
        return int(getattr(self.model.config, "max_position_embeddings", 2**31))

    @property
    def _output_layer(self) -> Any:
        """Linear, W to V."""
        return self.model.get_output_embeddings()

    def encode(self, prompt: str) -> np.ndarray:
        """Token ids of a rendered prompt (int32 [S]), with the special tokens that the tokenizer adds to every text, if any."""
        rendered_by_template = self.tokenizer.bos_token is not None and prompt.startswith(str(self.tokenizer.bos_token))
        return np.array(self.tokenizer(prompt, add_special_tokens=not rendered_by_template)["input_ids"], dtype=np.int32)

    def decode(self, token_ids: np.ndarray) -> str:
        """The completion as scored: all sampled tokens except the end-of-sequence token. Special tokens stay visible."""
        if len(token_ids) and token_ids[-1] in self.eos_ids:
            token_ids = token_ids[:-1]
        return str(self.tokenizer.decode(token_ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def hidden(self, ids_N: Tensor, positions_N: Tensor, tree: Attending) -> Tensor:
        """Last hidden states [N, W] of packed tokens. tree: which tokens each of them attends to."""
        device = ids_N.device
        ready = torch.zeros((1, 1, 1, 1), device=device)  # a 4-d mask is passed on unchanged; `tree` decides instead
        with torch.autocast(device.type, self.autocast, enabled=self.autocast is not None):
            output = self.model.base_model(
                input_ids=ids_N[None], position_ids=positions_N[None], attention_mask=ready, use_cache=False, tree=tree
            )
        return output.last_hidden_state[0]

    def logits(self, hidden_MW: Tensor) -> Tensor:
        """Logits of the next token for each row: [M, V], at least float32."""
        with torch.autocast(hidden_MW.device.type, self.autocast, enabled=self.autocast is not None):
            logits_MV = self._output_layer(hidden_MW)
        logits_MV = logits_MV.to(torch.promote_types(logits_MV.dtype, torch.float32))
        if self.head.softcap is not None:
            logits_MV = self.head.softcap * torch.tanh(logits_MV / self.head.softcap)
        return logits_MV * self.head.scale if self.head.scale != 1.0 else logits_MV

    def logprobs_and_entropies(
        self, hidden_MW: Tensor, targets_M: Tensor, *, temperature: float, entropies: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probability of a token for each row, under the sampling distribution, and that distribution's entropy (nats).

        entropies: whether they are computed; else None.
        """
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
