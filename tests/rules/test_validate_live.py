"""Checks of an edited pack before a run adopts it, and that the run's workers then score by it."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis_fleet import RedisServer, WorkerProcess

from conftest import ROOT, SUPPORT, needs
from rlvr import Problem
from rlvr.errors import ConfigError
from rlvr.rules.edits import RULES
from rlvr.rules.live import LiveRules
from rlvr.rules.load import read_pack
from rlvr.rules.pack import Judgement, RulePack
from rlvr.rules.validate_live import validate_live_rules
from rlvr.scoring.backend import Backend
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.scoring.remote.backend import RedisBackend
from rlvr.scoring.scheduler import scoring

FROM = ["slow_verifiers"]
EXACT = "a: {weight: 1, verifier: {_target_: rlvr.verifiers.math.MathAnswer}}\n"
ECHO = "b: {weight: 0.5, verifier: {_target_: slow_verifiers.Does, what: echo}}\n"
PROBLEMS = [Problem(id=str(at), prompt="q", truth={"answer": truth}) for at, truth in enumerate(("7", "8", "no number :("))]


@pytest.fixture(autouse=True)
def slow_verifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUPPORT))


@pytest.fixture(scope="module")
def local() -> Iterator[Supervisor]:
    with Supervisor(workers=1) as pool:
        yield pool


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[RedisBackend]:
    """A worker that may import `slow_verifiers`, and a client that would send more."""
    server = RedisServer(tmp_path)
    worker = WorkerProcess(server.url, tmp_path, f"rules_from={FROM}".replace("'", ""))
    backend = RedisBackend(url=server.url, rules_from=[*FROM, "kept_count"])
    yield backend
    backend.close()
    assert worker.stop() == 0
    server.kill()


def validation(backend: Backend, **changed: Any) -> Callable[[RulePack], None]:
    """The check of edited rules in a run that scores with `backend`."""

    def judge(pack: RulePack, completion: str, problem: Problem) -> Judgement:
        return pack.judge(completion, problem, backend.score)

    options: dict[str, Any] = {
        "train": PROBLEMS[:2],
        "held_out": PROBLEMS[:1],
        "judge": judge,
        "on_unscorable": "fail",
        "problems": 2,
        **changed,
    }
    return partial(validate_live_rules, require_isolation=backend.require_isolation, **options)


def test_rules_that_cannot_score_the_problems_of_the_run(local: Supervisor) -> None:
    pack = read_pack(EXACT)
    validation(local)(pack)
    needs_more = read_pack("a: {weight: 1, verifier: {_target_: rlvr.verifiers.structured.schema.JsonMode}}")
    with pytest.raises(ConfigError, match="dataset: 2 of 2 ground truths cannot be scored"):
        validation(local)(needs_more)
    with pytest.raises(ConfigError, match="rules: of 2 training problems 0 can be scored: 2 of 2 ground truths"):
        validation(local, on_unscorable="drop")(needs_more)


def test_a_verifier_that_fails_in_a_worker(local: Supervisor) -> None:
    validation(local)(read_pack(EXACT + ECHO, FROM))
    crashing = read_pack(EXACT + ECHO.replace("echo", "no_such_action"), FROM)
    with pytest.raises(ConfigError, match="rules.b: cannot score problem 0: crash: KeyError: 'no_such_action'"):
        validation(local)(crashing)


@needs((sys.platform, platform.machine()) == ("linux", "x86_64"), "Linux on x86-64, whose system calls no_isolation knows")
def test_programs_need_isolation_unless_weak_isolation_is_allowed() -> None:
    """In a process that cannot isolate anything; see `no_isolation`."""
    script = f"""
import sys
sys.path[:0] = [{str(SUPPORT)!r}]
from no_isolation import deny_isolation
deny_isolation()
from rlvr import Problem
from rlvr.errors import ConfigError
from rlvr.rules.load import read_pack
from rlvr.rules.validate_live import validate_live_rules
from rlvr.scoring.local.supervisor import Supervisor
runs, problems = {ECHO.replace("Does", "Runs")!r}, [Problem(id="p", prompt="q", truth={{"answer": "7"}})]
def validate(pool, weight):
    validate_live_rules(
        read_pack({EXACT!r} + runs.replace("0.5", weight), {FROM!r}), train=problems, held_out=problems, on_unscorable="fail",
        problems=1, require_isolation=pool.require_isolation, judge=lambda pack, *asked: pack.judge(*asked, pool.score),
    )
with Supervisor(workers=1, allow_weak_isolation=True) as pool:
    validate(pool, "0.5")
with Supervisor(workers=1) as pool:
    validate(pool, "0")
    for weight in ("0.5", "{{0: 0, 9: 1}}"):
        try:
            validate(pool, weight)
        except ConfigError as error:
            print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("verify.allow_weak_isolation=false: this machine cannot isolate programs") == 2


def scored(backend: Backend, rules: LiveRules, step: int) -> tuple[float | None, str | None]:
    """Reward of a right answer, and the answer that rule b reports."""
    with scoring(rules.pack.at(step), backend, retries=0) as batch:
        [judgement] = batch.score([("\\boxed{7}", PROBLEMS[0])])
    return judgement.reward, judgement.verdicts["b"].answer if "b" in judgement.verdicts else None


def check_edits(folder: Path, backend: Backend) -> LiveRules:
    """A slow rule is added, its options change, its weight changes at a later step: each takes effect at once."""
    (folder / RULES).write_text(EXACT)
    rules = LiveRules(folder, EXACT, rules_from=[*FROM, "kept_count"], validate=validation(backend))
    assert scored(backend, rules, 1) == (1.0, None)
    (folder / RULES).write_text(EXACT + ECHO)
    assert [edit.changes for edit in rules.poll(2)] == [("rule b added (weight 0.5)",)]
    assert scored(backend, rules, 2) == (1.5, "\\boxed{7}")
    (folder / RULES).write_text(EXACT + ECHO.replace("echo", "read_input").replace("0.5", "{0: 0.5, 4: -2}"))
    [edit] = rules.poll(3)
    assert edit.changes == ("rules.b.weight 0.5 -> {0: 0.5, 4: -2.0}", "rules.b.verifier.what echo -> read_input")
    assert [scored(backend, rules, step) for step in (3, 4)] == [(1.5, "b''"), (-1.0, "b''")]
    return rules


def test_local_workers_score_by_the_new_rules(tmp_path: Path, local: Supervisor) -> None:
    check_edits(tmp_path, local)


@pytest.mark.slow
def test_remote_workers_score_by_the_new_rules_and_what_they_refuse_is_refused(tmp_path: Path, fleet: RedisBackend) -> None:
    rules = check_edits(tmp_path, fleet)
    before = rules.text
    (tmp_path / RULES).write_text(EXACT + "c: {weight: 1, verifier: {_target_: kept_count.Traced, path: traces}}")
    [edit] = rules.poll(5)
    assert "rules.c: cannot score problem 0: refused: by a worker" in str(edit.refused)
    assert rules.text == before
