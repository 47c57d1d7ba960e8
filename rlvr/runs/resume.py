"""`python train.py resume=RUN`: go on with a run, with what is given besides changed from there on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.config.compose import compose, options, searched, typed_file
from rlvr.config.redact import public
from rlvr.config.schema import Config
from rlvr.errors import ConfigError
from rlvr.files import write_whole
from rlvr.rules.live import RULES, forget_edits, read_edits
from rlvr.rules.load import overridden, read_pack, rules_text
from rlvr.training.checkpoint import Checkpoint

CONFIG = "config.yaml"
FIXED = ("seed", "model", "dataset", "prompt", "rules_from")
"""Keys without which the steps done would not be those of this run; but files may have moved (`model.path`, `dataset.path`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """What was asked for on the command line."""

    folder: Path
    pack: str | None = None
    """`rules=PACK`: another pack instead of the rules in force."""
    rules: tuple[str, ...] = ()
    """Overrides of single rules, on top of the rules in force."""

    @property
    def keeps_rules(self) -> bool:
        """Whether it goes on with the rules in force."""
        return self.pack is None and not self.rules

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Resume | None:
        """Errors: `ConfigError` where the folder holds no run."""
        given = [argument.removeprefix("resume=") for argument in arguments if argument.startswith("resume=")]
        if not given or given[-1] in ("", "null"):
            return None
        folder = Path(given[-1])
        if not (folder / CONFIG).is_file():
            raise ConfigError(f"resume={folder}: must be the folder of a run (it has no {CONFIG})")
        if {"-m", "--multirun"} & set(arguments):
            raise ConfigError(f"resume={folder}: goes on with one run; leave out -m")
        for argument in arguments:
            key, equals, value = argument.partition("=")
            if key == "hydra.run.dir":
                raise ConfigError(f"{argument}: a run goes on in its own folder; leave it out")
            if equals and key != "rules" and value in options(key):
                raise ConfigError(f"{argument}: a run goes on with its own; set single keys ({key}.KEY=VALUE)")
        packs = [argument.removeprefix("rules=") for argument in arguments if argument.startswith("rules=")]
        return cls(folder=folder, pack=packs[-1] if packs else None, rules=tuple(filter(_of_rules, arguments)))

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """What Hydra is to be called with: the run's own configuration, what is changed in it, and its folder to write to.

        The rules are left out: those in force may have others than the run began with (`rules_in_force`).
        """
        others = [a for a in arguments if not (_of_rules(a) or a.startswith(("rules=", "resume=")))]
        folder = self.folder.resolve()
        place = [f"hydra.run.dir={_quoted(str(folder))}", "hydra.output_subdir=null", "hydra/job_logging=none"]
        return ["--config-path", str(folder), "--config-name", Path(CONFIG).stem, *place, *others]

    def changed(self, config: Config) -> list[str]:
        """What is another in `config` than it was, a line each. Errors: `ConfigError` for what cannot change."""
        lines: list[str] = []
        before, after = (dict(_flat(public(each), "")) for each in (typed_file(self.folder / CONFIG), config))
        for key in dict.fromkeys([*before, *after]):
            old, new = before.get(key), after.get(key)
            if old == new or key == "resume":
                continue
            if key.split(".")[0] in FIXED and key.split(".")[-1] != "path":
                raise ConfigError(f"{key}={new}: cannot change while a run goes on (it began with {old}); begin another run")
            lines.append(f"{key} {old} -> {new}")
        return lines

    def rules_in_force(self, begun_with: str, checkpoint: Checkpoint | None, *, write: bool) -> str:
        """The text of the rules after the steps of the checkpoint; rules.yaml gets what was asked for on the command line.

        begun_with: the rules of the run's configuration; write: on the main process.
        Errors: `ConfigError` for overrides that do not fit the rules.
        """
        done = 0 if checkpoint is None else checkpoint.step
        text = begun_with if checkpoint is None or checkpoint.state["rules"] is None else str(checkpoint.state["rules"])
        if self.keeps_rules:
            return text
        edited = [edit.text for edit in read_edits(self.folder) if edit.text is not None]
        base = edited[-1] if edited else text
        if self.pack is not None:
            base = rules_text(compose([f"rules={self.pack}", *searched()]).rules)
        wanted = overridden(base, self.rules)
        read_pack(wanted, typed_file(self.folder / CONFIG).rules_from)
        if write:
            forget_edits(self.folder, after=done)
            write_whole(self.folder / RULES, wanted)
        return text


def _of_rules(argument: str) -> bool:
    return argument.lstrip("+~").startswith("rules.")


def _quoted(text: str) -> str:
    """As a value in Hydra's grammar, whatever is in it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _flat(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
