"""Reading rows from disk and from the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet

from rlvr.config import ConfigError


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line number from 1, row) of every line that is not blank; a line that is no JSON object gives a text saying why."""
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


def split_rows(path: str, split: str) -> list[dict[str, Any]]:
    """The rows of `split` in a folder: `<split>.jsonl`, or the hub's own Parquet files (`**/<split>-*.parquet`)."""
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(f"dataset.path={path}: no such folder")
    lines = folder / f"{split}.jsonl"
    if lines.is_file():
        return whole_file(lines)
    tables = sorted(folder.glob(f"**/{split}-*.parquet"))
    if not tables:
        raise ConfigError(f"dataset.path={path}: holds neither {split}.jsonl nor {split}-*.parquet")
    return [row for table in tables for row in pyarrow.parquet.read_table(table).to_pylist()]


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


def hub_rows(name: str, config: str, split: str) -> list[dict[str, Any]]:
    """The rows of a data set on the Hugging Face hub (or in its local cache)."""
    import datasets  # takes a second, and only this path needs it
    from datasets.exceptions import DatasetNotFoundError

    try:
        return [dict(row) for row in datasets.load_dataset(name, config, split=split)]
    except (OSError, DatasetNotFoundError) as error:
        raise ConfigError(
            f"dataset: {name} is not in the local cache, and the hub did not give it; set dataset.path=FOLDER to a copy on disk"
        ) from error
