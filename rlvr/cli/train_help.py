"""`rlvr train --help`: config groups with their choices, and every key with its meaning."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rlvr.config.compose import CONF, options
from rlvr.config.schema import MISSING, Config, RuleConfig


def help_text() -> str:
    """Examples, config groups with their choices, and every key with its meaning."""
    lines = [
        "Train a language model with GRPO against a pack of verifiable rules.",
        "",
        "  rlvr train                                                      the embedded default: CPU, minutes, no download",
        "  rlvr train rules=r1_format+answer model=qwen0.5b dataset=gsm8k  choose from the groups; join packs with +",
        "  rlvr train dataset=[gsm8k,arithmetic] rules=r1_format+math      a mixture of data sets",
        "  rlvr train algo.group_size=16 rules.format.weight=0.05          set any key",
        "  rlvr train resume=RUN steps=200                                 resume a run, with changes if wanted",
        "  rlvr train -m rules.format.weight=0,0.05,0.1 seed=0,1           one run for each combination",
        "      hydra/launcher=joblib hydra.launcher.n_jobs=4               ... four at a time (rlvr[sweeps])",
        "  rlvr train -m hydra/sweeper=best hydra.sweeper.n_trials=20 \\    the best of 20 found by Optuna (rlvr[sweeps])",
        "      'algo.learning_rate=tag(log, interval(1e-5, 1e-3))' rules.format.weight=0,0.05,0.1",
        "",
        "Groups (GROUP=CHOICE):",
    ]
    for group in sorted(path.name for path in CONF.iterdir() if path.is_dir()):
        if options(group):
            lines.append(f"  {group}")
            lines += [f"    {choice:<20} {_first_comment(group, choice)}" for choice in options(group)]
    lines += ["", "Keys (KEY=VALUE; what follows the name is the schema's default, which a group's file may change):"]
    lines += key_lines(Config, "")
    lines += ["", "Keys of rules.NAME:", *key_lines(RuleConfig, "rules.NAME.")]
    return "\n".join(lines)


def _first_comment(group: str, choice: str) -> str:
    comments = [line[1:].strip() for line in (CONF / group / f"{choice}.yaml").read_text().splitlines() if line.startswith("#")]
    return next(comment for comment in comments if not comment.startswith("@"))


def key_lines(section: type, prefix: str) -> list[str]:
    """A line for each key of a section and of the sections in it: default, meaning, bounds."""
    lines = []
    for field in dataclasses.fields(section):
        make = field.default_factory
        if isinstance(make, type) and dataclasses.is_dataclass(make):
            lines += key_lines(make, f"{prefix}{field.name}.")
            continue
        default = make() if callable(make) else field.default
        shown = "" if default in ({}, [], MISSING) else f"={'null' if default is None else default}"
        shown = shown.replace("\n", "\\n")
        lines.append(f"  {prefix + field.name + shown:<44} {field.metadata['meaning']}{_allowed(field.metadata)}")
    return lines


def _allowed(metadata: Mapping[str, Any]) -> str:
    """Bounds or choices, where they tell a reader more than the meaning: `; at least 2`."""
    meaning, bounds = metadata["meaning"], metadata["bounds"]
    told = bounds is None or (bounds.one_of and all(choice in meaning for choice in bounds.one_of))
    return "" if told or str(bounds) == "at least 0" else f"; {bounds}"
