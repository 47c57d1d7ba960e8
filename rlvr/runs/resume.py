"""`rlvr train resume=RUN`: resume a run; other overrides apply from there on.

Changing seed, model, data or prompt is an error; other changes are listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr.config.compose import compose, options, search_path_override, typed_file
from rlvr.config.redact import flat, public
from rlvr.config.schema import Config
from rlvr.errors import ConfigError
from rlvr.files import write_whole
from rlvr.rules.edits import RULES, forget_edits, read_edits
from rlvr.rules.load import overridden, read_pack, rules_text

if TYPE_CHECKING:
    from rlvr.training.checkpoint import Checkpoint

CONFIG = "config.yaml"
FIXED = ("seed", "model", "dataset", "prompt", "rules_from")
"""Keys that cannot change on resume, except paths: files may have moved (`model.path`, `dataset.path`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """A run to resume, and the changes of its rules that the command line asks for."""

    folder: Path
    pack: str | None = None
    """`rules=PACK`: a different pack instead of the active rules."""
    rules: tuple[str, ...] = ()
    """Overrides of single rules, applied to the active rules."""

    @property
    def keeps_rules(self) -> bool:
        """Whether the active rules stay as they are."""
        return self.pack is None and not self.rules

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Resume | None:
        """None without `resume=`. Errors: `ConfigError` for a folder without a run, or arguments that do not fit."""
        given = [argument.removeprefix("resume=") for argument in arguments if argument.startswith("resume=")]
        if not given or given[-1] in ("", "null"):
            return None
        folder = Path(given[-1])
        if not (folder / CONFIG).is_file():
            raise ConfigError(f"resume={folder}: must be the folder of a run (it has no {CONFIG})")
        if {"-m", "--multirun"} & set(arguments):
            raise ConfigError(f"resume={folder}: resumes a single run; leave out -m")
        for argument in arguments:
            key, equals, value = argument.partition("=")
            if key == "hydra.run.dir":
                raise ConfigError(f"{argument}: a resumed run stays in its folder; leave it out")
            if equals and key != "rules" and value in options(key):
                raise ConfigError(f"{argument}: a resumed run keeps its {key}; set single keys ({key}.KEY=VALUE)")
        packs = [argument.removeprefix("rules=") for argument in arguments if argument.startswith("rules=")]
        return cls(folder=folder, pack=packs[-1] if packs else None, rules=tuple(filter(_of_rules, arguments)))

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """Arguments for Hydra: the run's own configuration and folder, and the overrides.

        Without overrides of rules, which apply to the active rules, not to those the run began with (`active_rules`).
        """
        others = [a for a in arguments if not (_of_rules(a) or a.startswith(("rules=", "resume=")))]
        folder = self.folder.resolve()
        place = [f"hydra.run.dir={_quoted(str(folder))}", "hydra.output_subdir=null", "hydra/job_logging=none"]
        return ["--config-path", str(folder), "--config-name", Path(CONFIG).stem, *place, *others]

    def changes(self, config: Config) -> list[str]:
        """Keys whose value in `config` differs from the run's, a line each. Errors: `ConfigError` where a key cannot change."""
        lines: list[str] = []
        before, after = (flat(public(each)) for each in (typed_file(self.folder / CONFIG), config))
        for key in dict.fromkeys([*before, *after]):
            old, new = before.get(key), after.get(key)
            if old == new or key == "resume":
                continue
            if key.split(".")[0] in FIXED and key.split(".")[-1] != "path":
                raise ConfigError(f"{key}={new}: cannot change on resume (the run began with {old}); begin a new run")
            lines.append(f"{key} {old} -> {new}")
        return lines

    def active_rules(self, configured: str, checkpoint: Checkpoint | None, *, write: bool) -> str:
        """Text of the rules at the checkpoint. With changes on the command line, rules.yaml is written, for the next step.

        configured: the rules of the run's configuration; write: true on the main process only.
        Errors: `ConfigError` for overrides that do not fit the rules.
        """
        done = 0 if checkpoint is None else checkpoint.step
        text = configured if checkpoint is None or checkpoint.state["rules"] is None else str(checkpoint.state["rules"])
        if self.keeps_rules:
            return text
        edited = [edit.text for edit in read_edits(self.folder) if edit.text is not None]
        base = edited[-1] if edited else text
        if self.pack is not None:
            base = rules_text(compose([f"rules={self.pack}", *search_path_override()]).rules)
        wanted = overridden(base, self.rules)
        read_pack(wanted, typed_file(self.folder / CONFIG).rules_from)
        if write:
            forget_edits(self.folder, after=done)
            write_whole(self.folder / RULES, wanted)
        return text


def _of_rules(argument: str) -> bool:
    return argument.lstrip("+~").startswith("rules.")


def _quoted(text: str) -> str:
    """Quoted for Hydra's grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
