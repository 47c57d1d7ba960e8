"""Range and enum checks of a configuration."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.config.schema import (
    AGGREGATIONS,
    DEVIATIONS,
    DTYPES,
    KL_ESTIMATORS,
    PRECISIONS,
    RATIOS,
    SCALINGS,
    SURROGATES,
    AlgoConfig,
    Config,
    EarlyStopConfig,
    ModelConfig,
    VerifyConfig,
)
from rlvr.errors import ConfigError, nearest


def check_numbers(config: Config) -> None:
    """Check all numbers and named choices. Errors: `ConfigError`."""
    algo, evaluation = config.algo, config.eval
    at_least = {
        "seed": (config.seed, 0),
        "steps": (config.steps, 0),
        "algo.problems": (algo.problems, 1),
        "algo.group_size": (algo.group_size, 2),
        "algo.warmup_steps": (algo.warmup_steps, 0),
        "algo.weight_decay": (algo.weight_decay, 0),
        "algo.beta": (algo.beta, 0),
        "algo.entropy_bonus": (algo.entropy_bonus, 0),
        "algo.resample": (algo.resample, 0),
        "algo.updates_per_batch": (algo.updates_per_batch, 1),
        "algo.micro_batch_tokens": (algo.micro_batch_tokens, 1),
        "algo.max_prompt_tokens": (algo.max_prompt_tokens, 1),
        "algo.max_new_tokens": (algo.max_new_tokens, 1),
        "algo.clip_high": (algo.clip_high, 0),
        "checkpoint.every": (config.checkpoint.every, 1),
        "checkpoint.keep": (config.checkpoint.keep, 1),
        "eval.problems": (evaluation.problems, 0),
        "eval.every": (evaluation.every, 0),
        "eval.samples": (evaluation.samples, 0),
    }
    if algo.train_problems is not None:
        at_least["algo.train_problems"] = (algo.train_problems, 1)
    for key, (value, least) in at_least.items():
        reason = " (a group of one has nothing to compare with)" if key == "algo.group_size" else ""
        _check_least(key, value, least, reason)
    if config.seed >= 2**32:
        raise ConfigError(f"seed={config.seed}: must be below 2**32")
    for key in ("learning_rate", "max_grad_norm", "temperature"):
        _check_above_0(f"algo.{key}", getattr(algo, key))
    _check_above_0("eval.temperature", evaluation.temperature)
    for k in evaluation.ks:
        if not 1 <= k <= evaluation.samples:
            raise ConfigError(f"eval.ks={evaluation.ks}: {k} must lie in [1, eval.samples={evaluation.samples}]")
    _check_share("algo.clip_low", algo.clip_low)
    _check_early_stop(config.early_stop)
    _check_trained(config.model, algo)
    check_verify(config.verify)
    _check_choice("algo.ratio", algo.ratio, RATIOS)
    _check_choice("algo.surrogate", algo.surrogate, SURROGATES)
    _check_choice("algo.kl", algo.kl, KL_ESTIMATORS)
    _check_choice("algo.aggregation", algo.aggregation, AGGREGATIONS)
    _check_choice("algo.scaling", algo.scaling, SCALINGS)
    _check_choice("algo.deviation", algo.deviation, DEVIATIONS)
    _check_choice("cluster.mixed_precision", config.cluster.mixed_precision, PRECISIONS)
    _check_choice("model.dtype", config.model.dtype, DTYPES)


def _check_early_stop(early_stop: EarlyStopConfig) -> None:
    _check_least("early_stop.patience", early_stop.patience, 1)
    for key in ("min_entropy", "min_length"):
        if (least := getattr(early_stop, key)) is not None:
            _check_above_0(f"early_stop.{key}", least)
    for key in ("max_degenerate", "max_truncated"):
        most = getattr(early_stop, key)
        if most is not None and not 0 <= most < 1:
            raise ConfigError(f"early_stop.{key}={most}: must lie in [0, 1), or no share is above it")


def check_verify(verify: VerifyConfig) -> None:
    """The keys of `verify`, also for commands that score without a run. Errors: `ConfigError`."""
    at_least = {"retries": 0, "memory_mb": 1, "redis_in_flight": 1} | ({} if verify.workers is None else {"workers": 1})
    for key, least in at_least.items():
        _check_least(f"verify.{key}", getattr(verify, key), least)
    for key in ("deadline_s", "redis_patience_s", "redis_redeliver_s"):
        _check_above_0(f"verify.{key}", getattr(verify, key))
    _check_share("verify.max_error_share", verify.max_error_share)


def _check_trained(model: ModelConfig, algo: AlgoConfig) -> None:
    """Which weights are trained, and the KL reference: numbers, and options that exclude each other."""
    if model.lora_rank < 0:
        raise ConfigError(f"model.lora_rank={model.lora_rank}: must be at least 0 (0 trains all weights)")
    if not 0 < model.lora_alpha < float("inf"):
        raise ConfigError(f"model.lora_alpha={model.lora_alpha}: must be above 0")
    if model.lora_targets and not model.lora_rank:
        raise ConfigError(f"model.lora_targets={model.lora_targets}: needs model.lora_rank above 0 (0 trains all)")
    refresh = f"algo.reference_refresh={algo.reference_refresh}"
    if algo.reference_refresh < 0:
        raise ConfigError(f"{refresh}: must be at least 0 (0 keeps the untrained model)")
    if algo.reference_refresh and not algo.beta:
        raise ConfigError(f"{refresh}: needs algo.beta above 0; without it there is no reference")
    if algo.reference_refresh and model.lora_rank:
        raise ConfigError(
            f"{refresh}: cannot go with model.lora_rank={model.lora_rank}, where the reference is the model without its "
            "adapters; set one of them to 0"
        )


def _check_least(key: str, value: float, least: float, reason: str = "") -> None:
    if not value >= least:
        raise ConfigError(f"{key}={value}: must be at least {least}{reason}")


def _check_above_0(key: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ConfigError(f"{key}={value}: must be above 0")


def _check_share(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{key}={value}: must lie in [0, 1]")


def _check_choice(key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{key}={value}: there is no such choice{nearest(value, allowed)}")
