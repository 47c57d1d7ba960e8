"""One program: `rlvr SUBCOMMAND ...`; `python -m rlvr SUBCOMMAND ...` is the same, `python train.py ...` is `rlvr train ...`.

A subcommand is a module of `rlvr.cli` with `run(arguments) -> int`, and `help_text()` where its docstring is not all of it.
Exit status: 0; 1: it ran, and something is wrong; 2: the command line or configuration is wrong; 130: interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from rlvr.errors import nearest

COMMANDS = {
    "train": "train a model against a rule pack",
    "evaluate": "measure a model on held-out problems",
    "score": "score a file of completions",
    "audit": "lint the ground truths, score the reference solutions, attack the rules",
    "rescore": "score the rollouts of a run again, by its rules or different ones",
    "report": "write the report of a run or a sweep",
    "worker": "score for runs on other machines, through Redis",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """arguments: None for those of the process. Returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(given[0] if given else "", given[1:])
    except KeyboardInterrupt:  # while a subcommand is imported
        print("interrupted", file=sys.stderr)
        return 130


def _run(name: str, arguments: Sequence[str]) -> int:
    if name in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if "--version" in (name, *arguments):
        print(f"rlvr {version('rlvr')}")
        return 0
    if name not in COMMANDS:
        wrong = f"error: {name}: there is no such command{nearest(name, COMMANDS)}" if name else _overview()
        print(wrong, file=sys.stderr)
        return 2
    command = import_module(f"rlvr.cli.{name}")
    if {"-h", "--help"} & set(arguments):
        help_text = getattr(command, "help_text", None)
        print(help_text() if help_text is not None else (command.__doc__ or "").rstrip())
        return 0
    from rlvr.cli.exit_status import exit_status  # imports Hydra, which takes a second

    return exit_status(command.run, arguments)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  rlvr {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    more = "rlvr COMMAND --help says more; rlvr --version prints the version."
    return "\n".join(["usage: rlvr COMMAND [KEY=VALUE ...]", "", *lines, "", more])


if __name__ == "__main__":
    sys.exit(main())
