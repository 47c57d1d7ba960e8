"""The loop: problems -> rollouts -> verdicts -> rewards -> advantages -> update -> metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rlvr.data.curriculum import ProblemStream
from rlvr.errors import RunStopped
from rlvr.evaluation.evaluate import Samples, evaluate, with_response_prefix
from rlvr.evaluation.metrics import Evaluation
from rlvr.evaluation.parts import RunParts
from rlvr.parallel.collectives import gather, share
from rlvr.rollout.base import Sampling
from rlvr.rules.live import LiveRules
from rlvr.rules.pack import RulePack
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
from rlvr.types import Group, Split


class Trainer:
    """Trains a policy with GRPO under rules that may be edited meanwhile."""

    def __init__(
        self,
        parts: RunParts,
        live: LiveRules,
        *,
        observers: Sequence[Observer] = (),
        checkpoints: Checkpoints | None = None,
        start: Checkpoint | None = None,
    ) -> None:
        """observers, checkpoints: of the main process; start: what to resume from."""
        config = parts.config
        self._config = config
        self._parts = parts
        self._live = live
        self._observers = observers
        self._checkpoints = checkpoints
        self._learner = Learner(parts.policy, config.algo, parts.accelerator, parts.reference)
        self._stream = ProblemStream(problems=parts.train, seed=config.seed, curriculum=config.algo.curriculum)
        self._early_stopping = EarlyStopping(limits=config.early_stop)
        self._state = TrainState()
        self._saved = 0  # steps done at the last checkpoint
        self._synced: int | None = None  # version of the weights that the engine has
        self._failure: str | None = None  # why this process cannot go on
        if start is not None:
            self._state = TrainState.from_json(start.state["progress"])
            self._saved = start.step
            self._learner.load_state(start.tensors)
            self._stream.load_state(start.state["stream"])
        self._pack = live.pack.at(self._state.done)

    def run(self) -> TrainResult:
        """Train until `config.steps` steps are done, or until interrupted or something makes it stop."""
        state, stopped = self._state, None
        with Interrupt() as interrupt:
            try:
                if state.done == 0:
                    state.before = self._evaluate()
                    state.forced = self._evaluate(forced=True)
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
        metrics, tokens = self.step(state.done + 1)
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
            state = {"progress": self._state.to_json(), "stream": self._stream.state(), "rules": self._live.text}
            score = self._state.best if self._state.best_step == done else None
            try:
                self._checkpoints.save(Checkpoint(step=done, state=state, tensors=self._learner.state(), score=score))
            except RunStopped as error:
                self._failure = str(error)

    def step(self, step: int) -> tuple[dict[str, float], int]:
        """Step number `step`, from 1; returns its metrics and the number of completion tokens sampled."""
        algo = self._config.algo
        changes = self._take_edits(step)
        clock = _Clock()
        scored, seconds = self._sample_and_score(clock)
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

    def _sample_and_score(self, clock: _Clock) -> tuple[list[Group], list[float]]:
        """Groups of a step with their rewards, from all processes, and the seconds that scoring each rollout took in this one.

        With `algo.resample` more problems are sampled, up to that many times, until enough groups are not degenerate
        (dynamic sampling: DAPO, Yu et al. 2025, arXiv:2503.14476, section 3.2).
        """
        algo, verify = self._config.algo, self._config.verify
        groups: list[Group] = []
        seconds: list[float] = []
        self._sync()
        clock.lap("sync")
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
            # Each rollout is scored as soon as it is finished.
            with scoring(self._pack, self._parts.backend, retries=verify.retries) as batch:
                sampled = self._parts.engine.sample(share(problems), sampling, on_finished=batch.submit)
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

    def _sync(self) -> None:
        """Give the engine the weights, if they have changed since it got them."""
        policy = self._parts.policy
        if self._synced != policy.version:
            self._parts.engine.sync(policy)
            self._synced = policy.version

    def _take_edits(self, step: int) -> dict[str, float]:
        """Set the rules in force at a step, edits of rules.yaml included; returns the number of changes as a metric, if any."""
        edits = self._live.poll(step)
        self._pack = self._live.pack.at(step)
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
        problems = self._parts.held_out
        if not problems or (forced and not prefix):
            return None
        if forced and prefix:
            problems = with_response_prefix(problems, prefix)
        start = time.perf_counter()
        self._sync()
        evaluation = evaluate(
            self._parts,
            self._pack,
            problems,
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
        self.seconds = {"rollout": 0.0, "verify": 0.0, "sync": 0.0, "train": 0.0}
        self._at = time.perf_counter()

    def lap(self, part: str) -> None:
        """Count the time since the last lap to this part."""
        now = time.perf_counter()
        self.seconds[part] += now - self._at
        self._at = now
