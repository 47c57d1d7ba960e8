"""The arguments of `rlvr rescore`, and the configuration that they give."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rlvr.config.compose import compose
from rlvr.config.schema import Config
from rlvr.errors import ConfigError
from rlvr.text import one_line

USAGE = "usage: rlvr rescore run=RUN [rules=PACK] [name=NAME] [show=20] [KEY=VALUE ...]"
_SCORING = re.compile(r"[+~]*(?:verify[.=]|rules_from=|hydra\.)")
_OF_RULES = re.compile(r"[+~]*rules\.")
_OF_HYDRA = "hydra."  # where the user's packs are (hydra.searchpath)
_OF_ADVANTAGES = re.compile(r"algo\.(scaling|deviation|mask_truncated)=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The parsed command line."""

    run: Path
    rules: str | None
    name: str | None
    show: int
    overrides: tuple[str, ...]

    @classmethod
    def read(cls, arguments: Sequence[str]) -> Request:
        """Errors: `ConfigError`."""
        own = {"run", "rules", "name", "show"}
        pairs = [(*argument.partition("=")[::2], argument) for argument in arguments]
        given = {key: value for key, value, _ in pairs if key in own}
        if not given.get("run"):
            raise ConfigError(f"run=FOLDER is needed; {USAGE}")
        name, show = given.get("name"), given.get("show", "20")
        if name is not None and (not re.fullmatch(r"[^/\x00]+", name) or name.startswith(".")):
            raise ConfigError(f"name={name}: must be the name of a folder, without '/' and no dot in front")
        if not show.isdecimal():
            raise ConfigError(f"show={show}: must be a number, 0 or more")
        overrides = tuple(argument for key, _, argument in pairs if key not in own)
        useless = [each for each in overrides if not any(kind.match(each) for kind in (_SCORING, _OF_RULES, _OF_ADVANTAGES))]
        if useless:
            keys = "rules.*, verify.*, rules_from, algo.scaling, algo.deviation and algo.mask_truncated"
            raise ConfigError(f"{useless[0]}: rewards and advantages do not depend on it; they depend on {keys}")
        return cls(run=Path(given["run"]), rules=given.get("rules"), name=name, show=int(show), overrides=overrides)

    @property
    def changes(self) -> list[str]:
        """Overrides of the run's rules and advantages; empty: the same rules."""
        others = [override for override in self.overrides if not _SCORING.match(override)]
        return [f"rules={self.rules}", *others] if self.rules else others

    def config(self) -> Config:
        """The run's configuration with the overrides. Errors: `ConfigError`."""
        if self.rules is None:
            return run_config(self.run, self.overrides)
        of_rules = [override for override in self.overrides if _OF_RULES.match(override)]
        of_hydra = [override for override in self.overrides if override.startswith(_OF_HYDRA)]
        rest = [override for override in self.overrides if override not in of_rules]
        pack = compose([f"rules={self.rules}", *of_rules, *of_hydra]).rules
        return replace(run_config(self.run, rest), rules=pack)

    def advantages(self, config: Config) -> dict[str, Any]:
        """Overridden fields of `rlvr.runs.entries.Advantages`."""
        return {found[1]: getattr(config.algo, found[1]) for each in self.overrides if (found := _OF_ADVANTAGES.match(each))}

    def folder(self) -> Path:
        """Where the new rollout log goes. Errors: `ConfigError` if it exists."""
        said = ",".join(re.sub(r"rules[.=]", "", change, count=1) for change in self.changes)
        folder = self.run / "rescored" / (self.name or re.sub(r"[^\w.~+=,-]", "_", said)[:100])
        if folder.exists():
            raise ConfigError(f"name={folder.name}: {folder} exists; choose a different name, or remove it")
        return folder


def run_config(run: Path, overrides: Sequence[str]) -> Config:
    """config.yaml of a run with overrides; keys that no longer exist are left out, so that old runs can be rescored.

    Errors: `ConfigError`.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"run={run}: is not a run folder: it has no config.yaml")
    try:
        node = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OmegaConfBaseException, YAMLError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read: {one_line(error)}") from error
    if not isinstance(node, dict):
        raise ConfigError(f"{path}: must be a mapping")
    with TemporaryDirectory() as folder:
        kept = OmegaConf.create({"defaults": ["schema", "_self_"], **_known(node, Config)})
        OmegaConf.save(kept, Path(folder) / "config.yaml")
        return compose(overrides, conf=Path(folder))


def _known(node: Mapping[Any, Any], schema: type) -> dict[str, Any]:
    """The keys that the schema has."""
    sections = {field.name: field.default_factory for field in fields(schema) if field.name in node}
    return {
        name: _known(node[name], section) if isinstance(section, type) and is_dataclass(section) else node[name]
        for name, section in sections.items()
    }
