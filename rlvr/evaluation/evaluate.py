"""Evaluation of a policy on held-out problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rlvr.config.schema import Config
from rlvr.evaluation.eval_rules import as_scored_by, with_eval_rules
from rlvr.evaluation.metrics import Evaluation, summarise
from rlvr.evaluation.parts import RunParts
from rlvr.parallel.collectives import gather, share
from rlvr.rollout.base import Sampling
from rlvr.rules.pack import RulePack
from rlvr.scoring.scheduler import ScoringBatch, check_error_share, scoring
from rlvr.types import Group, Problem, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What is sampled in addition to the greedy completion."""

    n: int
    """Completions of each problem."""
    temperature: float
    ks: tuple[int, ...]
    """The k of pass@k and maj@k, each from 1 to n."""
    seed: int
    """Of the run. Every evaluation uses the same random numbers, which reduces the variance of differences between two."""

    @classmethod
    def of(cls, config: Config) -> Samples | None:
        """As configured; None without samples."""
        n = config.eval.samples
        if not n:
            return None
        doubled = [2**i for i in range(n.bit_length())]
        ks = tuple(dict.fromkeys(config.eval.ks or [*doubled, n]))
        return cls(n=n, temperature=config.eval.temperature, ks=ks, seed=config.seed)


OnScored = Callable[[Sequence[Group], RulePack], None]
"""Called on every process with the scored groups (each problem's greedy completion, then its samples) and the pack that scored
them, evaluation-only rules included."""


def evaluate(
    parts: RunParts,
    pack: RulePack,
    problems: Sequence[Problem],
    *,
    samples: Samples | None = None,
    on_scored: OnScored | None = None,
    on_finished: Callable[[], None] | None = None,
) -> Evaluation:
    """Sample a greedy completion for every problem, and `samples`, and score them; each process takes its share of problems.

    The engine has to hold the policy (`RolloutEngine.sync`). pack: scores, with the evaluation-only rules beside it.
    on_finished: called for every completion of this process.
    Errors: `ScoringFailed`.
    """
    config, engine, rules = parts.config, parts.engine, parts.eval_rules
    both = with_eval_rules(pack, rules)
    mine = share(problems)
    greedy = Sampling(group_size=1, temperature=0.0, max_new_tokens=config.algo.max_new_tokens, stop=tuple(config.prompt.stop))
    with scoring(both, parts.backend, retries=config.verify.retries) as batch:
        groups = engine.sample(mine, greedy, on_finished=partial(_submit, batch, 0, on_finished))
        if samples is not None:
            sampling = replace(greedy, group_size=samples.n, temperature=samples.temperature, seed=samples.seed)
            others = engine.sample(mine, sampling, on_finished=partial(_submit, batch, 1, on_finished))
            groups = [replace(a, rollouts=(*a.rollouts, *b.rollouts)) for a, b in zip(groups, others, strict=True)]
        scored = batch.collect(groups)
    place = {problem.id: i for i, problem in enumerate(problems)}
    gathered = sorted(gather(list(scored.groups)), key=lambda group: place[group.problem.id])
    check_error_share(gathered, both, config.verify.max_error_share)
    if rules is not None:
        check_error_share(as_scored_by(rules, gathered), rules, config.verify.max_error_share)
    if on_scored is not None:
        on_scored(gathered, both)
    return summarise(gathered, both, ks=samples.ks if samples else ())


def _submit(
    batch: ScoringBatch, first: int, on_finished: Callable[[], None] | None, problem: Problem, at: int, rollout: Rollout
) -> None:
    """Submit a completion for scoring. first: completions of its group from earlier calls of the engine."""
    batch.submit(problem, first + at, rollout)
    if on_finished is not None:
        on_finished()


def with_response_prefix(problems: Sequence[Problem], prefix: str) -> list[Problem]:
    """The same problems, with assistant responses that start with `prefix`."""
    return [
        p
        if (p.prefill or "").rstrip().endswith(prefix)
        else replace(p, prompt=p.prompt + prefix, prefill=f"{p.prefill}{prefix}")
        for p in problems
    ]
