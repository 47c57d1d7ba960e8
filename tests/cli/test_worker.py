"""`rlvr worker`: its errors, and how it stops."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forked
import psutil
import pytest
from redis_fleet import RedisServer, WorkerProcess
from slow_verifiers import Does

from conftest import ROOT
from rlvr import Problem, Verdict
from rlvr.cli.main import main
from rlvr.config.compose import compose
from rlvr.sandbox.probe import probe
from rlvr.scoring.remote.backend import RedisBackend

PROBLEM = Problem(id="p", prompt="q", truth={})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["verify.redis_url=redis://127.0.0.1:1/0"], "verify.redis_url=redis://127.0.0.1:1/0: Redis does not answer"),
        (["verify.redis_url=127.0.0.1"], "verify.redis_url=127.0.0.1: must be redis://HOST:PORT/DATABASE"),
        (["verify.redis_url=null"], "verify.redis_url: must be set, as verify.redis_url=redis://HOST:6379/0"),
        (["verify.redis_url=redis://127.0.0.1:1/0", "verify.workers=0"], "verify.workers=0: must be at least 1"),
        (["verify.redis_redeliver_s=0"], "verify.redis_redeliver_s=0.0: must be above 0"),
        (["verify.worker=2"], "verify.worker=2: there is no such key; did you mean workers?"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worker", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {line}")
    assert said.count("\n") == 1


@pytest.mark.parametrize("package", ["celery", "redis"])
def test_a_missing_package_is_named_with_where_it_comes_from(package: str) -> None:
    without = f"import sys; sys.modules[{package!r}] = None"
    result = forked.run("worker", "verify.redis_url=redis://127.0.0.1:1/0", preexec=without)
    assert result.returncode == 2
    assert result.stderr.startswith("error: verify.redis_url: ")
    assert package in result.stderr
    assert "pip install 'rlvr[redis]'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_check_says_what_isolation_there_is() -> None:
    result = forked.run("worker", "--check")
    isolation = probe()
    assert result.stdout == f"{isolation}\n"
    assert result.returncode == (1 if isolation.tier == "none" else 0)


@pytest.mark.slow
def test_a_terminated_worker_finishes_what_it_has(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    running = WorkerProcess(server.url, tmp_path, "rules_from=[slow_verifiers]")
    backend = RedisBackend(url=server.url, rules_from=["slow_verifiers"])
    with ThreadPoolExecutor(1) as threads:
        verdict = threads.submit(backend.score, Does(), "sleep: 1.5", PROBLEM)
        with server.client() as client:
            end = time.monotonic() + 30
            while not client.keys("rlvr:alive:*"):
                assert time.monotonic() < end
                time.sleep(0.02)
        children = psutil.Process(running.process.pid).children(recursive=True)
        assert running.stop() == 0
        assert verdict.result() == Verdict.scored(1.0, "correct", "sleep: 1.5")
    assert f"scoring with 2 processes for {server.url}" in running.log()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    backend.close()
    server.kill()


@pytest.mark.slow
def test_a_killed_worker_leaves_no_process(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    running = WorkerProcess(server.url, tmp_path, "rules_from=[slow_verifiers]")
    backend = RedisBackend(url=server.url, rules_from=["slow_verifiers"])
    with ThreadPoolExecutor(1) as threads:
        verdict = threads.submit(backend.score, Does(), "spin: 100", PROBLEM)
        end = time.monotonic() + 30
        while not (children := psutil.Process(running.process.pid).children(recursive=True)):
            assert time.monotonic() < end
            time.sleep(0.02)
        running.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
        backend.close()
        assert verdict.result().outcome == "error"
    server.kill()


def test_the_files_for_a_fleet_start_it_as_it_can_be_started() -> None:
    """The command lines of the unit and of the container, with the URL from the environment."""
    os.environ["RLVR_REDIS_URL"] = "redis://:secret@host:6379/0?ssl_cert_reqs=required"
    try:
        unit = (ROOT / "rlvr" / "launch" / "deploy" / "rlvr-worker@.service").read_text()
        [start] = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
        program, command, override, options = start.removeprefix("ExecStart=").replace("$$", "$").split()
        assert (program, command, options) == ("/opt/rlvr/bin/rlvr", "worker", "$RLVR_OPTIONS")
        assert compose(["verify=redis", override]).verify.redis_url == os.environ["RLVR_REDIS_URL"]
        container = (ROOT / "rlvr" / "launch" / "deploy" / "Containerfile.worker").read_text()
        assert f'"-m", "rlvr", "worker", "{override}"]' in container
    finally:
        del os.environ["RLVR_REDIS_URL"]
