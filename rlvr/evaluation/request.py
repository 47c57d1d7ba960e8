"""What the configuration asks of an evaluation: its rules, and where they are found."""

from __future__ import annotations

from dataclasses import replace

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from rlvr.build import rule_pack
from rlvr.compose import compose
from rlvr.config import Config, ConfigError
from rlvr.evaluation.beside import PREFIX
from rlvr.rules.pack import RulePack


def evaluation_rules(config: Config) -> RulePack | None:
    """The pack that `eval.rules` names, from wherever the packs of a running Hydra application come from; None without it.

    Errors: `ConfigError` as for `rules=PACK`, and where one of the run's own rules has a name that begins with `eval.`.
    """
    if not config.eval.rules:
        return None
    taken = next((name for name in config.rules if name.startswith(PREFIX)), None)
    if taken:
        raise ConfigError(f"rules.{taken}: a name that begins with {PREFIX} belongs to the rules of an evaluation; rename it")
    searched = _searched()
    try:
        rules = compose([f"rules={config.eval.rules}", *searched]).rules
        return rule_pack(replace(config, rules=rules))
    except ConfigError as error:
        raise ConfigError(f"eval.{error}" if str(error).startswith("rules") else f"eval.rules: {error}") from error


def _searched() -> list[str]:
    """Where else than in this project the running application looks for packs (`--config-dir`), as an override."""
    if not GlobalHydra.instance().is_initialized() or not HydraConfig.initialized():
        return []
    sources = [source for source in HydraConfig.get().runtime.config_sources if source.provider not in ("hydra", "main")]
    paths = [f"{source.schema}://{source.path}" for source in sources if source.schema in ("file", "pkg")]
    return [f"hydra.searchpath={paths}"] if paths else []
