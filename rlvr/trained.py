"""Which options of what is trained, and of what it is kept close to, go together."""

from __future__ import annotations

from rlvr.config import AlgoConfig, ConfigError, ModelConfig


def check_trained(model: ModelConfig, algo: AlgoConfig) -> None:
    """Errors: `ConfigError` for a number, or a pair of options, that cannot be."""
    if model.lora_rank < 0:
        raise ConfigError(f"model.lora_rank={model.lora_rank}: must be at least 0 (0 trains all weights)")
    if not 0 < model.lora_alpha < float("inf"):
        raise ConfigError(f"model.lora_alpha={model.lora_alpha}: must be above 0")
    if model.lora_targets and not model.lora_rank:
        raise ConfigError(f"model.lora_targets={model.lora_targets}: needs model.lora_rank above 0 (0 trains all)")
    refresh = f"algo.reference_refresh={algo.reference_refresh}"
    if algo.reference_refresh < 0:
        raise ConfigError(f"{refresh}: must be at least 0 (0 keeps to the untrained model)")
    if algo.reference_refresh and not algo.beta:
        raise ConfigError(f"{refresh}: needs algo.beta above 0; without it there is no reference")
    if algo.reference_refresh and model.lora_rank:
        raise ConfigError(
            f"{refresh}: cannot go with model.lora_rank={model.lora_rank}, where the reference is the model without its "
            "adapters; set one of them to 0"
        )
