"""The one program: its commands, help, version and exit statuses."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from conftest import ROOT
from rlvr.cli import main as program
from rlvr.cli.main import COMMANDS, main

Capsys = pytest.CaptureFixture[str]


def test_without_a_command_it_lists_the_commands(capsys: Capsys) -> None:
    assert main([]) == 2
    usage = capsys.readouterr().err
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == usage
    assert all(f"rlvr {name} " in usage for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_version(name: str, capsys: Capsys) -> None:
    assert main([name, "--help"]) == 0
    assert f"rlvr {name}" in capsys.readouterr().out
    assert main([name, "--version"]) == 0
    assert capsys.readouterr().out == f"rlvr {version('rlvr')}\n"


def test_train_py_is_rlvr_train() -> None:
    done = subprocess.run([sys.executable, "train.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"rlvr {version('rlvr')}\n", "")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian"], "error: trian: there is no such command; did you mean train? (allowed: train, evaluate, "),
        (["train", "foo"], "error: foo: cannot be read; write key=value"),
        (["evaluate", "--foo"], "error: unrecognized arguments: --foo"),
        (["evaluate", "eval.problems=0"], "error: eval.problems=0: must be at least 1"),
        (["report"], "error: one DIR is needed; usage: rlvr report DIR"),
        (["score"], "error: rules=PACK and input=FILE are needed; usage: rlvr score "),
        (["audit"], "error: rules=PACK and dataset=NAME are needed; usage: rlvr audit "),
        (["rescore"], "error: run=FOLDER is needed; usage: rlvr rescore "),
    ],
)
def test_mistakes_are_one_line_and_status_2(arguments: list[str], line: str, capsys: Capsys) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1


def test_ctrl_c_while_a_command_is_imported(monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "import_module", interrupted)
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
