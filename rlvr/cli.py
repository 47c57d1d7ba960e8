"""How `python train.py` meets its user: help, one-line errors, exit status; sweeps are checked before their first job, and a
job that fails does not stop the others."""

from __future__ import annotations

import dataclasses
import itertools
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rlvr.build import plan
from rlvr.compose import CONF, compose, joined, one_line, options
from rlvr.config import Config, ConfigError, RuleConfig
from rlvr.rules.schedule import replacing
from rlvr.types import RunStopped
from rlvr.verify.child import describe

ERROR = "error.txt"
"""Why a job of a sweep failed, in its folder."""
_OF_THE_USER = (ConfigError, HydraException, OmegaConfBaseException, YAMLError)
_FLAGS_WITH_VALUE = {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p"}


def command(main: Callable[[], Any]) -> int:
    """Run a Hydra main function; returns the exit status: 0 done, 1 a sweep that could not go on, 2 wrong input, 130
    interrupted."""
    sys.argv[1:] = arguments = [each for argument in sys.argv[1:] for each in replacing(joined(argument))]
    if {"--help", "-h"} & set(arguments):
        print(help_text())
        return 0
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises its errors instead of printing them at length
    overrides, sweeps = _overrides(arguments), bool({"--multirun", "-m"} & set(arguments))
    try:
        if sweeps and not _FLAGS_WITH_VALUE & {a.partition("=")[0] for a in arguments}:
            check_sweep(overrides)
        main()
    except _OF_THE_USER as error:
        print(f"error: {one_line(error, overrides)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # what sweepers and launchers raise; jobs keep theirs to themselves
        if not sweeps:
            raise
        print(f"error: the sweep cannot go on: {describe(error)}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def failures_in_one_line(overrides: Sequence[str], *, job: Path | None = None) -> Iterator[None]:
    """For the body of a Hydra main function: wrong input exits with 2, a run that had to stop with 1; no traceback.

    job: the folder of a job of a sweep. Its failure, of whatever kind, is written into error.txt there and goes no further, so
    that the other jobs run; `FailedJobs` counts it.
    """
    if job is not None:
        (job / ERROR).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        expected = isinstance(error, (*_OF_THE_USER, RunStopped))
        if job is None and not expected:
            raise
        line = one_line(error, overrides) if expected else describe(error)
        # Hydra prints lines of its own before any exception but SystemExit.
        print(f"error: {line}" if job is None else f"error: job {job.name}: {line}", file=sys.stderr)
        if job is None:
            raise SystemExit(1 if isinstance(error, RunStopped) else 2) from error
        (job / ERROR).write_text(f"{line}\n" if expected else "".join(traceback.format_exception(error)), encoding="utf-8")


class FailedJobs(Callback):
    """Ends a sweep with status 1 where jobs have failed, whichever launcher and sweeper ran them."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self._before = _errors(config)
        if str(config.hydra.sweeper.get("direction", "")).endswith("minimize"):
            print("warning: direction=minimize looks for the lowest accuracy; hydra/sweeper=best does not", file=sys.stderr)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        failed = [path for path, written in sorted(_errors(config).items()) if self._before.get(path) != written]
        if failed:
            jobs = "1 job" if len(failed) == 1 else f"{len(failed)} jobs"
            print(f"error: {jobs} of the sweep failed:", *failed, sep="\n  ", file=sys.stderr)
            raise SystemExit(1)  # Hydra turns any other exception of a callback into a warning


def _errors(config: DictConfig) -> dict[Path, int]:
    """What failed jobs have left, and when (nanoseconds)."""
    return {path: path.stat().st_mtime_ns for path in Path(config.hydra.sweep.dir).rglob(ERROR)}


def _overrides(arguments: Sequence[str]) -> list[str]:
    follows_flag = [False, *(argument in _FLAGS_WITH_VALUE for argument in arguments)]
    return [a for a, value in zip(arguments, follows_flag, strict=False) if "=" in a and not a.startswith("-") and not value]


def check_sweep(overrides: Sequence[str]) -> None:
    """Check the configuration of every job of a sweep before the first one starts. Errors: `ConfigError`."""
    choices: list[list[str]] = []
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.get_key_element()
        if key.startswith("hydra") and key != "hydra.searchpath":
            continue
        if override.is_discrete_sweep():
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        elif not override.is_sweep_override():
            choices.append([str(override.input_line)])
    for job in itertools.product(*choices):
        plan(compose(job), [override for override in job if override.startswith("hydra.searchpath=")])


def help_text() -> str:
    """What can be written on the command line: groups with their choices, and every key with its meaning."""
    lines = [
        "Train a language model with GRPO against a pack of verifiable rules.",
        "",
        "  python train.py                                                     the embedded default: CPU, minutes, no download",
        "  python train.py rules=r1_format+answer model=qwen0.5b dataset=gsm8k  choose from the groups; join packs with +",
        "  python train.py dataset=[gsm8k,arithmetic] rules=r1_format+math        a mixture of data sets",
        "  python train.py algo.group_size=16 rules.format.weight=0.05          set any key",
        "  python train.py -m rules.format.weight=0,0.05,0.1 seed=0,1           one run for each combination",
        "      hydra/launcher=joblib hydra.launcher.n_jobs=4                    ... four at a time (rlvr[sweeps])",
        "  python train.py -m hydra/sweeper=best hydra.sweeper.n_trials=20 \\   the best of 20 found by Optuna (rlvr[sweeps])",
        "      'algo.learning_rate=tag(log, interval(1e-5, 1e-3))' rules.format.weight=0,0.05,0.1",
        "",
        "Groups (GROUP=CHOICE):",
    ]
    for group in sorted(path.name for path in CONF.iterdir() if path.is_dir()):
        if options(group):
            lines.append(f"  {group}")
            lines += [f"    {choice:<20} {_first_comment(group, choice)}" for choice in options(group)]
    lines += ["", "Keys (KEY=VALUE; what follows the name is the schema's default, which a group's file may change):"]
    lines += _key_lines(Config, "")
    lines += ["", "Keys of rules.NAME:", *_key_lines(dict(_nested(Config))["rules"], "rules.NAME.")]
    return "\n".join(lines)


def _first_comment(group: str, choice: str) -> str:
    comments = [line[1:].strip() for line in (CONF / group / f"{choice}.yaml").read_text().splitlines() if line.startswith("#")]
    return next(comment for comment in comments if not comment.startswith("@"))


def _nested(schema: type) -> list[tuple[str, Any]]:
    nested = [(f.name, f.default_factory) for f in dataclasses.fields(schema) if dataclasses.is_dataclass(f.default_factory)]
    return [*nested, ("rules", RuleConfig)]


def _key_lines(schema: type, prefix: str) -> list[str]:
    lines, nested = [], dict(_nested(schema))
    for field in dataclasses.fields(schema):
        if field.name in nested and field.name != "rules":
            lines += _key_lines(nested[field.name], f"{prefix}{field.name}.")
        else:
            default = field.default_factory() if callable(field.default_factory) else field.default
            shown = "" if default in ({}, [], "???") else f"={'null' if default is None else default}"
            shown = shown.replace("\n", "\\n")
            lines.append(f"  {prefix + field.name + shown:<44} {field.metadata['meaning']}")
    return lines
