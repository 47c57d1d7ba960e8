"""Greedy accuracy on held-out problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accelerate import PartialState
from accelerate.utils import gather_object

from rlvr.config import VerifyConfig
from rlvr.policy import Policy
from rlvr.rollout.engine import RolloutEngine, Sampling
from rlvr.rules.pack import RulePack
from rlvr.types import Group, Problem
from rlvr.verify.backend import Backend
from rlvr.verify.judging import check_error_share, judging


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Means over the problems that could be judged; None where no rule of the pack says it."""

    accuracy: float | None
    """Share of problems with full marks from every rule that judges the answer (`Verifier.judges`)."""
    format: float | None
    """The same of the rules that judge the form."""
    reward: float | None
    problems: int
    """How many were asked."""
    truncated: float
    """Share of completions that hit the token limit."""
    rules: dict[str, float | None]
    """Mean score by rule, over the problems that it applies to."""
    datasets: dict[str, float | None]
    """Accuracy by part of a mixture; empty without one."""


def evaluate(
    policy: Policy,
    engine: RolloutEngine,
    pack: RulePack,
    problems: Sequence[Problem],
    *,
    max_new_tokens: int,
    stop: Sequence[str] = (),
    backend: Backend,
    verify: VerifyConfig,
) -> Evaluation:
    """Answer every problem once, greedily, and judge the answers; each process takes its share of the problems."""
    state = PartialState()
    mine = problems[state.process_index :: state.num_processes]
    sampling = Sampling(group_size=1, temperature=0.0, max_new_tokens=max_new_tokens, stop=tuple(stop))
    with judging(pack, backend, retries=verify.retries) as batch:
        judged = batch.collect(engine.sample(policy, mine, sampling, on_finished=batch.submit))
    groups = gather_object(list(judged.groups))
    check_error_share(groups, pack, verify.max_error_share)
    return summarise(groups, pack)


def summarise(groups: Sequence[Group], pack: RulePack) -> Evaluation:
    """Evaluation from judged groups of one rollout each."""
    rollouts = [group.rollouts[0] for group in groups]
    names = dict.fromkeys(str(name) for group in groups if (name := group.problem.metadata.get("dataset")))

    def full_marks(names: Sequence[str], dataset: str | None = None) -> float | None:
        asked = [group for group in groups if dataset in (None, group.problem.metadata.get("dataset"))]
        verdicts = [group.rollouts[0].verdicts for group in asked]
        scores = [[each[name].score for name in names if name in each] for each in verdicts]
        return _mean([float(all(score == 1.0 for score in row)) for row in scores if row and None not in row])

    return Evaluation(
        accuracy=full_marks(pack.named("answer")),
        format=full_marks(pack.named("format")),
        reward=_mean([rollout.reward for rollout in rollouts if rollout.reward is not None]),
        problems=len(rollouts),
        truncated=_mean([float(rollout.finish_reason == "length") for rollout in rollouts]) or 0.0,
        rules={
            name: _mean([v.score for r in rollouts if (v := r.verdicts.get(name)) and v.score is not None])
            for name in pack.rules
        },
        datasets={name: full_marks(pack.named("answer"), name) for name in names},
    )


def begun_with(problems: Sequence[Problem], prefix: str) -> list[Problem]:
    """The same problems, with the assistant's turn made to begin with `prefix`, where it does not already."""
    return [
        p
        if (p.prefill or "").rstrip().endswith(prefix)
        else replace(p, prompt=p.prompt + prefix, prefill=f"{p.prefill}{prefix}")
        for p in problems
    ]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
