"""LoRA adapters through peft: small trained matrices next to frozen weights.

LoRA, Hu et al. 2021, arXiv:2106.09685: a linear layer W becomes W + (alpha / rank) B A. B starts at zero, so training starts
from the loaded model. With adapters off the network is that model again, so the reference of a KL penalty needs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from rlvr.config.schema import ModelConfig
from rlvr.errors import ConfigError

_ADAPTER = "default"


def add_adapters(network: PreTrainedModel, model: ModelConfig, *, seed: int) -> None:
    """Put an adapter on every layer that `model.lora_targets` names, in place, and freeze everything else.

    Adapters are float32 where the weights are float16 or bfloat16. The start of A depends on `seed` alone.
    Errors: `ConfigError` for a target that is no linear layer below the output layer (whose weights are read directly).
    """
    import peft  # takes seconds

    head = network.get_output_embeddings()
    layers = [n for n, each in network.named_modules() if isinstance(each, torch.nn.Linear | Conv1D) and each is not head]
    for target in model.lora_targets:
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            allowed = dict.fromkeys(name.rpartition(".")[2] for name in layers)
            raise ConfigError(f"model.lora_targets={target}: there is no such linear layer (allowed: {', '.join(allowed)})")
    lora = peft.LoraConfig(
        r=model.lora_rank,
        lora_alpha=model.lora_alpha,  # pyright: ignore[reportArgumentType] # any number does
        target_modules=list(model.lora_targets) or "all-linear",
        task_type="CAUSAL_LM",
        base_model_name_or_path=network.name_or_path,
        revision=model.revision,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        peft.inject_adapter_in_model(lora, network, adapter_name=_ADAPTER)
    network.eval()  # what peft adds is in training mode
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()


def has_adapters(network: PreTrainedModel) -> bool:
    return hasattr(network, "peft_config")


@contextmanager
def adapters_off(network: PreTrainedModel) -> Iterator[None]:
    """Within, the network computes what it did before `add_adapters`, to the bit."""
    layers = [layer for _, layer in _adapted(network)]
    try:
        for layer in layers:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@torch.no_grad()
def merged_state(network: PreTrainedModel) -> dict[str, Tensor]:
    """State dict of the same network without adapters: each adapter is added to its layer's weight, rounded once.

    The network itself is unchanged. Sums are kept in CPU memory, so that the device needs no more.
    """
    state = {name: each for name, each in network.state_dict().items() if ".base_layer." not in name and ".lora_" not in name}
    for name, layer in _adapted(network):
        for own, value in layer.get_base_layer().state_dict().items():
            merged = (value + layer.get_delta_weight(_ADAPTER)).to(value.dtype).cpu() if own == "weight" else value
            state[f"{name}.{own}"] = merged
    return state


def save_adapters(network: PreTrainedModel, folder: Path) -> None:
    """Save the adapters for `peft.PeftModel.from_pretrained(base, folder)`."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    state = get_peft_model_state_dict(network, adapter_name=_ADAPTER, save_embedding_layers=False)
    tensors = {f"base_model.model.{name}": each.detach().cpu().contiguous() for name, each in state.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config: Any = network.peft_config  # pyright: ignore[reportAttributeAccessIssue] # peft puts it there
    config[_ADAPTER].save_pretrained(folder)


def _adapted(network: PreTrainedModel) -> list[tuple[str, Any]]:
    """The layers with adapters, by name."""
    from peft.tuners.lora import LoraLayer

    return [(name, each) for name, each in network.named_modules() if isinstance(each, LoraLayer)]
