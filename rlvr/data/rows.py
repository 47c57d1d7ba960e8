"""Rows of data sets from disk and from the hub, and the split of problems into training and evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from rlvr.errors import ConfigError
from rlvr.text import one_line
from rlvr.types import Problem


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line number from 1, row) of every line that is not blank; for a line that is no JSON object, a text that says why."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, _parse(line)


def _parse(line: bytes) -> dict[str, Any] | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return row if isinstance(row, dict) else f"a JSON {type(row).__name__}, not an object"


def has_split(path: str, split: str, *, config: str | None = None) -> bool:
    """Whether a folder holds rows of `split`."""
    return bool(_files(path, split, config))


def split_rows(path: str, split: str, *, config: str | None = None) -> list[dict[str, Any]]:
    """The rows of `split` in a folder: `<split>.jsonl`, or the hub's own Parquet files (`**/<split>-*.parquet`).

    config: the name of a subset; if a copy from the hub has a folder of that name, only that folder is read.
    Errors: `ConfigError` naming the folder, the file, or the line.
    """
    files = _some_files(path, split, config)
    return [row for file in files for row in (whole_file(file) if file.suffix == ".jsonl" else _table(file))]


def each_row(path: str, split: str, *, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """`split_rows` one by one, for data sets that do not fit in memory; only `columns`, if they exist."""
    for file in _some_files(path, split, None):
        for row in whole_file(file) if file.suffix == ".jsonl" else _batches(file, columns):
            yield {key: row[key] for key in columns if key in row}


def _some_files(path: str, split: str, config: str | None) -> list[Path]:
    files = _files(path, split, config)
    if not files:
        raise ConfigError(f"dataset.path={path}: holds neither {split}.jsonl nor {split}-*.parquet")
    return files


def _files(path: str, split: str, config: str | None) -> list[Path]:
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(f"dataset.path={path}: no such folder")
    if config is not None and (folder / config).is_dir():
        folder /= config
    lines = folder / f"{split}.jsonl"
    return [lines] if lines.is_file() else sorted(folder.glob(f"**/{split}-*.parquet"))


def _table(path: Path) -> list[dict[str, Any]]:
    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise ConfigError(f"dataset: {path}: {one_line(error)}") from error


def _batches(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            present = [key for key in columns if key in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=64, columns=present):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise ConfigError(f"dataset: {path}: {one_line(error)}") from error


def whole_file(path: Path) -> list[dict[str, Any]]:
    """All rows of a JSON Lines file. Errors: `ConfigError` at the first line that cannot be read, with its number."""
    rows: list[dict[str, Any]] = []
    for number, row in read_jsonl(path):
        if isinstance(row, str):
            raise ConfigError(f"dataset: {path}, line {number}: {row}")
        rows.append(row)
    if not rows:
        raise ConfigError(f"dataset: {path} holds no rows")
    return rows


def folder_or_hub_rows(path: str | None, split: str, *, name: str, config: str | None = None) -> list[dict[str, Any]]:
    """`split_rows` of a folder, or without one `hub_rows` of the set with this name."""
    return hub_rows(name, config, split) if path is None else split_rows(path, split, config=config)


def hub_rows(name: str, config: str | None, split: str) -> list[dict[str, Any]]:
    """The rows of a data set on the Hugging Face hub, or in its local cache."""
    return [dict(row) for row in _hub_set(name, config, split)]


def each_hub_row(name: str, config: str | None, split: str, *, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """`hub_rows` one by one, for data sets that do not fit in memory; only `columns`, if they exist."""
    rows = _hub_set(name, config, split)
    for row in rows.select_columns([key for key in columns if key in rows.column_names]):
        yield dict(row)


def _hub_set(name: str, config: str | None, split: str) -> Any:
    import datasets  # takes a second, and only this path needs it
    from datasets.exceptions import DatasetNotFoundError

    try:
        return datasets.load_dataset(name, config, split=split)
    except (OSError, DatasetNotFoundError) as error:
        raise ConfigError(
            f"dataset: {name} is not in the local cache, nor available from the hub; set dataset.path=FOLDER to a copy on disk"
        ) from error


def text_of(row: dict[str, Any], key: str, row_id: str) -> str:
    """The text in a column, stripped. Errors: `ConfigError` naming the row and its columns."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"dataset: {row_id} lacks a text {key!r} (it has: {', '.join(row) or 'nothing'})")
    return value.strip()


def split_by_prompt(problems: Iterable[Problem], share: float) -> tuple[list[Problem], list[Problem]]:
    """About `share` of the problems, and the rest. A hash of the prompt decides, so that adding problems moves none."""
    chosen: list[Problem] = []
    rest: list[Problem] = []
    for problem in problems:
        (chosen if _hash_share(problem.prompt) < share else rest).append(problem)
    return chosen, rest


def _hash_share(prompt: str) -> float:
    """A number in [0, 1], the same in every process."""
    return int.from_bytes(hashlib.blake2b(prompt.encode(errors="surrogatepass"), digest_size=8).digest()) / 2**64
