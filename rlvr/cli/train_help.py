"""`rlvr train --help`: config groups with their choices, and every key with its meaning."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlvr.config.compose import CONF, options
from rlvr.config.schema import Config, RuleConfig


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
