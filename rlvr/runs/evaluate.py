"""Evaluates as a checked plan says, and writes everything into a folder like that of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rlvr.evaluation.evaluate import Samples, evaluate
from rlvr.evaluation.metrics import Evaluation
from rlvr.parallel.collectives import is_main, share
from rlvr.parallel.devices import start_process
from rlvr.rules.load import rules_text
from rlvr.rules.pack import RulePack
from rlvr.runs.facts import evaluation_facts
from rlvr.runs.folder import RunFolder, agree_on_folder
from rlvr.runs.load import loaded
from rlvr.runs.plan import Plan
from rlvr.runs.summary import evaluation_summary
from rlvr.tracking.evaluation_console import Display
from rlvr.types import Group


def run_evaluation(plan: Plan, *, folder: Path, config_yaml: str) -> Evaluation:
    """Evaluate as planned and write everything into `folder`. Errors: `ConfigError` before sampling, `RunStopped`."""
    config, start = plan.config, time.perf_counter()
    accelerator = start_process(mixed_precision=config.cluster.mixed_precision, cpu=config.cluster.cpu, seed=config.seed)
    folder = agree_on_folder(folder, new=True)
    run_folder = RunFolder(path=folder, rules_from=tuple(config.rules_from))
    display = Display(quiet=not is_main())
    scored: list[tuple[Sequence[Group], RulePack]] = []
    with loaded(plan, accelerator, training=False) as parts:
        display.begin(evaluation_facts(plan, parts, folder), parts.warnings)
        began = time.perf_counter()
        parts.engine.sync(parts.policy)
        completions = len(share(parts.held_out)) * (1 + config.eval.samples)
        with display.progress(completions) as on_finished:
            found = evaluate(
                parts,
                parts.pack,
                parts.held_out,
                samples=Samples.of(config),
                on_scored=lambda groups, pack: scored.append((groups, pack)),
                on_finished=on_finished,
            )
    seconds = {"eval": time.perf_counter() - began, "total": time.perf_counter() - start}
    if is_main():
        display.result(found, config)
        groups, pack = scored[0]
        run_folder.create(config_yaml, rules_text(config.rules))
        run_folder.rollouts(0, "eval", groups, pack)
        run_folder.log(0, found.metrics())
        run_folder.write_summary(evaluation_summary(parts, found, groups, seconds))
        display.end(folder, seconds["eval"])
    return found
