"""Failures of our own: an error while they last, the right score afterwards, never a wrong one."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import pytest
from namespaces import NEEDS_NAMESPACES

from rlvr.rules.pack import RulePack
from rlvr.rules.rule import Rule
from rlvr.sandbox.base import Job, Limits, SandboxError
from rlvr.sandbox.probe import tier_to_use
from rlvr.sandbox.sandbox import Sandbox
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.scoring.scheduler import scoring
from rlvr.types import Problem
from rlvr.verifiers.code import Code

pytestmark = NEEDS_NAMESPACES

PROBLEM = Problem(id="p", prompt="Add.", truth={"asserts": ["assert add(1, 2) == 3", "assert add(2, 2) == 4"], "setup": ""})
RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"
SLOW = "```python\nimport time\ntime.sleep(0.1)\ndef add(a, b):\n    return a + b\n```"
HALF = "```python\ndef add(a, b):\n    return 3\n```"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(tier=tier_to_use()) as made:
        yield made


def inner(sandbox: Sandbox) -> list[psutil.Process]:
    """The processes of its fork server, the jail's first."""
    outer = psutil.Process(sandbox._server._process.pid)
    return [outer, *outer.children(recursive=True)]


@pytest.mark.parametrize("which", [1, -1], ids=["jail", "fork server"])
def test_a_killed_server_is_an_error_and_the_next_program_has_a_new_one(sandbox: Sandbox, which: int) -> None:
    sandbox.run(Job(source="pass"))
    inner(sandbox)[which].send_signal(signal.SIGKILL)
    with pytest.raises(SandboxError):
        sandbox.run(Job(source="print(1)"))
    assert sandbox.run(Job(source="print(1)")).stdout == b"1\n"


def test_a_session_whose_server_is_killed_is_an_error_not_an_ending(sandbox: Sandbox) -> None:
    session = sandbox.load("def f(): return 1", limits=Limits())
    session.wait_until_loaded()
    inner(sandbox)[1].send_signal(signal.SIGKILL)
    with pytest.raises(SandboxError):
        list(iter(lambda: session.ask("call", None, "f"), None))  # until it is dead


@contextmanager
def limited(which: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(which)
    resource.setrlimit(which, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(which, before)


def test_a_fork_that_fails_is_an_error_and_passes() -> None:
    """The server has two processes, so that a program's is one too many."""
    with limited(resource.RLIMIT_NPROC, 2), pytest.raises(SandboxError), Sandbox(tier=tier_to_use()) as sandbox:
        sandbox.run(Job(source="print(1)"))
    with Sandbox(tier=tier_to_use()) as sandbox:
        assert sandbox.run(Job(source="print(1)")).stdout == b"1\n"


def test_no_descriptors_left_is_an_error_and_passes() -> None:
    code = Code()
    assert code(RIGHT, PROBLEM).score == 1.0
    with limited(resource.RLIMIT_NOFILE, 200), ExitStack() as stack:
        with suppress(OSError):
            while True:
                stack.enter_context(open(os.devnull))
        verdict = code(RIGHT, PROBLEM)
    assert verdict.outcome == "error"
    assert code(RIGHT, PROBLEM).score == 1.0


@pytest.mark.parametrize("what", ["worker", "fork server"])
def test_what_is_killed_in_the_middle_is_scored_again_and_once(what: str) -> None:
    pack = RulePack(rules={"code": Rule(name="code", weight=1.0, verifier=Code())})
    problems = [Problem(id=f"p{number}", prompt=PROBLEM.prompt, truth=PROBLEM.truth) for number in range(12)]
    responses = [f"{SLOW if number % 2 else HALF}\n" for number in range(12)]
    others = set(psutil.Process().children())
    with Supervisor(workers=1) as supervisor, scoring(pack, supervisor, retries=4) as batch:
        assert batch.score([(RIGHT, PROBLEM)])[0].reward == 1.0
        (worker,) = set(psutil.Process().children()) - others
        victim = worker if what == "worker" else worker.children(recursive=True)[-1]
        tasks = [batch._start(response, problem) for response, problem in zip(responses, problems, strict=True)]
        victim.send_signal(signal.SIGKILL)
        judgements = [task.judgement.result() for task in tasks]
    assert [judgement.reward for judgement in judgements] == [1.0 if number % 2 else 0.5 for number in range(12)]
