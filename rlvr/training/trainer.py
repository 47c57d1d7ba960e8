"""The loop: problems -> rollouts -> verdicts -> rewards -> advantages -> update -> metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from accelerate import Accelerator

from rlvr.config.schema import Config
from rlvr.data.curriculum import ProblemStream
from rlvr.errors import RunStopped
from rlvr.evaluation.evaluate import Samples, evaluate, with_response_prefix
from rlvr.evaluation.metrics import Evaluation
from rlvr.models.policy import Policy
from rlvr.parallel.collectives import gather, share
from rlvr.rollout.base import RolloutEngine, Sampling
from rlvr.rules.live import LiveRules
from rlvr.rules.pack import RulePack
from rlvr.runs.entries import Split
from rlvr.scoring.backend import Backend
from rlvr.scoring.scheduler import check_error_share, scoring
from rlvr.tracking.observer import Observer
from rlvr.tracking.step_metrics import eval_metrics, rollout_metrics, time_metrics
from rlvr.training.advantages import with_advantages
from rlvr.training.checkpoint import Checkpoint, Checkpoints
from rlvr.training.early_stop import EarlyStopping
from rlvr.training.interrupt import Interrupt
from rlvr.training.learner import Learner
from rlvr.training.result import TrainResult
from rlvr.training.state import TrainState
from rlvr.types import Group, Problem


class Trainer:
    """Trains a policy with GRPO on the problems, engine, rules and observers it is given."""

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
        observers: Sequence[Observer] = (),
        live: LiveRules | None = None,
        eval_rules: RulePack | None = None,
        checkpoints: Checkpoints | None = None,
        start: Checkpoint | None = None,
    ) -> None:
        """reference: what the KL penalty is to; live: rules that may be edited during training, in place of `pack`;
        eval_rules: evaluation-only rules; observers, checkpoints: of the main process; start: what to resume from."""
        self._config, self._policy, self._engine, self._rules, self._backend = config, policy, engine, pack, backend
        self._held_out, self._observers = held_out, observers
        self._live, self._checkpoints, self._eval_rules = live, checkpoints, eval_rules
        self._learner = Learner(policy, config.algo, accelerator, reference)
        self._stream = ProblemStream(problems=train, seed=config.seed, curriculum=config.algo.curriculum)
        self._early_stopping = EarlyStopping(limits=config.early_stop)
        self._failure: str | None = None  # why this process cannot go on
        self._state, self._saved = TrainState(), 0
        if start is not None:
            self._state, self._saved = TrainState.from_json(start.state["progress"]), start.step
            self._learner.load_state(start.tensors)
            self._stream.load_state(start.state["stream"])
        self._pack = (pack if live is None else live.pack).at(self._state.done)

    def run(self) -> TrainResult:
        """Train until `config.steps` steps are done, or until interrupted or something makes it stop."""
        state, stopped = self._state, None
        with Interrupt() as interrupt:
            try:
                if state.done == 0:
                    state.before, state.forced = self._evaluate(), self._evaluate(forced=True)
                    self._log(0, eval_metrics(state.before))
                while state.done < self._config.steps and stopped is None:
                    self._advance()
                    self._raise_if_any_rank_failed()
                    if any(gather([interrupt.requested])) and state.done < self._config.steps:
                        stopped = "interrupted"
                self._save()
                self._raise_if_any_rank_failed()
            except RunStopped as error:
                stopped = str(error)
        return TrainResult(
            before=state.before,
            after=state.after,
            forced=state.forced,
            steps=state.done,
            tokens=state.tokens,
            seconds={"train": state.train_seconds, "eval": state.eval_seconds},
            stopped=stopped,
            pack=self._pack,
        )

    def _advance(self) -> None:
        """One step, then the evaluation and the checkpoint that are due."""
        state, steps, every = self._state, self._config.steps, self._config.eval.every
        start = time.perf_counter()
        metrics, tokens = self._step(state.done + 1)
        state.done += 1
        state.tokens += tokens
        state.train_seconds += time.perf_counter() - start
        state.streaks, reason = self._early_stopping.after(state.streaks, metrics)
        improved = False
        try:
            if state.done == steps or (every and state.done % every == 0):
                improved = state.record(self._evaluate())
                metrics |= eval_metrics(state.after)
        finally:
            self._log(state.done, metrics)
        if improved or state.done % self._config.checkpoint.every == 0:
            self._save()
        if reason is not None and state.done < steps:
            self._save()
            raise RunStopped(reason)

    def _save(self) -> None:
        """A checkpoint after the steps done, if there is none. All processes hold the same state; the main one writes."""
        done = self._state.done
        if done == self._saved:
            return
        self._saved = done
        self._notify(lambda observer: observer.flush())
        if self._checkpoints is not None and self._failure is None:
            rules = None if self._live is None else self._live.text
            state = {"progress": self._state.to_json(), "stream": self._stream.state(), "rules": rules}
            score = self._state.best if self._state.best_step == done else None
            try:
                self._checkpoints.save(Checkpoint(step=done, state=state, tensors=self._learner.state(), score=score))
            except RunStopped as error:
                self._failure = str(error)

    def _step(self, step: int) -> tuple[dict[str, float], int]:
        """One step; returns its metrics and the number of completion tokens sampled."""
        algo, clock = self._config.algo, _Clock()
        changes = self._take_edits(step)
        scored, seconds = self._scored_groups(clock)
        groups = with_advantages(scored, scaling=algo.scaling, deviation=algo.deviation)
        learning_rate = self._learner.learning_rate
        training = [group for group in groups if not group.degenerate] if algo.resample else groups
        updated = self._learner.update(share(training))
        clock.lap("train")
        self._stream.learn(groups, self._pack)
        self._log_rollouts(step, "train", groups, self._pack)
        tokens = sum(len(rollout.token_ids) for group in groups for rollout in group.rollouts)
        measured = {**rollout_metrics(groups, self._pack), **updated, "policy/learning_rate": learning_rate}
        if algo.resample:
            measured["rollout/rounds"] = len(groups) / algo.problems
        return {**measured, **changes, **time_metrics(clock.seconds, scoring=seconds, tokens=tokens)}, tokens

    def _scored_groups(self, clock: _Clock) -> tuple[list[Group], list[float]]:
        """Groups of a step with their rewards, from all processes, and the seconds that scoring each rollout took in this one.

        With `algo.resample` more problems are sampled, up to that many times, until enough groups are not degenerate
        (dynamic sampling: DAPO, Yu et al. 2025, arXiv:2503.14476, section 3.2).
        """
        algo, verify, groups, seconds = self._config.algo, self._config.verify, list[Group](), list[float]()
        for _ in range(1 + algo.resample):
            problems = self._stream.take(algo.problems)
            self._state.rounds += 1
            sampling = Sampling(
                seed=self._config.seed,
                step=self._state.rounds,
                group_size=algo.group_size,
                temperature=algo.temperature,
                max_new_tokens=algo.max_new_tokens,
                stop=tuple(self._config.prompt.stop),
            )
            with scoring(self._pack, self._backend, retries=verify.retries) as batch:  # each rollout as soon as it is finished
                sampled = self._engine.sample(self._policy, share(problems), sampling, on_finished=batch.submit)
                clock.lap("rollout")
                scored = batch.collect(sampled)
            gathered = gather(list(scored.groups))
            check_error_share(gathered, self._pack, verify.max_error_share)
            groups += gathered
            seconds += scored.seconds
            clock.lap("verify")
            if sum(not group.degenerate for group in groups) >= algo.problems:
                break
        return groups, seconds

    def _take_edits(self, step: int) -> dict[str, float]:
        """Set the rules in force at a step, edits of rules.yaml included; returns the number of changes as a metric, if any."""
        edits = [] if self._live is None else self._live.poll(step)
        self._pack = (self._rules if self._live is None else self._live.pack).at(step)
        for edit in edits:
            text = f"refused, the rules stay as they are: {edit.refused}" if edit.refused else "; ".join(edit.changes)
            self._notify(lambda observer, text=text: observer.note(step, f"rules.yaml: {text}"))
        changed = sum(len(edit.changes) for edit in edits)
        return {"rules/changes": float(changed)} if changed else {}

    def _notify(self, call: Callable[[Observer], None]) -> None:
        """Call every observer, on the main process; a failure there stops all processes in `_raise_if_any_rank_failed`."""
        for observer in self._observers:
            try:
                call(observer)
            except RunStopped as error:
                self._failure = self._failure or str(error)

    def _raise_if_any_rank_failed(self) -> None:
        """Errors: `RunStopped` on all processes with the first failure of any."""
        failures = [failure for failure in gather([self._failure]) if failure is not None]
        if failures:
            raise RunStopped(failures[0])

    def _evaluate(self, *, forced: bool = False) -> Evaluation | None:
        """Evaluate the held-out problems, greedily; None without any. forced: responses start with `eval.forced_prefix`."""
        prefix = self._config.eval.forced_prefix
        if not self._held_out or (forced and not prefix):
            return None
        start = time.perf_counter()
        evaluation = evaluate(
            self._policy,
            self._engine,
            self._pack,
            with_response_prefix(self._held_out, prefix) if forced and prefix else self._held_out,
            max_new_tokens=self._config.algo.max_new_tokens,
            stop=self._config.prompt.stop,
            backend=self._backend,
            verify=self._config.verify,
            rules=self._eval_rules,
            samples=None if forced else Samples.of(self._config),
            on_scored=partial(self._log_rollouts, self._state.done, "forced" if forced else "eval"),
        )
        self._state.eval_seconds += time.perf_counter() - start
        return evaluation

    def _log_rollouts(self, step: int, split: Split, groups: Sequence[Group], pack: RulePack) -> None:
        self._notify(lambda observer: observer.rollouts(step, split, groups, pack))

    def _log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._notify(lambda observer: observer.log(step, metrics))


class _Clock:
    """Seconds by part of a step."""

    def __init__(self) -> None:
        self.seconds = {"rollout": 0.0, "verify": 0.0, "train": 0.0}
        self._at = time.perf_counter()

    def lap(self, part: str) -> None:
        """Count the time since the last lap to this part."""
        now = time.perf_counter()
        self.seconds[part] += now - self._at
        self._at = now
