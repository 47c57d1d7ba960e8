"""Programs that cheat, or leave what they can: none gets more than it earned or leaves anything, and the next is judged right.

Each is judged in this user's name, and when that is root in an ordinary user's too.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from as_user import NOBODY
from escape_programs import ESCAPES

from conftest import SUPPORT

RUNNER = SUPPORT / "run_escapes.py"
USERS = ["this user", "an ordinary user"] if os.getuid() == 0 else ["this user"]

EXACT = {
    *("daemon", "daemon_from_the_call", "shell_in_the_background", "threads", "busy_thread", "work_at_exit", "odd_files"),
    *(
        "much_output",
        "errors_as_well",
        "no_standard_files",
        "removes_its_directory",
        "alarm",
        "lies_as_well",
        "first_call_only",
    ),
}
"""Right programs whose ways are their own business: they get all that they earn."""


@functools.cache
def results(user: str, names: tuple[str, ...]) -> dict[str, Any]:
    """What came of all of them, by name; one run for each user."""
    options = ["--user", str(NOBODY)] if user == "an ordinary user" else []
    paths = os.pathsep.join([str(RUNNER.parent), str(RUNNER.parents[2])])
    done = subprocess.run(
        [sys.executable, str(RUNNER), *options, *names],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if options and "OSError" in done.stderr and "as_user.py" in done.stderr:
        pytest.skip(f"no ordinary user can read this Python: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows[0]["user"] == (NOBODY if options else os.getuid())
    assert rows[0]["honest"] == [1.0, 1.0]
    return {row["name"]: row for row in rows[1:]}


@pytest.fixture
def chosen(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The programs that this session tests, so that asking for one runs one."""
    here = [item for item in request.session.items if item.path == request.path]
    return tuple(dict.fromkeys(item.callspec.params["name"] for item in here if hasattr(item, "callspec")))


def test_there_are_enough() -> None:
    assert len({each.completion for each in ESCAPES.values()}) >= 60


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("name", ESCAPES)
def test_gains_nothing_and_leaves_nothing(user: str, name: str, chosen: tuple[str, ...]) -> None:
    result = results(user, chosen)[name]
    assert result["outcome"] == "scored", f"a program must not be able to have itself masked: {result}"
    assert result["score"] <= result["earns"] + 1e-9, result
    if name.removeprefix("right-") in EXACT:
        assert result["score"] == pytest.approx(result["earns"]), result
    assert result["honest"] == [1.0, 1.0], f"the next ones must be judged right: {result}"
    assert not any(result["left"].values()), f"nothing may be left: {result}"
