"""`python run_escapes.py [--user NUMBER] [NAME ...]`: score programs that misbehave, and print a line of JSON for each.

A separate program, so that the same can run as root and as an ordinary user.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import traces
from as_user import become, interpreter
from escape_programs import ESCAPES, FUNCTION, HONEST, HONEST_SCRIPT, SCRIPT, Escape

from rlvr.data.code_rows import fenced
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.verifiers.code import Code

ROOT = Path(__file__).parents[2]
SETTLED_S = 3.0
"""Seconds until what a program has left must be gone."""
VERIFIER = Code(wall_s=1.0, cpu_s=1.0, budget_s=3.0)


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    user = int(arguments[1]) if arguments[:1] == ["--user"] else None
    names = arguments if user is None else arguments[2:]
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if not child:
            try:
                _settle(folder, user)
                _score_all([ESCAPES[name] for name in names] or list(ESCAPES.values()))
                os._exit(0)
            finally:
                traceback.print_exc()
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _settle(folder: str, user: int | None) -> None:
    """Move to a fresh temporary folder, where nothing else leaves anything, and become that user."""
    if user is not None:
        os.chown(folder, user, user)
        become(user, {*interpreter(), ROOT})
        subprocess.run([sys.executable, "-c", "import rlvr"], check=True)
    os.chdir(folder)
    os.environ.update(HOME=folder, TMPDIR=folder)
    tempfile.tempdir = folder


def _score_all(escapes: list[Escape]) -> None:
    with Supervisor(workers=1) as pool:
        honest = _score_honest(pool)
        before = (traces.processes(), traces.mounts())
        print(json.dumps({"user": os.getuid(), "honest": honest, "processes": before[0]}), flush=True)
        for escape in escapes:
            print(json.dumps({"name": escape.name, **_try(pool, escape, before)}), flush=True)


def _score_honest(pool: Supervisor) -> list[float | None]:
    """The scores of right programs, of both kinds."""
    programs = ((HONEST, FUNCTION), (HONEST_SCRIPT, SCRIPT))
    return [pool.score(VERIFIER, fenced(program), problem).score for program, problem in programs]


def _try(pool: Supervisor, escape: Escape, before: tuple[int, list[tuple[str, ...]]]) -> dict[str, object]:
    start = time.perf_counter()
    verdict = pool.score(VERIFIER, escape.completion, escape.problem)
    seconds = time.perf_counter() - start
    honest = _score_honest(pool)
    until = time.monotonic() + SETTLED_S
    while True:
        left = {
            "processes": traces.processes() - before[0],
            "marked": traces.marked_processes(),
            "things": traces.marked_things(),
            "mounts": traces.mounts() != before[1],
        }
        if not any(left.values()) or time.monotonic() > until:
            break
        time.sleep(0.02)
    said = {"score": verdict.score, "outcome": verdict.outcome, "reason": verdict.reason, "detail": verdict.detail[:500]}
    return {**said, "earns": escape.earns, "honest": honest, "left": left, "seconds": seconds}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
