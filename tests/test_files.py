"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlvr.files import write_whole


@pytest.mark.parametrize("durable", [False, True])
def test_it_replaces_what_was_there_and_leaves_nothing_else(durable: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content, found in (("old", b"old"), ("né", "né".encode()), (b"\0\1", b"\0\1"), (memoryview(b"view"), b"view")):
        write_whole(path, content, durable=durable)
        assert path.read_bytes() == found
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_only_a_durable_file_is_flushed_to_disk_whole_and_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "a.json", list[tuple[int, str]]()

    def fsync(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_size, path.read_text()))

    write_whole(path, "old")
    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, "new", durable=False)
    assert flushed == []
    write_whole(path, "newer", durable=True)
    assert flushed == [(len("newer"), "new")]
    assert path.read_text() == "newer"


def test_what_was_there_stays_where_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half a pair: \ud800")
    assert path.read_text() == "old"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_whole(tmp_path / "folder", "text")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.json", "folder"]
