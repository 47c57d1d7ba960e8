"""The run folder: metrics and rollouts are on disk before the checkpoint that depends on them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import forked
import pytest

from rlvr import load_rules
from rlvr.errors import ConfigError
from rlvr.rules.fingerprint import fingerprint
from rlvr.runs.entries import Advantages
from rlvr.runs.folder import RunFolder, agree_on_folder
from rlvr.runs.rollout_log import RolloutLog
from rlvr.types import Group, Problem, Rollout

PACK = load_rules("answer")


def group() -> Group:
    rollout = Rollout(token_ids=(1,), logprobs=(-0.5,), text="4", finish_reason="stop", reward=0.0)
    return Group(problem=Problem(id="p", prompt="2+2?", truth={"answer": "4"}), prompt_ids=(1,), rollouts=(rollout,))


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Names and sizes of what `os.fsync` has flushed."""
    seen: list[tuple[str, int]] = []

    def fsync(handle: int, original=os.fsync) -> None:
        seen.append((Path(os.readlink(f"/proc/self/fd/{handle}")).name, os.fstat(handle).st_size))
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def test_a_line_of_metrics_is_flushed_when_it_is_written(tmp_path: Path, synced: list[tuple[str, int]]) -> None:
    folder = RunFolder(path=tmp_path)
    folder.create("", "")
    for step in (0, 1):
        folder.log(step, {"reward/mean": 0.5})
        assert synced[-1] == ("metrics.jsonl", (tmp_path / "metrics.jsonl").stat().st_size)
    written = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == [{"step": step, "reward/mean": 0.5} for step in (0, 1)]


def test_rollouts_are_flushed_before_they_have_their_name_and_their_folder_afterwards(
    tmp_path: Path, synced: list[tuple[str, int]]
) -> None:
    RolloutLog.of(tmp_path).record([group()], step=1, split="train", rules=fingerprint(PACK), advantages=Advantages())
    size = (tmp_path / "rollouts" / "00000001-train.parquet").stat().st_size
    assert synced == [(".00000001-train.parquet.unfinished", size)]
    RunFolder(path=tmp_path).flush()
    assert [name for name, _ in synced[1:]] == ["rollouts"]


WATCH = """
import os
def watch(name, path_of):
    original = getattr(os, name)
    def watched(*arguments, **options):
        result = original(*arguments, **options)
        with open({log!r}, "a") as log:
            print(name, path_of(*arguments), file=log)
        return result
    setattr(os, name, watched)
watch("fsync", lambda handle: os.readlink(f"/proc/self/fd/{{handle}}"))
watch("replace", lambda source, target: target)
"""


def test_a_checkpoint_appears_after_what_it_depends_on(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "calls"
    small = ["steps=2", "eval.problems=0", "algo.problems=2", "algo.group_size=2", "algo.max_new_tokens=8", "tracking=none"]
    small += ["checkpoint.every=1", "dataset.train_problems=40", f"hydra.run.dir={run}"]
    done = forked.run("train", *small, preexec=WATCH.format(log=str(log)))
    assert done.returncode == 0, done.stderr
    calls = [line.replace(f"{run}/", "") for line in log.read_text().splitlines()]
    for step in (1, 2):
        appears = calls.index(f"replace checkpoints/{step}")
        written = calls.index(f"replace rollouts/0000000{step}-train.parquet")
        assert "fsync rollouts" in calls[written:appears]
        assert "fsync metrics.jsonl" in calls[written:appears]


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    assert agree_on_folder(tmp_path, new=True) == tmp_path
    RunFolder(path=tmp_path).create("", "")
    with pytest.raises(ConfigError, match=r"holds a run already; choose a different folder, or resume="):
        agree_on_folder(tmp_path, new=True)


def test_metrics_that_cannot_be_written_stop_the_run(tmp_path: Path) -> None:
    script = f"""
import resource
from pathlib import Path
from rlvr.errors import RunStopped
from rlvr.runs.folder import RunFolder
folder = RunFolder(path=Path({str(tmp_path)!r}))
folder.create("", "")
folder.log(0, {{"a": 1.0}})
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    folder.log(1, {{f"metric{{n}}": 1.0 for n in range(100)}})
except RunStopped as error:
    print(error)
"""
    done = forked.run("--version", preexec=script)
    assert done.stdout.startswith(f"{tmp_path}/metrics.jsonl cannot be written: ")
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 0, "a": 1.0}\n'
