"""Scores stored rollouts again: by the rules of each step, or by different rules into a new rollout log."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from rich.progress import track

from rlvr.analysis.rescore.changes import Change, by_group, change, flip, summarise
from rlvr.analysis.rescore.display import show_changes, show_code, show_reproduction, show_rules
from rlvr.analysis.rescore.reproduction import reproduction
from rlvr.analysis.rescore.request import Request
from rlvr.config.instantiate import rule_config
from rlvr.config.schema import Config
from rlvr.rules.fingerprint import Fingerprint, fingerprint
from rlvr.rules.load import rule_pack
from rlvr.rules.pack import Judgement, RulePack
from rlvr.runs.entries import Advantages, Entry
from rlvr.runs.rollout_log import RolloutLog, RolloutLogFile
from rlvr.runs.rule_history import rule_history
from rlvr.scoring.backend import Backend
from rlvr.scoring.factory import make_backend
from rlvr.scoring.scheduler import scoring
from rlvr.training.advantages import group_advantages
from rlvr.types import Split

_FLIPS_KEPT = 1000
"""Flips listed in summary.json; the two rollout logs have all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How a step and split is scored: a pack with its fingerprint, and how advantages follow from rewards."""

    pack: RulePack
    rules: Fingerprint
    advantages: Advantages


Stored = Mapping[RolloutLogFile, tuple[Fingerprint, Advantages]]
"""The rules of each file of a rollout log, and how advantages followed from rewards."""


def scoring_of_run(config: Config, stored: Stored) -> dict[RolloutLogFile, Scoring]:
    """The rules of each step, with today's code. Errors: `ConfigError` for rules that no longer exist."""
    packs: dict[str, tuple[RulePack, Fingerprint]] = {}
    scorings: dict[RolloutLogFile, Scoring] = {}
    for file, (rules, how) in stored.items():
        if rules.hash not in packs:
            nodes = {name: rule_config(rule, f"rules.{name}") for name, rule in rules.rules.items()}
            pack = rule_pack(replace(config, rules=nodes))
            packs[rules.hash] = pack, fingerprint(pack, config.rules_from)
        pack, today = packs[rules.hash]
        scorings[file] = Scoring(pack=pack, rules=today, advantages=how)
    return scorings


def scoring_of_config(config: Config, stored: Stored, changes: Mapping[str, Any]) -> dict[RolloutLogFile, Scoring]:
    """The rules of a configuration with the weights of each step; advantages as in the run except for `changes`.

    Errors: `ConfigError`.
    """
    pack = rule_pack(config)
    fingerprints: dict[tuple[float, ...], Fingerprint] = {}
    scorings: dict[RolloutLogFile, Scoring] = {}
    for file, (_, how) in stored.items():
        at = pack.at(file.step)
        weights = tuple(at.weights.values())
        if weights not in fingerprints:
            fingerprints[weights] = fingerprint(at, config.rules_from)
        scorings[file] = Scoring(pack=at, rules=fingerprints[weights], advantages=replace(how, **changes))
    return scorings


def scored_again(
    rollout_log: RolloutLog, scorings: Mapping[RolloutLogFile, Scoring], backend: Backend, retries: int, console: Console
) -> Iterator[tuple[list[Entry], list[Entry]]]:
    """The rollouts as stored and as scored again, a step and split at a time."""
    for file, by in track(scorings.items(), "scoring", console=console, transient=True, disable=not console.is_terminal):
        then = rollout_log.read(file)
        with scoring(by.pack, backend, retries=retries) as batch:
            judgements = batch.score((entry.completion, entry.problem) for entry in then)
        yield then, _recomputed(then, judgements, by)


def _recomputed(entries: Sequence[Entry], judgements: Sequence[Judgement], by: Scoring) -> list[Entry]:
    """The entries of a step and split with these judgements, and the rewards and advantages that follow from them."""
    rewards_PG, present_PG = by_group(entries, [judgement.reward for judgement in judgements])
    how, weights, rules_hash = by.advantages, by.rules.weights, by.rules.hash
    advantages_PG = group_advantages(torch.from_numpy(rewards_PG), scaling=how.scaling, deviation=how.deviation).numpy()
    found: list[Entry] = []
    for entry, judgement, advantage in zip(entries, judgements, advantages_PG[present_PG].tolist(), strict=True):
        counts = how.counts(split=entry.split, reward=judgement.reward, finish_reason=entry.finish_reason)
        scored = replace(
            entry,
            verdicts=judgement.verdicts,
            weights={name: weights[name] for name in judgement.verdicts},
            reward=judgement.reward,
            advantage=advantage if counts else None,
            rules_hash=rules_hash,
        )
        found.append(scored)
    return found


def reproduce(request: Request, config: Config, rollout_log: RolloutLog, console: Console) -> int:
    """Score by the rules of each step; returns the exit status. Errors: `ConfigError`."""
    stored = {file: rollout_log.conditions(file) for file in rollout_log.files()}
    scorings = scoring_of_run(config, stored)
    packs = [by.pack for by in scorings.values()]
    with closing(make_backend(config, next((pack for pack in packs if pack.isolated), packs[0]))) as backend:
        show_rules("rules", rule_history({file: rules for file, (rules, _) in stored.items()}), console)
        show_code([(stored[file][0], by.rules) for file, by in scorings.items()], console)
        start = time.perf_counter()
        found = reproduction(scored_again(rollout_log, scorings, backend, config.verify.retries, console), listed=request.show)
    show_reproduction(found, time.perf_counter() - start, console)
    return 0 if found.complete else 1


def rescore(request: Request, config: Config, rollout_log: RolloutLog, console: Console) -> int:
    """Score by different rules, into a new rollout log; returns the exit status. Errors: `ConfigError`, `RolloutLogFailed`."""
    folder = request.folder()
    stored = {file: rollout_log.conditions(file) for file in rollout_log.files()}
    scorings = scoring_of_config(config, stored, request.advantages(config))
    changes: list[Change] = []
    flips: list[dict[str, Any]] = []
    with closing(make_backend(config, next(iter(scorings.values())).pack)) as backend, appearing(folder) as unfinished:
        again = scored_again(rollout_log, scorings, backend, config.verify.retries, console)
        for (file, by), (then, now) in zip(scorings.items(), again, strict=True):
            RolloutLog(unfinished).write(now, by.rules, by.advantages)
            found = change(then, now, rules_then=stored[file][0], rules_now=by.rules)
            flips += [flip(*pair) for pair in found.flips[: _FLIPS_KEPT - len(flips)]]
            changes.append(replace(found, flips=()))
        history = {
            "then": rule_history({file: rules for file, (rules, _) in stored.items()}),
            "now": rule_history({file: by.rules for file, by in scorings.items()}),
        }
        of_split = {split: [each for each in changes if each.split == split] for split in get_args(Split)}
        summary = {
            "changes": request.changes,
            "rules": {when: [each.plain() for each in of] for when, of in history.items()},
            "splits": {split: summarise(of) for split, of in of_split.items() if of},
            "curve": [each.rewards() for each in changes],
            "flips": flips,
        }
        (unfinished / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    for when, of in history.items():
        show_rules(when, of, console)
    show_changes(summary, folder, request.show, console)
    return 1 if any(of["errors"] for of in summary["splits"].values()) else 0


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill; it appears whole if the block succeeds, otherwise not at all."""
    unfinished = folder.parent / f".{folder.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        os.rename(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
