"""The rules of a running experiment: rules.yaml in its folder, read before every step; a bad edit changes nothing."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr.errors import ConfigError, RunStopped, describe
from rlvr.parallel.collectives import broadcast, gather, is_main
from rlvr.rules.diff import changes
from rlvr.rules.edits import EDITS, RULES, Edit, read_edits, write_edits
from rlvr.rules.load import read_pack
from rlvr.rules.pack import RulePack
from rlvr.text import one_line

_LARGEST = 1 << 20
"""Most bytes of a file; no pack is near that."""
_LONGEST = 1000
"""Characters kept of a reason."""
_SETTLE_S = 0.05
"""Seconds between two reads, which must agree for a file to count as completely written."""
_READS = 20
"""After so many reads the content is taken as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The content of the file: a text, or the reason why there is none."""

    text: str | None = None
    unreadable: str | None = None
    saved_ns: int = 0
    """When it was saved, so that a refused file is tried again when it is saved again unchanged."""


class LiveRules:
    """The rules in force, the same on every process; the main process reads the file.

    Accepted edits are recorded with their steps before they take effect. A run that is resumed from an earlier step adopts
    them again at the same steps, so that it ends as if it had never been interrupted; a newer file has priority over them.
    """

    text: str
    """The rules in force, as they were written: a checkpoint has to hold them."""
    pack: RulePack
    """The same as a pack; `pack.at(step)` has the weights of a step."""

    def __init__(
        self, folder: Path, text: str, *, done: int = 0, rules_from: Sequence[str], validate: Callable[[RulePack], object]
    ) -> None:
        """`text`: in force after step `done`, as written into rules.yaml or kept in a checkpoint. `rules_from`: as configured.
        `validate` is given every new pack, and raises `ConfigError` if this run cannot use it. Errors: `ConfigError`."""
        self.text, self.pack = text, read_pack(text, rules_from)
        self.validate = validate
        self._folder = folder
        self._rules_from = rules_from
        edits = read_edits(folder)
        self._taken = [edit for edit in edits if edit.step <= done]
        self._to_come = [edit for edit in edits if edit.step > done and edit.refused is None]
        expected = _Found(text=self._to_come[-1].text if self._to_come else text)
        found = self._read()
        self._seen = found if found.text == expected.text else expected

    def poll(self, step: int) -> list[Edit]:
        """Before a step, on all processes: adopt what has changed in the file since the last call, if it can be used.

        Returns the edits that change something or were refused: as a rule none; a refusal once each time the file is saved.
        Errors: `RunStopped`, on all processes, if the edit cannot be recorded on disk.
        """
        main = is_main()
        edits: list[Edit] = []
        for found, repeated in broadcast(self._look(step) if main else []):
            edit = self._adopt(step, found)
            failure = broadcast(self._record(edit, repeated=repeated) if main else None)
            if failure is not None:
                raise RunStopped(failure)
            edits.append(edit)
            if edit.refused is None:
                break
        return [edit for edit in edits if edit.changes or edit.refused]

    def _adopt(self, step: int, found: _Found) -> Edit:
        """On all processes: adopt the text if every one of them can use it."""
        pack, lines = self.pack, ()
        reason = found.unreadable
        if found.text is not None:
            try:
                pack = read_pack(found.text, self._rules_from)
                lines = changes(self.pack, pack)
                self.validate(pack)
            except (Exception, SystemExit) as error:  # noqa: BLE001  importing may raise anything, and must not stop the run
                reason = str(error) if isinstance(error, ConfigError) else describe(error)
        reasons = [each for each in gather([reason]) if each is not None]
        if reasons:
            return Edit(step=step, refused=one_line(reasons[0])[:_LONGEST])
        assert found.text is not None
        self.text, self.pack = found.text, pack
        return Edit(step=step, changes=lines, text=found.text)

    def _look(self, step: int) -> list[tuple[_Found, bool]]:
        """Candidates, of which the first usable one is adopted; each with whether it repeats an edit of the interrupted run."""
        candidates: list[tuple[_Found, bool]] = []
        found = self._read_settled()
        if found != self._seen:
            self._seen = found
            if found.text != self.text or self._to_come:
                candidates.append((found, False))
        if self._to_come and self._to_come[0].step <= step:
            candidates.append((_Found(text=self._to_come[0].text), True))
        return candidates

    def _read_settled(self) -> _Found:
        """The content once two reads in a row agree: editors empty a file before they write it, or move it away."""
        found = self._read()
        for _ in range(_READS):
            if found == self._seen:
                break
            time.sleep(_SETTLE_S)
            before, found = found, self._read()
            if found == before:
                break
        return found

    def _read(self) -> _Found:
        path = self._folder / RULES
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return _Found(unreadable="is no regular file")
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except FileNotFoundError:
            return _Found(unreadable="is gone; write it again to change the rules")
        except OSError as error:
            return _Found(unreadable=f"cannot be read: {error.strerror}")
        if len(data) > _LARGEST:
            return _Found(unreadable=f"has more than {_LARGEST} bytes", saved_ns=status.st_mtime_ns)
        try:
            return _Found(text=data.decode("utf-8-sig"), saved_ns=status.st_mtime_ns)
        except UnicodeDecodeError as error:
            reason = f"is not UTF-8: {error.reason} at byte {error.start}"
            return _Found(unreadable=reason, saved_ns=status.st_mtime_ns)

    def _record(self, edit: Edit, *, repeated: bool) -> str | None:
        """Write an edit to rule_edits.jsonl. Returns why that failed, if it did: a resumed run would not know of the edit."""
        if repeated:
            self._to_come.pop(0)
        elif edit.refused is None:
            self._to_come.clear()
        self._taken.append(edit)
        try:
            write_edits(self._folder, [*self._taken, *self._to_come])
        except OSError as error:
            return f"{self._folder / EDITS} cannot be written: {error}"
        return None
