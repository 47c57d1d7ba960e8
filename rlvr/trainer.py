"""The loop: problems -> rollouts -> verdicts -> rewards -> advantages -> update -> metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object

from rlvr import grpo
from rlvr.batch import rewards_of
from rlvr.config import Config
from rlvr.evaluate import Evaluation, begun_with, evaluate
from rlvr.interrupt import Interrupt
from rlvr.learner import Learner
from rlvr.metrics import eval_metrics, rollout_metrics, time_metrics
from rlvr.policy import Policy
from rlvr.rollout.engine import RolloutEngine, Sampling
from rlvr.rules.pack import RulePack
from rlvr.types import Group, Problem, RunStopped
from rlvr.verify.backend import Backend
from rlvr.verify.judging import check_error_share, judging


class Observer(Protocol):
    """Hears of everything that has a number: the run folder, the tracker, the terminal."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a training run came to."""

    before: Evaluation | None
    after: Evaluation | None
    """At the end; the latest one, if there was any, when the run was stopped."""
    forced: Evaluation | None
    """The untrained model with its turn made to begin with `eval.forced_prefix`."""
    steps: int
    """Steps done."""
    tokens: int
    """Completion tokens sampled in training."""
    seconds: dict[str, float]
    """Wall time of `train` (the steps) and `eval`."""
    stopped: str | None
    """Why the run ended before its last step."""


class Trainer:
    """Runs GRPO with parts made by `rlvr.build`."""

    def __init__(
        self,
        config: Config,
        *,
        policy: Policy,
        reference: Policy | None,
        engine: RolloutEngine,
        pack: RulePack,
        backend: Backend,
        train: Sequence[Problem],
        held_out: Sequence[Problem],
        accelerator: Accelerator,
        observers: Sequence[Observer],
    ) -> None:
        self._config, self._policy, self._engine, self._pack, self._backend = config, policy, engine, pack, backend
        self._train, self._held_out, self._observers = train, held_out, observers
        self._accelerator = accelerator
        self._learner = Learner(policy, config.algo, accelerator, reference)
        self._eval_seconds = 0.0

    def run(self) -> Outcome:
        """Train for `config.steps` steps, or until interrupted or something makes it stop."""
        steps, every = self._config.steps, self._config.eval.every
        before = self._evaluate()
        forced = self._evaluate(forced=True)
        self._log(0, eval_metrics(before))
        after, stopped, done, tokens, train_seconds = None, None, 0, 0, 0.0
        with Interrupt() as interrupt:
            while done < steps and stopped is None:
                start = time.perf_counter()
                try:
                    metrics, n_tokens = self._step(done + 1)
                    train_seconds += time.perf_counter() - start
                    done, tokens = done + 1, tokens + n_tokens
                    try:
                        if any(gather_object([interrupt.requested])) and done < steps:
                            stopped = "interrupted"
                        elif done == steps or (every and done % every == 0):
                            after = self._evaluate()
                            metrics |= eval_metrics(after)
                    finally:
                        self._log(done, metrics)
                except RunStopped as error:
                    stopped = str(error)
        return Outcome(
            before=before,
            after=after,
            forced=forced,
            steps=done,
            tokens=tokens,
            seconds={"train": train_seconds, "eval": self._eval_seconds},
            stopped=stopped,
        )

    def _step(self, step: int) -> tuple[dict[str, float], int]:
        """One step; returns its metrics and the number of completion tokens sampled."""
        algo, verify, clock = self._config.algo, self._config.verify, [time.perf_counter()]
        sampling = Sampling(
            seed=self._config.seed,
            step=step,
            group_size=algo.group_size,
            temperature=algo.temperature,
            max_new_tokens=algo.max_new_tokens,
            stop=tuple(self._config.prompt.stop),
        )
        problems = problems_of_step(self._train, algo.problems, seed=self._config.seed, step=step)
        with judging(self._pack, self._backend, retries=verify.retries) as batch:  # each rollout as soon as it has ended
            groups = self._engine.sample(self._policy, self._share(problems), sampling, on_finished=batch.submit)
            clock.append(time.perf_counter())
            judged = batch.collect(groups)
            clock.append(time.perf_counter())
        gathered = gather_object(list(judged.groups))
        check_error_share(gathered, self._pack, verify.max_error_share)
        groups = with_advantages(gathered, scaling=algo.scaling, deviation=algo.deviation)
        learning_rate = self._learner.learning_rate
        updated = self._learner.update(self._share(groups))
        clock.append(time.perf_counter())
        tokens = sum(len(rollout.token_ids) for group in groups for rollout in group.rollouts)
        sampled, waited, trained = np.diff(clock)
        times = time_metrics(rollout=sampled, verify=waited, train=trained, judging=judged.seconds, tokens=tokens)
        metrics = {**rollout_metrics(groups, self._pack), **updated, "policy/learning_rate": learning_rate, **times}
        return metrics, tokens

    def _share(self, items: Sequence[Any]) -> Sequence[Any]:
        """This process's part of a list that all processes hold. Gathering shares puts them back process by process, and
        slicing that again gives other, equally sized parts: the sums over processes are the same."""
        return items[self._accelerator.process_index :: self._accelerator.num_processes]

    def _evaluate(self, *, forced: bool = False) -> Evaluation | None:
        """Held-out problems, greedily; `forced`: with the turn made to begin with `eval.forced_prefix`."""
        prefix = self._config.eval.forced_prefix
        if not self._held_out or (forced and not prefix):
            return None
        start = time.perf_counter()
        evaluation = evaluate(
            self._policy,
            self._engine,
            self._pack,
            begun_with(self._held_out, prefix) if forced and prefix else self._held_out,
            max_new_tokens=self._config.algo.max_new_tokens,
            stop=self._config.prompt.stop,
            backend=self._backend,
            verify=self._config.verify,
        )
        self._eval_seconds += time.perf_counter() - start
        return evaluation

    def _log(self, step: int, metrics: Mapping[str, float]) -> None:
        for observer in self._observers:
            observer.log(step, metrics)


def with_advantages(groups: Sequence[Group], *, scaling: str, deviation: str = "population") -> list[Group]:
    """The groups with the advantage of every rollout filled in from the rewards."""
    advantages_PG = grpo.group_advantages(rewards_of(groups), scaling=scaling, deviation=deviation).tolist()
    return [
        replace(group, rollouts=tuple(replace(r, advantage=a) for r, a in zip(group.rollouts, row, strict=True)))
        for group, row in zip(groups, advantages_PG, strict=True)
    ]


def problems_of_step(problems: Sequence[Problem], n: int, *, seed: int, step: int) -> list[Problem]:
    """The `n` problems of a step (from 1): every epoch is a shuffle of its own, and no step holds a problem twice.

    An epoch is len(problems) // n steps; what is left over differs from epoch to epoch.
    """
    epoch, at = divmod(step - 1, len(problems) // n)
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(len(problems))
    return [problems[i] for i in order[at * n : (at + 1) * n]]
