"""Checkpoints: atomic, on disk, a bounded number, the best kept."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import torch

from rlvr.errors import ConfigError, RunStopped
from rlvr.training.checkpoint import Checkpoint, Checkpoints, tidy


def checkpoint(step: int, score: float | None = None, *, numbers: int = 4) -> Checkpoint:
    tensors = {"weights": {"a": torch.arange(numbers) + step}, "optimizer": {"state": {0: {"step": torch.tensor(float(step))}}}}
    return Checkpoint(step=step, state={"progress": {"done": step}}, tensors=tensors, score=score)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path / "checkpoints", keep=2)
    assert checkpoints.latest() is None
    checkpoints.save(checkpoint(3, 0.5))
    found = checkpoints.latest()
    assert found is not None
    assert (found.step, found.score, found.state) == (3, 0.5, {"progress": {"done": 3}})
    assert torch.equal(found.tensors["weights"]["a"], torch.arange(4) + 3)
    assert found.tensors["optimizer"]["state"][0]["step"] == 3.0


def test_the_latest_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path, keep=2)
    for step, score in ((2, 0.1), (4, 0.9), (6, None), (8, 0.9), (10, 0.2)):
        checkpoints.save(checkpoint(step, score))
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [4, 8, 10]
    assert checkpoints.best() == 4, "of equals the earliest"
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.step == 10


def test_a_kill_while_one_is_removed_leaves_the_others_usable(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path, keep=1)
    checkpoints.save(checkpoint(1))
    (tmp_path / ".1.removed").mkdir()
    (tmp_path / ".1.removed" / "tensors.pt").write_bytes(b"half")
    checkpoints.save(checkpoint(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2"]


def test_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path, keep=1)
    checkpoints.save(checkpoint(1))
    (tmp_path / "1" / "tensors.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match="1: cannot be read as a checkpoint"):
        checkpoints.latest()


def test_one_of_a_different_version_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path, keep=1)
    checkpoints.save(checkpoint(1))
    state = tmp_path / "1" / "state.json"
    state.write_text(state.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(ConfigError, match=r"1: cannot be read as a checkpoint: .* version of rlvr \(format 1, not 2\)"):
        checkpoints.latest()


class _RunsCode:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_one_that_would_run_code_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path / "checkpoints", keep=1)
    checkpoints.save(checkpoint(1))
    torch.save({"weights": _RunsCode(tmp_path / "made")}, tmp_path / "checkpoints" / "1" / "tensors.pt")
    with pytest.raises(ConfigError, match="1: cannot be read as a checkpoint: Weights only load failed"):
        checkpoints.latest()
    assert not (tmp_path / "made").exists()


def test_a_checkpoint_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync: first of its files, whole, and of their folder; of the folder of checkpoints once the new one is in it."""
    folder, synced, fsync = tmp_path / "checkpoints", list[tuple[int, int, bool]](), os.fsync

    def watched(handle: int) -> None:
        fsync(handle)
        status = os.fstat(handle)
        synced.append((status.st_ino, status.st_size, (folder / "1").exists()))

    monkeypatch.setattr(os, "fsync", watched)
    Checkpoints(folder=folder, keep=1).save(checkpoint(1))
    *files, within, around = synced
    written = [(folder / "1" / name).stat() for name in ("tensors.pt", "state.json")]
    assert files == [(status.st_ino, status.st_size, False) for status in written]
    assert (within[0], within[2]) == ((folder / "1").stat().st_ino, False)
    assert (around[0], around[2]) == (folder.stat().st_ino, True)


def test_a_half_written_one_does_not_count(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path, keep=2)
    checkpoints.save(checkpoint(1))
    (tmp_path / ".2.unfinished").mkdir()
    (tmp_path / ".2.unfinished" / "state.json").write_text('{"step": 2')
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.step == 1
    checkpoints.save(checkpoint(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_what_a_kill_left_is_tidied_away(tmp_path: Path) -> None:
    for name in (".2.unfinished", ".1.removed", "3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text("{}")
    tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    tidy(tmp_path / "none")


def test_a_full_disk_stops_the_run_and_keeps_what_was_there(tmp_path: Path) -> None:
    """A limit on file sizes stands in for a full disk: the write fails in the same place."""
    checkpoints = Checkpoints(folder=tmp_path, keep=2)
    checkpoints.save(checkpoint(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(RunStopped, match="the checkpoint of step 2 cannot be written"):
            checkpoints.save(checkpoint(2, numbers=100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.step == 1
