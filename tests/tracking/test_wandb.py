"""What W&B records, read back from its files; and that the run continues whatever W&B does, and says so once."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from conftest import ROOT, with_rewards
from rlvr import load_rules
from rlvr.errors import ConfigError
from rlvr.rules.fingerprint import fingerprint
from rlvr.rules.pack import RulePack
from rlvr.tracking.none import NoTracker
from rlvr.tracking.observer import Observer, RunInfo
from rlvr.tracking.wandb import WandbTracker, samples
from rlvr.types import Group, Problem, Rollout, Verdict

PACK = load_rules("answer")
TEXTS = [r"\boxed{4}", r"\boxed{5}", "four"]
CONFIG = {"seed": 1, "rules_from": []}


def scored_group(identity: str, *, texts: list[str] = TEXTS, pack: RulePack = PACK) -> Group:
    problem = Problem(id=identity, prompt=f"{'long ' * 200}What is 2 + 2?", truth={"answer": "4"})
    rollouts = []
    for text in texts:
        judgement = pack.judge(text, problem)
        verdicts, reward = judgement.verdicts, judgement.reward
        rollouts.append(
            Rollout(token_ids=(1,), logprobs=(0.0,), text=text, finish_reason="stop", verdicts=verdicts, reward=reward)
        )
    group = Group(problem=problem, prompt_ids=(1,), rollouts=tuple(rollouts))
    return with_rewards(group, [rollout.reward for rollout in rollouts])


def info(folder: Path, **more: Any) -> RunInfo:
    return RunInfo(name="grpo", folder=folder, config=CONFIG, steps=3, **more)


def begin(folder: Path, *, sweep: str | None = None, **options: Any) -> Observer:
    tracker = WandbTracker(mode="offline", **options)
    tracker.begin(info(folder, sweep=sweep))
    return tracker


@pytest.fixture(autouse=True)
def _not_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the machine's own settings are."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "none"))


def records(folder: Path) -> Iterator[Any]:
    """What the latest of W&B's files in a run folder holds: LevelDB's log format, with protocol buffers in it."""
    file = max((folder / "wandb").glob("*run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def history(folder: Path) -> dict[int, dict[str, Any]]:
    """Rows by step; what is nested has keys joined by dots."""
    rows = [record.history for record in records(folder) if record.HasField("history")]
    return {
        row.step.num: {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in rows
    }


def run_of(folder: Path) -> Any:
    return next(record.run for record in records(folder) if record.HasField("run"))


def test_what_a_run_leaves_in_wandb(tmp_path: Path) -> None:
    session = begin(tmp_path, sweep="weights", table_every=2)
    session.log(0, {"eval/accuracy": 0.25})
    for step in (1, 2, 3):
        session.rollouts(step, "train", [scored_group("p1"), scored_group("p2")], PACK)
        session.log(step, {"reward/mean": step / 10, "rule/answer/score": 0.5})
    session.end({"after": 0.5})
    rows, run = history(tmp_path), run_of(tmp_path)
    assert [rows[step]["reward/mean"] for step in (1, 2, 3)] == [0.1, 0.2, 0.3]
    assert (rows[0]["eval/accuracy"], rows[3]["rule/answer/score"]) == (0.25, 0.5)
    assert sum(rows[1]["reward/histogram.values"]) == sum(rows[1]["advantage/histogram.values"]) == 6
    assert rows[1]["advantage/histogram.bins"][0] == pytest.approx(scored_group("p1").rollouts[1].advantage, abs=1e-6)
    assert [step for step in rows if "rollouts/train.path" in rows[step]] == [1, 2]
    assert (run.run_group, run.job_type, run.display_name) == ("weights", "train", "grpo")
    config = {u.key: json.loads(u.value_json) for r in records(tmp_path) if r.HasField("config") for u in r.config.update}
    assert config["rules_hash"] == rows[1]["rules/hash"] == fingerprint(PACK).hash
    assert "rules/hash" not in rows[2], "said when it changes"
    summary = {u.key: json.loads(u.value_json) for r in records(tmp_path) if r.HasField("summary") for u in r.summary.update}
    assert summary["after"] == 0.5


def test_the_table_shows_verdicts_and_the_curve_changes_of_rules(tmp_path: Path) -> None:
    session, other = begin(tmp_path), load_rules("answer", ["rules.answer.weight=0.5"])
    session.rollouts(1, "train", [scored_group("p1")], PACK)
    session.log(1, {"reward/mean": 0.3})
    session.note(2, "rules.yaml: rules.answer.weight 1.0 -> 0.5")
    session.rollouts(2, "train", [scored_group("p1", pack=other)], other)
    session.log(2, {"reward/mean": 0.2, "rules/changes": 1.0})
    session.note(2, "checkpoint")
    session.end(None)
    rows = history(tmp_path)
    assert [rows[step]["rules/hash"] for step in (1, 2)] == [fingerprint(PACK).hash, fingerprint(other).hash]
    (table,) = (tmp_path / "wandb").glob("*run-*/files/media/table/rollouts/train_*.json")
    shown = json.loads(table.read_text())
    best = dict(zip(shown["columns"], shown["data"][0], strict=True))
    assert (best["problem"], best["completion"], best["reward"]) == ("p1", r"\boxed{4}", 1.0)
    assert (best["answer/score"], best["answer/reason"], best["answer/answer"]) == (1.0, "correct", "4")
    notes = sorted((tmp_path / "wandb").glob("*run-*/files/media/table/notes_*.json"))
    assert [2, "rules.yaml: rules.answer.weight 1.0 -> 0.5"] in json.loads(notes[0].read_text())["data"]
    assert [2, "checkpoint"] in json.loads(notes[-1].read_text())["data"], "also after the last step"


def test_sample_rollouts() -> None:
    """The best and the worst of each group; groups in which all are the same come last; a masked one is worse than any."""
    same, mixed = scored_group("same", texts=["four", "five"]), scored_group("mixed")
    columns, rows = samples([same, mixed], PACK, 3)
    assert [(row[0], row[2]) for row in rows] == [("mixed", TEXTS[0]), ("mixed", TEXTS[1]), ("same", "four")]
    assert len(rows[0][1]) <= 500
    assert rows[0][1].endswith("What is 2 + 2?")
    assert columns[5:] == ["answer/score", "answer/reason", "answer/answer"]
    failed = replace(mixed.rollouts[1], verdicts={"answer": Verdict.error("crash")}, reward=None)
    _, rows = samples([replace(mixed, rollouts=(mixed.rollouts[0], mixed.rollouts[1], failed))], PACK, 2)
    assert rows[1][3:6] == [None, failed.advantage, None]
    _, rows = samples([replace(mixed, rollouts=tuple(replace(r, verdicts={}) for r in mixed.rollouts))], PACK, 1)
    assert rows[0][5:] == [None, "", None], "the rule does not apply to this problem"


@pytest.mark.slow
def test_a_resumed_run_keeps_its_id(tmp_path: Path) -> None:
    ids = []
    for step in (1, 2):
        time.sleep(step - 1)  # W&B names folders by the second
        session = begin(tmp_path)
        session.log(step, {"reward/mean": 0.1})
        session.end({})
        ids.append(run_of(tmp_path).run_id)
        assert set(history(tmp_path)) == {step}
    assert ids[0] == ids[1]
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


PROGRAM = """
    import signal, sys, time
    from pathlib import Path
    import psutil
    from rlvr.tracking.observer import RunInfo
    from rlvr.tracking.wandb import WandbTracker

    folder, trouble, patience = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    session = WandbTracker(patience_s=patience)
    session.begin(RunInfo(name="grpo", config={}, folder=folder, steps=50))
    session.log(1, {"reward/mean": 0.1})
    if trouble != "none":
        while not list(folder.glob("wandb/*run-*/*.wandb")):
            time.sleep(0.05)
        (service,) = [child for child in psutil.Process().children() if child.name() == "wandb-core"]
        if trouble == "killed":
            service.kill()
        elif trouble == "hanging":
            service.send_signal(signal.SIGSTOP)
        else:
            session.log(2, {"reward/mean": object()})
    for step in range(3, 50):
        session.log(step, {"reward/mean": 0.2})
    session.end({"after": 0.5})
    print("done")
"""


def in_a_process(folder: Path, trouble: str = "none", patience: float = 60.0, **environment: str) -> tuple[str, str]:
    """What the program prints and what it says to standard error; it has to end by itself, with status 0."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(folder), trouble, str(patience)]
    environment = {**os.environ, **environment}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout, result.stderr


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        pytest.param("killed", "failed: ", marks=pytest.mark.slow),
        ("hanging", "does not finish within 1 s"),
        pytest.param("refusing", "failed: TypeError: ", marks=pytest.mark.slow),
    ],
)
def test_a_run_continues_whatever_wandb_does(trouble: str, reason: str, tmp_path: Path) -> None:
    """Its service is killed, or hangs, or it refuses its input: one line, and the process ends normally."""
    out, err = in_a_process(tmp_path, trouble, 1.0 if trouble == "hanging" else 3.0)
    assert out == "done\n"
    assert err.startswith(f"W&B {reason}")
    assert err.endswith("; continuing without it\n")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_without_a_key_it_stays_offline_and_silent(tmp_path: Path) -> None:
    assert in_a_process(tmp_path) == ("done\n", "")
    assert history(tmp_path)[1]["reward/mean"] == 0.1
    assert in_a_process(tmp_path, WANDB_MODE="online") == ("done\n", "W&B is not logged in, continuing offline\n")


@pytest.mark.slow
def test_a_server_that_is_not_there_costs_nothing_but_a_warning(tmp_path: Path) -> None:
    out, err = in_a_process(tmp_path, WANDB_API_KEY="a" * 40, WANDB_BASE_URL="http://127.0.0.1:9", WANDB_INIT_TIMEOUT="3")
    assert out == "done\n"
    assert err.startswith("W&B cannot be reached, continuing offline: ")
    assert err.count("\n") == 1
    assert history(tmp_path)[49]["reward/mean"] == 0.2, "nothing is lost"


@pytest.mark.parametrize(
    ("options", "key"), [({"mode": "onlin"}, "mode"), ({"table_every": -1}, "table_every"), ({"patience_s": 0}, "patience_s")]
)
def test_wrong_options_are_refused(options: dict[str, Any], key: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=f"^{key}=.*: (must be|there is no such choice)"):
        WandbTracker(**options)


def test_no_tracker_keeps_nothing(tmp_path: Path) -> None:
    session = NoTracker()
    session.begin(info(tmp_path))
    session.rollouts(1, "train", [scored_group("p1")], PACK)
    session.log(1, {"reward/mean": 0.1})
    session.end({})
    assert not list(tmp_path.iterdir())
