"""The scoring backend: the keys of `verify` take effect in every command, and programs run only where they may."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forked import run

from conftest import SUPPORT, needs
from rlvr import Problem
from rlvr.analysis.audit.audit import audit
from rlvr.cli.main import main
from rlvr.config.compose import compose
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError
from rlvr.rules.load import rule_pack
from rlvr.rules.pack import RulePack
from rlvr.rules.rule import Rule
from rlvr.scoring.factory import make_backend
from rlvr.scoring.local.supervisor import Supervisor, shared


@pytest.fixture
def does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments for a pack whose rule does what the completion says."""
    monkeypatch.syspath_prepend(str(SUPPORT))
    return pack_file(tmp_path, "Does")


def pack_file(folder: Path, verifier: str) -> list[str]:
    (folder / "rules").mkdir()
    (folder / "rules" / "mine.yaml").write_text(f"mine: {{weight: 1.0, verifier: {{_target_: slow_verifiers.{verifier}}}}}")
    return ["rules=mine", "rules_from=[slow_verifiers]", f"hydra.searchpath=[file://{folder}]"]


def score(folder: Path, texts: list[str], *arguments: str) -> list[dict[str, Any]]:
    """Rewards and reasons."""
    source, out = folder / "in.jsonl", folder / "out.jsonl"
    rows = [{"id": str(at), "prompt": "q", "completion": text, "truth": {}} for at, text in enumerate(texts)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    status = main(["score", *arguments, f"input={source}", f"output={out}"])
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in scored] == [row["id"] for row in rows]
    assert status == int(any(row["verdicts"]["mine"]["outcome"] == "error" for row in scored))
    return [row["verdicts"]["mine"] for row in scored]


def test_a_backend_has_the_settings_of_its_configuration() -> None:
    config = compose(["verify.workers=3", "verify.deadline_s=0.5", "verify.memory_mb=77"])
    made = make_backend(config, rule_pack(config))
    assert made is shared(workers=3, deadline_s=0.5, memory_mb=77)
    assert made.concurrency == 3
    assert make_backend(compose(["verify.allow_weak_isolation=true"]), rule_pack(config)) is shared(allow_weak_isolation=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("verify.workers=0", "verify.workers=0: must be at least 1"),
        ("verify.retries=-1", "verify.retries=-1: must be at least 0"),
        ("verify.deadline_s=0", "verify.deadline_s=0.0: must be above 0"),
        ("verify.deadline_s=nan", "verify.deadline_s=nan: must be above 0"),
        ("verify.deadline_s=inf", "verify.deadline_s=inf: must be above 0"),
        ("verify.memory_mb=0", "verify.memory_mb=0: must be at least 1"),
        ("verify.max_error_share=2", "verify.max_error_share=2.0: must lie in [0, 1]"),
        ("verify.redis_patience_s=-1", "verify.redis_patience_s=-1.0: must be above 0"),
        ("verify.redis_redeliver_s=0", "verify.redis_redeliver_s=0.0: must be above 0"),
        ("verify.redis_in_flight=0", "verify.redis_in_flight=0: must be at least 1"),
    ],
)
def test_bad_settings_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose([override])
    assert str(caught.value) == message


def test_bad_settings_are_refused_by_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "rules=answer", "input=/etc/hostname", "verify.workers=0"]) == 2
    assert main(["audit", "rules=answer", "dataset=arithmetic", "verify.workers=0"]) == 2
    assert main(["evaluate", "verify.workers=0"]) == 2
    assert main(["worker", "verify.workers=0"]) == 2
    assert capsys.readouterr().err == "error: verify.workers=0: must be at least 1\n" * 4


def test_the_score_command_follows_the_keys_of_verify(does: list[str], tmp_path: Path) -> None:
    texts = ["spin: 0.3", "echo: x", "spin: 0.0"]
    assert [each["reason"] for each in score(tmp_path, texts, *does)] == ["correct"] * 3
    assert [each["reason"] for each in score(tmp_path, texts, "verify.deadline_s=0.1", *does)] == ["timeout", *["correct"] * 2]
    (verdict,) = score(tmp_path, ["allocate_at_once: "], "verify.memory_mb=50", *does)
    assert (verdict["reason"], verdict["detail"]) == ("memory", "needs more than 50 MB")
    for retries, outcome in ((0, "error"), (1, "scored")):
        (verdict,) = score(tmp_path, [f"fail_once: {tmp_path}/{retries}"], f"verify.retries={retries}", *does)
        assert verdict["outcome"] == outcome


def test_the_score_command_uses_all_workers(does: list[str], tmp_path: Path) -> None:
    """Each row waits for the other three, and none has a second worker."""
    (tmp_path / "met").mkdir()
    meeting = [f"meet: {tmp_path}/met 4 {at}" for at in range(4)]
    verdicts = score(tmp_path, ["echo: first", *meeting, "echo: last"], "verify.workers=4", *does)
    assert [each["reason"] for each in verdicts] == ["correct"] * 6
    assert [each["answer"] for each in verdicts] == ["echo: first", *meeting, "echo: last"]


def test_the_audit_uses_all_workers(does: list[str], tmp_path: Path) -> None:
    (tmp_path / "met").mkdir()
    problems = [
        Problem(id=f"p{at}", prompt="q", truth={}, metadata={"completion": f"meet: {tmp_path}/met 3 {at}"}) for at in range(3)
    ]
    config = compose([*does, "dataset=arithmetic"])
    with Supervisor(workers=3) as pool:
        report = audit(rule_pack(config), problems, Prompts(template=config.prompt), [], 50, backend=pool)
    assert (report.references, report.short) == (3, ())


@pytest.mark.slow
def test_the_audit_follows_the_keys_of_verify(does: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "test"):
        row = {"id": name, "prompt": name, "truth": {}, "completion": "spin: 0.3"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    data = ["dataset=jsonl", f"dataset.path={tmp_path}/train.jsonl", f"dataset.eval_path={tmp_path}/test.jsonl"]
    arguments = [*does, *data, "audit.attacks=[]"]
    assert main(["audit", *arguments]) == 0
    assert "2 of 2 get the full score" in capsys.readouterr().out
    assert main(["audit", *arguments, "verify.deadline_s=0.1"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "0 of 2 get the full score" in out
    assert "not done after 0.1 s of processor time" in out


def run_without_isolation(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "HF_HUB_OFFLINE": "1"}
    return run(*arguments, env=environment, preexec="from no_isolation import deny_isolation; deny_isolation()")


@pytest.mark.slow
@needs((sys.platform, platform.machine()) == ("linux", "x86_64"), "Linux on x86-64, whose system calls no_isolation knows")
def test_nothing_that_runs_programs_starts_where_they_cannot_be_isolated(tmp_path: Path) -> None:
    pack, source = pack_file(tmp_path, "Runs"), tmp_path / "in.jsonl"
    source.write_text(json.dumps({"prompt": "q", "completion": "say_environment: RLVR_ALLOW_WEAK_ISOLATION", "truth": {}}))
    small = ["steps=0", "eval.problems=0", "tracking=none"]
    commands = {
        "score": ["score", *pack, f"input={source}"],
        "audit": ["audit", *pack, "dataset=arithmetic", "audit.attacks=[]", "audit.problems=1"],
        "run": ["train", *pack, *small, f"hydra.run.dir={tmp_path}/run"],
    }
    for name, command in commands.items():
        refused = run_without_isolation(*command)
        assert refused.returncode == 2, (name, refused.stderr)
        assert refused.stderr.startswith("error: verify.allow_weak_isolation=false: this machine cannot isolate programs"), name
        assert refused.stderr.count("\n") == 1, name
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    uncounted = run_without_isolation(*commands["score"], "rules.mine.weight=0")
    assert uncounted.returncode == 0, "a rule that only reports needs no isolation"
    allowed = run_without_isolation(*commands["score"], "verify.allow_weak_isolation=true")
    assert allowed.returncode == 0, allowed.stderr
    assert json.loads(allowed.stdout)["verdicts"]["mine"]["answer"] == "1", "which its workers know"


def test_a_pack_needs_isolation_where_a_rule_that_counts_runs_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUPPORT))
    from slow_verifiers import Does, Runs

    runs, does = Rule(name="runs", weight=1.0, verifier=Runs()), Rule(name="does", weight=1.0, verifier=Does())
    parts = Rule(name="parts", weight=0.1, parts=(does, runs))
    uncounted = Rule(name="runs", weight=0.0, verifier=Runs())
    found = [
        RulePack(rules={rule.name: rule for rule in rules}).isolated for rules in ([does, runs], [parts], [does, uncounted])
    ]
    assert found == [True, True, False]
