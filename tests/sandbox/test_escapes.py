"""Programs that cheat, or leave behind what they can: none gains or leaves anything, and the next program is scored right.

The fast tests run one program of each family as this user. The slow ones run all, and as root also as an ordinary user.
"""

from __future__ import annotations

import functools
import json
import os
import re
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
    "daemon", "daemon_from_the_call", "shell_in_the_background", "threads", "busy_thread", "work_at_exit", "odd_files",
    "much_output", "errors_as_well", "no_standard_files", "removes_its_directory", "alarm", "lies_as_well", "first_call_only",
}  # fmt: skip
"""Right programs with odd but harmless ways: they get all that they earn."""
TAKE_SECONDS = {
    "exhaustion-f0", "exhaustion-f1", "exhaustion-f2", "exhaustion-f3", "exhaustion-f4", "exhaustion-f5", "exhaustion-s0",
    "exhaustion-s1", "reads_files-f0", "reads_files-s0",
}  # fmt: skip
"""Programs of the audit's attacks that run until a limit stops them, or nearly so."""
OWN = {
    "wrong-fork_bomb", "wrong-thread_bomb", "wrong-memory_in_pipes", "wrong-folders_without_end", "wrong-raises_its_limits",
    "wrong-descriptors_without_end", "wrong-spoils_its_heap", "wrong-becomes_another_program", "wrong-deep_unary",
    "wrong-lone_surrogates", "wrong-tries_the_network", "wrong-tries_the_kernel", "wrong-tries_its_parents", "right-daemon",
    "right-work_at_exit", "right-busy_thread", "right-files_everywhere", "right-odd_files", "right-mounts",
    "right-removes_its_directory", "right-shared_memory", "right-sockets", "right-no_standard_files", "right-lies_as_well",
    "right-spoils_its_interpreter", "right-exits_after_the_first_call", "script-output_held_by_a_daemon",
    "script-right_then_kills", "script-closes_everything", "script-only_one_case",
}  # fmt: skip
"""A program of each kind from `misdeeds`."""


def _family(name: str) -> str:
    """The attack, and the form of its tests."""
    return re.sub(r"\d+$", "", name)


_FIRST = {_family(name): name for name in reversed(ESCAPES) if name[-1].isdigit() and name not in TAKE_SECONDS}
FAST = OWN | set(_FIRST.values())
"""One program of each family."""
CASES = [
    pytest.param(user, name, marks=() if name in FAST and user == "this user" else pytest.mark.slow)
    for user in USERS
    for name in ESCAPES
]


@functools.cache
def results(user: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The results of the named programs, by name; one run per user."""
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
        pytest.skip(f"needs: a Python that an ordinary user can read ({done.stderr.splitlines()[-1]})")
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows[0]["user"] == (NOBODY if options else os.getuid())
    assert rows[0]["honest"] == [1.0, 1.0]
    return {row["name"]: row for row in rows[1:]}


@pytest.fixture
def chosen(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The programs that this session tests: asking for one runs one."""
    here = [item for item in request.session.items if item.path == request.path]
    return tuple(dict.fromkeys(item.callspec.params["name"] for item in here if hasattr(item, "callspec")))


def test_there_are_enough() -> None:
    assert len({each.completion for each in ESCAPES.values()}) >= 60
    assert {_family(name) for name in ESCAPES if name[-1].isdigit()} == set(_FIRST)
    assert set(ESCAPES) >= FAST


@pytest.mark.parametrize(("user", "name"), CASES)
def test_gains_nothing_and_leaves_nothing(user: str, name: str, chosen: tuple[str, ...]) -> None:
    result = results(user, chosen)[name]
    assert result["outcome"] == "scored", f"a program must not be able to have itself masked: {result}"
    assert result["score"] <= result["earns"] + 1e-9, result
    if name.removeprefix("right-") in EXACT:
        assert result["score"] == pytest.approx(result["earns"]), result
    assert result["honest"] == [1.0, 1.0], f"the next ones must be scored right: {result}"
    assert not any(result["left"].values()), f"nothing may be left: {result}"
