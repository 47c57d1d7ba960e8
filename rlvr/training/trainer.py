"""The loop: problems -> rollouts -> verdicts -> rewards -> advantages -> update -> metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object

from rlvr.config.schema import Config
from rlvr.data.curriculum import ProblemStream
from rlvr.errors import RunStopped
from rlvr.evaluation.evaluate import Samples, begun_with, evaluate
from rlvr.evaluation.metrics import Evaluation
from rlvr.models.policy import Policy
from rlvr.rollout.base import RolloutEngine, Sampling
from rlvr.rules.live import LiveRules
from rlvr.rules.pack import RulePack
from rlvr.runs.rows import Split
from rlvr.scoring.backend import Backend
from rlvr.scoring.scheduler import check_error_share, scoring
from rlvr.tracking.observer import Observer
from rlvr.tracking.step_metrics import eval_metrics, rollout_metrics, time_metrics
from rlvr.training.advantages import with_advantages
from rlvr.training.checkpoint import Checkpoint, Checkpoints
from rlvr.training.early_stop import CollapseWatch
from rlvr.training.interrupt import Interrupt
from rlvr.training.learner import Learner
from rlvr.training.result import TrainResult
from rlvr.training.state import Progress
from rlvr.types import Group, Problem


class Trainer:
    """Runs GRPO with parts made by `rlvr.runs.plan`."""

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
        """live: rules that may change while training goes on, instead of `pack`; eval_rules: judge beside it when evaluating;
        checkpoints: where to keep some, on the main process; start: what to go on from."""
        self._config, self._policy, self._engine, self._rules, self._backend = config, policy, engine, pack, backend
        self._held_out, self._observers = held_out, observers
        self._accelerator, self._live, self._checkpoints, self._eval_rules = accelerator, live, checkpoints, eval_rules
        self._learner = Learner(policy, config.algo, accelerator, reference)
        self._stream = ProblemStream(problems=train, seed=config.seed, curriculum=config.algo.curriculum)
        self._collapse = CollapseWatch(limits=config.early_stop)
        self._trouble: str | None = None
        self._at, self._saved = Progress(), 0
        if start is not None:
            self._at, self._saved = Progress.from_json(start.state["progress"]), start.step
            self._learner.load_state(start.tensors)
            self._stream.load_state(start.state["stream"])
        self._pack = (pack if live is None else live.pack).at(self._at.done)

    def run(self) -> TrainResult:
        """Train until `config.steps` steps are done, or until interrupted or something makes it stop."""
        at, stopped = self._at, None
        with Interrupt() as interrupt:
            try:
                if at.done == 0:
                    at.before, at.forced = self._evaluate(), self._evaluate(forced=True)
                    self._log(0, eval_metrics(at.before))
                while at.done < self._config.steps and stopped is None:
                    self._advance()
                    self._agree()
                    if any(gather_object([interrupt.requested])) and at.done < self._config.steps:
                        stopped = "interrupted"
                self._save()
                self._agree()
            except RunStopped as error:
                stopped = str(error)
        return TrainResult(
            before=at.before,
            after=at.after,
            forced=at.forced,
            steps=at.done,
            tokens=at.tokens,
            seconds={"train": at.train_seconds, "eval": at.eval_seconds},
            stopped=stopped,
            pack=self._pack,
        )

    def _advance(self) -> None:
        """A step, the evaluation and the checkpoint that are due after it."""
        at, steps, every = self._at, self._config.steps, self._config.eval.every
        start = time.perf_counter()
        metrics, tokens = self._step(at.done + 1)
        at.done, at.tokens, at.train_seconds = at.done + 1, at.tokens + tokens, at.train_seconds + time.perf_counter() - start
        at.streaks, collapsed = self._collapse.after(at.streaks, metrics)
        improved = False
        try:
            if at.done == steps or (every and at.done % every == 0):
                improved = at.evaluated(self._evaluate())
                metrics |= eval_metrics(at.after)
        finally:
            self._log(at.done, metrics)
        if improved or at.done % self._config.checkpoint.every == 0:
            self._save()
        if collapsed is not None and at.done < steps:
            self._save()
            raise RunStopped(collapsed)

    def _save(self) -> None:
        """A checkpoint of the steps done, if there is none. All processes hold the same state; the main one writes."""
        at = self._at
        if at.done == self._saved:
            return
        self._saved = at.done
        self._tell(lambda observer: observer.settle())
        if self._checkpoints is not None and self._trouble is None:
            rules = None if self._live is None else self._live.text
            state = {"progress": at.to_json(), "stream": self._stream.state(), "rules": rules}
            score = at.best if at.best_step == at.done else None
            try:
                self._checkpoints.save(Checkpoint(step=at.done, state=state, tensors=self._learner.state(), score=score))
            except RunStopped as error:
                self._trouble = str(error)

    def _step(self, step: int) -> tuple[dict[str, float], int]:
        """One step; returns its metrics and the number of completion tokens sampled."""
        algo, clock = self._config.algo, _Clock()
        changes = self._take_edits(step)
        gathered, seconds = self._sampled(clock)
        groups = with_advantages(gathered, scaling=algo.scaling, deviation=algo.deviation)
        learning_rate = self._learner.learning_rate
        training = [group for group in groups if not group.degenerate] if algo.resample else groups
        updated = self._learner.update(self._share(training))
        clock.lap("train")
        self._stream.learn(groups, self._pack)
        self._rollouts(step, "train", groups, self._pack)
        tokens = sum(len(rollout.token_ids) for group in groups for rollout in group.rollouts)
        measured = {**rollout_metrics(groups, self._pack), **updated, "policy/learning_rate": learning_rate}
        if algo.resample:
            measured["rollout/rounds"] = len(groups) / algo.problems
        return {**measured, **changes, **time_metrics(clock.seconds, scoring=seconds, tokens=tokens)}, tokens

    def _sampled(self, clock: _Clock) -> tuple[list[Group], list[float]]:
        """The judged groups of a step, of all processes, and the seconds that scoring each rollout took (here).

        With `algo.resample` more problems are asked, up to that many times, until enough groups have rewards that differ
        (dynamic sampling: DAPO, Yu et al. 2025, arXiv:2503.14476, section 3.2).
        """
        algo, verify, groups, seconds = self._config.algo, self._config.verify, list[Group](), list[float]()
        for _ in range(1 + algo.resample):
            problems = self._stream.take(algo.problems)
            self._at.rounds += 1
            sampling = Sampling(
                seed=self._config.seed,
                step=self._at.rounds,
                group_size=algo.group_size,
                temperature=algo.temperature,
                max_new_tokens=algo.max_new_tokens,
                stop=tuple(self._config.prompt.stop),
            )
            with scoring(self._pack, self._backend, retries=verify.retries) as batch:  # each rollout as soon as it has ended
                sampled = self._engine.sample(self._policy, self._share(problems), sampling, on_finished=batch.submit)
                clock.lap("rollout")
                judged = batch.collect(sampled)
            gathered = gather_object(list(judged.groups))
            check_error_share(gathered, self._pack, verify.max_error_share)
            groups += gathered
            seconds += judged.seconds
            clock.lap("verify")
            if sum(not group.degenerate for group in groups) >= algo.problems:
                break
        return groups, seconds

    def _take_edits(self, step: int) -> dict[str, float]:
        """The rules in force at a step, edits of rules.yaml included; returns how many changes there were, if any."""
        edits = [] if self._live is None else self._live.poll(step)
        self._pack = (self._rules if self._live is None else self._live.pack).at(step)
        for edit in edits:
            text = f"refused, the rules stay as they are: {edit.refused}" if edit.refused else "; ".join(edit.changes)
            self._tell(lambda observer, text=text: observer.note(step, f"rules.yaml: {text}"))
        changed = sum(len(edit.changes) for edit in edits)
        return {"rules/changes": float(changed)} if changed else {}

    def _tell(self, call: Callable[[Observer], None]) -> None:
        """Observers are on the main process only; what stops the run there has to stop all processes (`_agree`)."""
        for observer in self._observers:
            try:
                call(observer)
            except RunStopped as error:
                self._trouble = self._trouble or str(error)

    def _agree(self) -> None:
        """Errors: `RunStopped` on all processes, when something on one of them stops the run."""
        trouble = [each for each in gather_object([self._trouble]) if each is not None]
        if trouble:
            raise RunStopped(trouble[0])

    def _share(self, items: Sequence[Any]) -> Sequence[Any]:
        """This process's part of a list that all processes hold. Gathering shares puts them back process by process, and
        slicing that again gives other, equally sized parts: the sums over processes are the same."""
        return items[self._accelerator.process_index :: self._accelerator.num_processes]

    def _evaluate(self, *, forced: bool = False) -> Evaluation | None:
        """Held-out problems, greedily; `forced`: with the response made to begin with `eval.forced_prefix`."""
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
            rules=self._eval_rules,
            samples=None if forced else Samples.of(self._config),
            on_judged=partial(self._rollouts, self._at.done, "forced" if forced else "eval"),
        )
        self._at.eval_seconds += time.perf_counter() - start
        return evaluation

    def _rollouts(self, step: int, split: Split, groups: Sequence[Group], pack: RulePack) -> None:
        self._tell(lambda observer: observer.rollouts(step, split, groups, pack))

    def _log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._tell(lambda observer: observer.log(step, metrics))


class _Clock:
    """Seconds by part of a step."""

    def __init__(self) -> None:
        self.seconds = {"rollout": 0.0, "verify": 0.0, "train": 0.0}
        self._at = time.perf_counter()

    def lap(self, part: str) -> None:
        """What has passed since the last lap was this part."""
        now = time.perf_counter()
        self.seconds[part] += now - self._at
        self._at = now
