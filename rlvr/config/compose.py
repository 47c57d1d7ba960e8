"""Hydra's side of the configuration: the schema, `rules=a+b`, `dataset=[a,b]`, and errors a user can read.

Importing this module registers with Hydra the schema, and the config source of joined packs and mixtures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from rlvr.config.overrides import for_hydra
from rlvr.config.redact import without_password
from rlvr.config.schema import Config
from rlvr.config.validate import check
from rlvr.errors import ConfigError, nearest

_PACKAGE = Path(__file__).parents[1]
_REPOSITORY = _PACKAGE.parent / "conf"
CONF = _REPOSITORY if _REPOSITORY.is_dir() else _PACKAGE / "conf"  # next to the package, or inside it (in a wheel)


class JoinedSource(ConfigSource):
    """Serves `rules/a+b` as the packs a and b together, and `dataset/a+b` as a mixture, wherever one name is allowed."""

    @staticmethod
    def scheme() -> str:
        return "joined"

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, choice = config_path.removesuffix(".yaml").partition("/")
        names = choice.split("+")
        if "" in names:
            raise ConfigError(f"{group}={choice}: a '+' stands between two names")
        names = list(dict.fromkeys(names))
        if group == "rules":
            config: dict[str, Any] = {"defaults": names}
        else:
            parts = [f"{name}@parts.{name}" for name in names]
            target = {"_target_": "rlvr.data.datasets.mixture.Mixture", "shares": dict.fromkeys(names), "on_unscorable": "fail"}
            config = {"defaults": [*parts, "_self_"], **target}
        return ConfigResult(provider=self.provider, path="joined://", config=OmegaConf.create(config), header={"package": None})

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in ("rules", "dataset")

    def is_config(self, config_path: str) -> bool:
        return config_path.startswith(("rules/", "dataset/")) and "+" in config_path

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return []


class _JoinedSearchPath(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("joined", "joined://")


ConfigStore.instance().store("schema", Config)
SourcesRegistry.instance().register(JoinedSource)
Plugins.instance().register(_JoinedSearchPath)


def compose(overrides: Sequence[str], *, conf: Path = CONF) -> Config:
    """The typed configuration of some overrides; conf: the folder of config.yaml. Errors: `ConfigError`, one line."""
    overrides = for_hydra(overrides)
    try:
        with hydra_set_aside(), initialize_config_dir(str(conf.resolve()), version_base="1.3"):
            config = hydra_compose("config", overrides=overrides, return_hydra_config=True)
            choices = config.hydra.runtime.choices if conf == CONF else None
            check_packs(GlobalHydra.instance().config_loader(), "config", overrides, choices)
        return typed(config)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(error_line(error, overrides)) from error


def search_path_override() -> list[str]:
    """Config folders of the user that the running application searches (`--config-dir`), as an override for `compose`."""
    if not GlobalHydra.instance().is_initialized() or not HydraConfig.initialized():
        return []
    sources = [source for source in HydraConfig.get().runtime.config_sources if source.provider not in ("hydra", "main")]
    paths = [f"{source.schema}://{source.path}" for source in sources if source.schema in ("file", "pkg")]
    return [f"hydra.searchpath={paths}"] if paths else []


@contextmanager
def hydra_set_aside() -> Iterator[None]:
    """Hydra composes for one application at a time: set the running one aside, if any, and bring it back afterwards."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = running


def typed(config: DictConfig) -> Config:
    """The configuration as dataclasses, interpolations resolved, checked: every command gets its configuration here.

    Errors: `ConfigError` for values that are not allowed, those of OmegaConf for keys and types.
    """
    merged = OmegaConf.merge(OmegaConf.structured(Config), {k: v for k, v in config.items() if k != "hydra"})
    found = cast(Config, OmegaConf.to_object(merged))
    check(found)
    return found


def typed_file(path: Path) -> Config:
    """The configuration of a run, as its folder keeps it. Errors: `ConfigError`."""
    try:
        config = OmegaConf.load(path)
        assert isinstance(config, DictConfig)
        config.pop("defaults", None)  # by which Hydra checks the file against the schema
        return typed(config)
    except (ConfigError, OmegaConfBaseException, YAMLError, AssertionError) as error:
        raise ConfigError(f"{path}: is not the configuration of a run: {error_line(error)}") from error


def check_packs(
    loader: ConfigLoader, config_name: str, overrides: Sequence[str], choices: Mapping[str, Any] | None = None
) -> None:
    """Errors: `ConfigError` when two of the chosen packs define one rule differently; Hydra would let the last one win.

    choices: the choice of each group (`hydra.runtime.choices`), where the primary config is our own: saves time.
    """
    packs = _packs_by_name(loader, choices or {}) or _packs_by_defaults(loader, config_name, overrides)
    defined: dict[str, tuple[str, Any]] = {}
    for path, pack in packs.items():
        for rule, definition in pack.items():
            other, its_definition = defined.setdefault(str(rule), (path, definition))
            if its_definition != definition:
                names = f"{other.removeprefix('rules/')} and {path.removeprefix('rules/')}"
                raise ConfigError(f"rules: the packs {names} define the rule {rule} differently; they cannot be joined")


def _packs_by_name(loader: ConfigLoader, choices: Mapping[str, Any]) -> dict[str, dict[Any, Any]] | None:
    """The packs of `rules=a+b`; None where a file that is not ours, or an experiment, may have chosen others too."""
    chosen = [(group, choice) for group, choice in choices.items() if not group.startswith("hydra/")]
    if "rules" not in choices or not all(_is_ours(group, choice) for group, choice in chosen):
        return None
    return {path: _pack(loader, path) for path in (f"rules/{name}" for name in choices["rules"].split("+"))}


def _is_ours(group: str, choice: Any) -> bool:
    names = choice.split("+") if isinstance(choice, str) else []
    return bool(names) and group != "experiment" and all((CONF / group / f"{name}.yaml").is_file() for name in names)


def _packs_by_defaults(loader: ConfigLoader, config_name: str, overrides: Sequence[str]) -> dict[str, dict[Any, Any]]:
    """The packs in Hydra's defaults list, wherever they come from."""
    parts = loader.compute_defaults_list(config_name=config_name, overrides=list(overrides), run_mode=RunMode.RUN).defaults
    paths = [p.config_path for p in parts if p.config_path and p.config_path.startswith("rules/") and "+" not in p.config_path]
    return {path: _pack(loader, path) for path in dict.fromkeys(paths)}


def _pack(loader: ConfigLoader, path: str) -> dict[Any, Any]:
    """The content of a pack's file; empty if there is none, or it was found through `hydra.searchpath` alone."""
    source = next((each for each in loader.get_sources() if each.is_config(path)), None)
    pack = {} if source is None else OmegaConf.to_container(source.load_config(path).config, resolve=False)
    assert isinstance(pack, dict)
    return pack


def error_line(error: Exception, overrides: Sequence[str] = ()) -> str:
    """What went wrong, in one line with the key, the value, what is allowed and the nearest name."""
    if isinstance(error, YAMLError):
        return "a YAML file cannot be read: " + ", ".join(line.strip() for line in str(error).splitlines())
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return str(error)
    cause: Exception = error
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        cause = error.__cause__
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read; write key=value (quote values with spaces, commas or brackets)"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group or 'config'}={name}: there is no such choice{nearest(name, options(group))}"
    key = str(getattr(cause, "full_key", None) or "")
    unknown = re.search(r"Could not (?:override|append to config|delete from config)[^']*'([^']+)'", str(error))
    if unknown or "is not in struct" in str(cause) or re.search(r"Key '.*' (?:is )?not in", str(cause)):
        return _unknown_key(key or (unknown[1] if unknown else "?"), overrides)
    if isinstance(cause, MissingMandatoryValue | InterpolationToMissingValueError):
        return f"{key}: must be set, as {key}=VALUE"
    first = str(cause.args[0] if cause.args else cause).strip().splitlines()[0]
    if "not a subclass of RuleConfig" in first:
        name = key.removeprefix("rules.")
        return f"rules.{name}: a new rule needs a file, rules/NAME.yaml in a folder of yours (--config-dir DIR)"
    given = next((o for o in overrides if key and re.match(rf"\+*{re.escape(key)}=", o)), key)
    return f"{given.lstrip('+')}: {first}" if given else first


def options(group: str) -> list[str]:
    """The choices of a config group, by file name."""
    return sorted(str(path.relative_to(CONF / group).with_suffix("")) for path in (CONF / group).glob("*.yaml"))


def _unknown_key(key: str, overrides: Sequence[str]) -> str:
    """The error line of an unknown key: names its siblings, as they are without the override that failed."""
    failing = [o for o in overrides if re.match(rf"[+~]*{re.escape(key)}(?:[.=@]|$)", o)]
    given = failing[0] if failing else key
    parent, _, name = key.rpartition(".")
    try:
        with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
            config = hydra_compose(
                "config", overrides=[o for o in overrides if "." not in o.partition("=")[0] and o not in failing]
            )
        node: Any = OmegaConf.select(config, parent) if parent else config
        siblings = [str(each) for each in node] if isinstance(node, DictConfig) else []
    except (HydraException, OmegaConfBaseException, ConfigError):
        siblings = []
    what = "the pack has no such rule" if parent == "rules" else "there is no such key"
    return f"{given}: {what}{nearest(name, siblings)}"


def yaml_of(config: DictConfig) -> str:
    """config.yaml of a run: everything resolved, with a defaults list by which Hydra checks it again when it is run from there.

    A password in the address of a Redis server is left out, and has to be given again.
    """
    resolved = OmegaConf.to_container(OmegaConf.structured(typed(config)), resolve=True)
    hydra = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"), resolve=False)
    assert isinstance(resolved, dict)
    assert isinstance(hydra, dict)
    resolved["verify"]["redis_url"] = without_password(resolved["verify"]["redis_url"])
    body = OmegaConf.to_yaml(
        OmegaConf.create(
            {"defaults": ["schema", {"override hydra/job_logging": "none"}, "_self_"], **resolved, "hydra": hydra["hydra"]}
        )
    )
    return f"# To repeat this run: rlvr train --config-path <this folder> --config-name config\n{body}"
