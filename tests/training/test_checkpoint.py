"""Checkpoints: whole or not there, a bounded number, the best kept."""

from __future__ import annotations

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
    kept = Checkpoints(folder=tmp_path / "checkpoints", keep=2)
    assert kept.latest() is None
    kept.save(checkpoint(3, 0.5))
    found = kept.latest()
    assert found is not None
    assert (found.step, found.score, found.state) == (3, 0.5, {"progress": {"done": 3}})
    assert torch.equal(found.tensors["weights"]["a"], torch.arange(4) + 3)
    assert found.tensors["optimizer"]["state"][0]["step"] == 3.0


def test_the_latest_and_the_best_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(folder=tmp_path, keep=2)
    for step, score in ((2, 0.1), (4, 0.9), (6, None), (8, 0.9), (10, 0.2)):
        kept.save(checkpoint(step, score))
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [4, 8, 10]
    assert kept.best() == 4, "of equals the earliest"
    latest = kept.latest()
    assert latest is not None
    assert latest.step == 10


def test_a_kill_while_one_is_removed_leaves_the_others_usable(tmp_path: Path) -> None:
    kept = Checkpoints(folder=tmp_path, keep=1)
    kept.save(checkpoint(1))
    (tmp_path / ".1.removed").mkdir()
    (tmp_path / ".1.removed" / "tensors.pt").write_bytes(b"half")
    kept.save(checkpoint(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2"]


def test_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    kept = Checkpoints(folder=tmp_path, keep=1)
    kept.save(checkpoint(1))
    (tmp_path / "1" / "tensors.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match="1: cannot be read as a checkpoint"):
        kept.latest()


def test_a_half_written_one_does_not_count(tmp_path: Path) -> None:
    kept = Checkpoints(folder=tmp_path, keep=2)
    kept.save(checkpoint(1))
    (tmp_path / ".2.unfinished").mkdir()
    (tmp_path / ".2.unfinished" / "state.json").write_text('{"step": 2')
    latest = kept.latest()
    assert latest is not None
    assert latest.step == 1
    kept.save(checkpoint(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_what_a_kill_left_is_tidied_away(tmp_path: Path) -> None:
    for name in (".2.unfinished", ".1.removed", "3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text("{}")
    tidy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    tidy(tmp_path / "none")


def test_a_full_disk_stops_the_run_and_keeps_what_was_there(tmp_path: Path) -> None:
    """The limit on file sizes stands for the disk: the system refuses the write in the same place."""
    kept = Checkpoints(folder=tmp_path, keep=2)
    kept.save(checkpoint(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(RunStopped, match="the checkpoint of step 2 cannot be written"):
            kept.save(checkpoint(2, numbers=100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    latest = kept.latest()
    assert latest is not None
    assert latest.step == 1
