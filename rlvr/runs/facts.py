"""What a run works with, in words, for the terminal."""

from __future__ import annotations

from pathlib import Path

import torch

from rlvr.evaluation.parts import RunParts
from rlvr.parallel.collectives import n_processes
from rlvr.rules.pack import RulePack
from rlvr.runs.plan import Plan
from rlvr.runs.provenance import model_name


def training_facts(plan: Plan, parts: RunParts, pack: RulePack, folder: Path) -> dict[str, str]:
    """By name, in the order in which they are shown. pack: the rules that training begins with."""
    config, algo = plan.config, plan.config.algo
    low, high = pack.bounds
    counts = f"{len(parts.train):,} problems to train on, {len(parts.held_out)} held out"
    return {
        "model": _model(parts),
        "data": _data(plan, counts),
        "reward": f"{_reward(pack)}  (from {low:g} to {high:g})",
        "training": f"{config.steps} steps of {algo.problems} problems x {algo.group_size} rollouts, "
        f"learning rate {algo.learning_rate:g}, seed {config.seed}",
        "device": _device(parts),
        "folder": str(folder),
    }


def evaluation_facts(plan: Plan, parts: RunParts, folder: Path) -> dict[str, str]:
    """By name, in the order in which they are shown."""
    config, rules = plan.config, plan.eval_rules
    settings = config.eval
    also = {} if rules is None else {"eval rules": f"{settings.rules}, scored alongside: {', '.join(rules.rules)}"}
    sampled = f", and {settings.samples} samples at temperature {settings.temperature:g}" if settings.samples else ""
    return {
        "model": _model(parts),
        "data": _data(plan, f"{len(parts.held_out):,} held-out problems"),
        "reward": _reward(plan.pack),
        **also,
        "sampling": f"greedy{sampled}, {config.algo.max_new_tokens} tokens at most, seed {config.seed}",
        "device": _device(parts),
        "folder": str(folder),
    }


def _model(parts: RunParts) -> str:
    config, millions = parts.config, parts.policy.n_parameters / 1e6
    return f"{model_name(config)}, {millions:,.2f} M parameters, {config.model.dtype}"


def _data(plan: Plan, counts: str) -> str:
    few_shot = plan.config.prompt.few_shot
    return f"{type(plan.source).__name__}, {counts}" + (f", {few_shot} few-shot examples in the prompt" if few_shot else "")


def _reward(pack: RulePack) -> str:
    return " + ".join(f"{weight:g} x {name}" for name, weight in pack.weights.items())


def _device(parts: RunParts) -> str:
    processes = f", {n_processes()} processes" if n_processes() > 1 else ""
    return f"{parts.accelerator.device}, {torch.get_num_threads()} threads{processes}"
