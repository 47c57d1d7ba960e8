"""Answers to held-out problems, scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from accelerate import PartialState
from accelerate.utils import gather_object

from rlvr.config.schema import Config, VerifyConfig
from rlvr.evaluation.eval_rules import as_scored_by, with_eval_rules
from rlvr.evaluation.metrics import Evaluation, summarise
from rlvr.models.policy import Policy
from rlvr.rollout.base import RolloutEngine, Sampling
from rlvr.rules.pack import RulePack
from rlvr.scoring.backend import Backend
from rlvr.scoring.scheduler import ScoringBatch, check_error_share, scoring
from rlvr.types import Group, Problem, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What is sampled besides the greedy completion."""

    n: int
    """Completions of each problem."""
    temperature: float
    ks: tuple[int, ...]
    """Which pass@k and maj@k follow, each from 1 to n."""
    seed: int
    """Of the run. The numbers drawn are the same at every evaluation, which makes differences between two clearer."""

    @classmethod
    def of(cls, config: Config) -> Samples | None:
        """As configured; None for none."""
        n = config.eval.samples
        if not n:
            return None
        doubled = [2**i for i in range(n.bit_length())]
        ks = tuple(dict.fromkeys(config.eval.ks or [*doubled, n]))
        return cls(n=n, temperature=config.eval.temperature, ks=ks, seed=config.seed)


OnJudged = Callable[[Sequence[Group], RulePack], None]
"""Hears of the judged groups, on every process: a problem's greedy completion, then those that were sampled; and of the pack
that judged them, which is the run's with the rules of the evaluation with_eval_rules."""


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
    rules: RulePack | None = None,
    samples: Samples | None = None,
    on_judged: OnJudged | None = None,
    on_finished: Callable[[], None] | None = None,
) -> Evaluation:
    """Answer every problem once, greedily, and judge the answers; each process takes its share of the problems.

    rules: those of the evaluation, which judge with_eval_rules the pack (`rlvr.evaluation.eval_rules`). on_finished: called for every
    completion of this process. Errors: `JudgingFailed`.
    """
    state, by = PartialState(), with_eval_rules(pack, rules)
    mine = problems[state.process_index :: state.num_processes]
    greedy = Sampling(group_size=1, temperature=0.0, max_new_tokens=max_new_tokens, stop=tuple(stop))
    with scoring(by, backend, retries=verify.retries) as batch:
        groups = engine.sample(policy, mine, greedy, on_finished=partial(_hand_in, batch, 0, on_finished))
        if samples is not None:
            sampling = replace(greedy, group_size=samples.n, temperature=samples.temperature, seed=samples.seed)
            others = engine.sample(policy, mine, sampling, on_finished=partial(_hand_in, batch, 1, on_finished))
            groups = [replace(a, rollouts=(*a.rollouts, *b.rollouts)) for a, b in zip(groups, others, strict=True)]
        judged = batch.collect(groups)
    place = {problem.id: i for i, problem in enumerate(problems)}
    gathered = sorted(gather_object(list(judged.groups)), key=lambda group: place[group.problem.id])
    check_error_share(gathered, by, verify.max_error_share)
    if rules is not None:
        check_error_share(as_scored_by(rules, gathered), rules, verify.max_error_share)
    if on_judged is not None:
        on_judged(gathered, by)
    return summarise(gathered, by, ks=samples.ks if samples else ())


def _hand_in(
    batch: ScoringBatch, first: int, on_finished: Callable[[], None] | None, problem: Problem, at: int, rollout: Rollout
) -> None:
    """Begin to judge a completion, whose group holds `first` others before those of its call."""
    batch.submit(problem, first + at, rollout)
    if on_finished is not None:
        on_finished()


def begun_with(problems: Sequence[Problem], prefix: str) -> list[Problem]:
    """The same problems, with the assistant's response made to begin with `prefix`, where it does not already."""
    return [
        p
        if (p.prefill or "").rstrip().endswith(prefix)
        else replace(p, prompt=p.prompt + prefix, prefill=f"{p.prefill}{prefix}")
        for p in problems
    ]
