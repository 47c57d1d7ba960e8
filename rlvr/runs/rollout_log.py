"""The rollout log: every rollout of every step with its verdicts, in Parquet, under RUN/rollouts: <step>-<split>.parquet.

A row is a rollout (`rlvr.runs.entries.SCHEMA`). Any Parquet reader can read it, also during the run:
`pyarrow.parquet.read_table("RUN/rollouts")`. A file appears whole or not at all. Equal rollouts give equal bytes: a file
does not say when or where it was written. Its metadata hold, as JSON, the active rules (`rlvr.rules`) and how advantages
follow from rewards (`rlvr.advantages`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr.errors import ConfigError, RunStopped
from rlvr.files import write_whole
from rlvr.rules.fingerprint import Fingerprint
from rlvr.runs.entries import SCHEMA, VERDICT, Advantages, Entry, entries_from, entries_of, table_of
from rlvr.types import Group, Split

_SPLITS = get_args(Split)
_FILE = re.compile(rf"(\d{{8,}})-({'|'.join(_SPLITS)})\.parquet")
_RULES, _ADVANTAGES = "rlvr.rules", "rlvr.advantages"
# Columns that differ from row to row gain nothing from a dictionary.
_REPEATED = ["step", "split", "group_index", "problem_id", "dataset", "prompt", "prefill", "truth", "metadata", "finish_reason"]
_REPEATED += ["rules_hash", *(f"verdicts.list.element.{name}" for name in VERDICT.names if name not in ("score", "span"))]
_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": _REPEATED,
    "dictionary_pagesize_limit": 1 << 30,  # a ground truth may be megabytes of tests; past this limit each rollout repeats them
    "write_statistics": False,
    "store_schema": False,  # it would be a third of the file, and repeat the rules
}


class RolloutLogFailed(RunStopped):
    """A step's rollouts could not be written (a full disk); those of the steps before are whole."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class RolloutLogFile:
    """The rollouts of one step and split."""

    step: int
    split_index: int
    """Index of the split in `Split`: the order of files within a step."""
    path: Path

    @property
    def split(self) -> Split:
        return cast(Split, _SPLITS[self.split_index])


@dataclass(frozen=True, slots=True)
class RolloutLog:
    """A folder of rollout log files, one a step and split. One process writes; any number may read."""

    folder: Path

    @classmethod
    def of(cls, run: Path) -> RolloutLog:
        """The rollout log of a run folder."""
        return cls(run / "rollouts")

    def record(
        self,
        groups: Sequence[Group],
        *,
        step: int,
        split: Split,
        rules: Fingerprint,
        advantages: Advantages,
    ) -> None:
        """Write the scored groups of a step, training groups with the advantages used in the loss; see `write`."""
        self.write(entries_of(groups, step=step, split=split, rules=rules, advantages=advantages), rules, advantages)

    def write(self, entries: Sequence[Entry], rules: Fingerprint, advantages: Advantages) -> None:
        """Write the file of one step and split, replacing an earlier one; no file without entries.

        rules: the active ones; advantages: how they follow from rewards.
        Errors: `RolloutLogFailed`; nothing half-written is left.
        """
        if not entries:
            return
        step, split = entries[0].step, entries[0].split
        assert all((entry.step, entry.split) == (step, split) for entry in entries)
        table, data = table_of(entries), pa.BufferOutputStream()
        with pq.ParquetWriter(data, table.schema, **_OPTIONS) as writer:
            writer.write_table(table, row_group_size=len(entries))
            writer.add_key_value_metadata({_RULES: rules.text(), _ADVANTAGES: json.dumps(asdict(advantages))})
        self._replace(f"{step:08d}-{split}.parquet", data.getvalue())

    def _replace(self, name: str, data: pa.Buffer) -> None:
        with _written(self.folder / name):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / name, data, durable=True)

    def flush(self) -> None:
        """Flush the folder to disk (fsync), so that files written before survive a crash of the machine. `write` has flushed
        their contents. Errors: `RolloutLogFailed`."""
        with _written(self.folder):
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def drop_after(self, step: int) -> None:
        """Remove what came after a step, and what a kill left half-written: the run resumes from there."""
        if not self.folder.is_dir():
            return
        for path in self.folder.glob(".*.unfinished"):
            path.unlink()
        for file in reversed(self.files()):  # the latest first, so that a kill leaves no gap
            if file.step > step:
                file.path.unlink()
        self.flush()

    def files(self, *, splits: Collection[Split] = _SPLITS, steps: Collection[int] | None = None) -> list[RolloutLogFile]:
        """Files of some splits and steps (None: all), in the order of the run."""
        found = [
            RolloutLogFile(step=int(match[1]), split_index=_SPLITS.index(match[2]), path=path)
            for path in (self.folder.iterdir() if self.folder.is_dir() else ())
            if (match := _FILE.fullmatch(path.name))
        ]
        return sorted(each for each in found if each.split in splits and (steps is None or each.step in steps))

    def conditions(self, file: RolloutLogFile) -> tuple[Fingerprint, Advantages]:
        """The active rules, and how advantages follow from rewards. Errors: `ConfigError`."""
        with _read(file.path) as opened:
            rules, advantages = (opened.metadata.metadata[key.encode()].decode() for key in (_RULES, _ADVANTAGES))
        return Fingerprint.read(rules), Advantages(**json.loads(advantages))

    def read(self, file: RolloutLogFile) -> list[Entry]:
        """The rollouts of a file, group by group. Errors: `ConfigError`."""
        with _read(file.path) as opened:
            return entries_from(opened.read())


def read_rollout_log(
    run: Path | str,
    *,
    splits: Collection[Split] = _SPLITS,
    steps: Collection[int] | None = None,
    columns: Sequence[str] = tuple(SCHEMA.names),
) -> pa.Table:
    """The rollouts of a run as one table in the order of the run; for the columns see `rlvr.runs.entries.SCHEMA`.

    steps: a range or a list, None for all. `RolloutLog.read` gives typed entries, a file at a time.
    Errors: `ConfigError` without a rollout log, and for an unknown column.
    """
    rollout_log = RolloutLog.of(Path(run))
    if not rollout_log.files():
        raise ConfigError(f"run={run}: holds no rollouts ({rollout_log.folder}/*.parquet)")
    unknown = [name for name in columns if name not in SCHEMA.names]
    if unknown:
        raise ConfigError(f"columns={unknown[0]}: a rollout log has {', '.join(SCHEMA.names)}")
    tables: list[pa.Table] = []
    for file in rollout_log.files(splits=splits, steps=steps):
        with _read(file.path) as opened:
            tables.append(opened.read(columns=list(columns)).select(list(columns)).replace_schema_metadata(None))
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table().select(list(columns))


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RolloutLogFailed(f"{path}: the rollouts cannot be written: {error.strerror or error}") from error


@contextmanager
def _read(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            lacks = {_RULES.encode(), _ADVANTAGES.encode()} - (file.metadata.metadata or {}).keys()
            if lacks or not file.schema_arrow.equals(SCHEMA):
                raise ConfigError(f"{path}: is not a rollout log file of this version: its columns or metadata differ")
            yield file
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
