"""Checks of a configuration: bounds and choices of all keys, and rules about pairs of keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from rlvr.config.schema import Config
from rlvr.errors import ConfigError


def check(config: Config) -> None:
    """Errors: `ConfigError` that names key, value and what is allowed."""
    wrong = [*_out_of_bounds(config, ""), *_at_odds(config)]
    if wrong:
        raise ConfigError(wrong[0])


def _out_of_bounds(section: Any, prefix: str) -> Iterator[str]:
    """Error lines of all keys of a section and of the sections in it. An optional key may be None."""
    for field in dataclasses.fields(section):
        key, value, bounds = f"{prefix}{field.name}", getattr(section, field.name), field.metadata.get("bounds")
        if dataclasses.is_dataclass(value):
            yield from _out_of_bounds(value, f"{key}.")
        elif bounds is not None and value is not None and not bounds.allow(value):
            yield bounds.refusal(key, value)


def _at_odds(config: Config) -> Iterator[str]:
    """Error lines of keys that do not go together."""
    model, algo, evaluation = config.model, config.algo, config.eval
    for k in evaluation.ks:
        if not 1 <= k <= evaluation.samples:
            yield f"eval.ks={evaluation.ks}: {k} must lie in [1, eval.samples={evaluation.samples}]"
    if model.lora_targets and not model.lora_rank:
        yield f"model.lora_targets={model.lora_targets}: needs model.lora_rank above 0 (0 trains all)"
    refresh = f"algo.reference_refresh={algo.reference_refresh}"
    if algo.reference_refresh and not algo.beta:
        yield f"{refresh}: needs algo.beta above 0; without it there is no reference"
    if algo.reference_refresh and model.lora_rank:
        yield (
            f"{refresh}: cannot go with model.lora_rank={model.lora_rank}, where the reference is the model without its "
            "adapters; set one of them to 0"
        )
