"""Verifier of actions: whether they lead to a good state of a simulated environment."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

from rlvr.answers.extract import PLACES, Piece, passage
from rlvr.config.bounds import check_fields
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Refused, Verifier, check_choices, not_found, settle_places
from rlvr.verifiers.simulation.base import Invalid, Simulator
from rlvr.verifiers.structured.strict_json import parse

MAX_CHARS = 100_000
"""Longest list of actions that is read."""
MAX_ACTION_CHARS = 500
"""Longest action."""
_BULLET = re.compile(r"(?:[-*+]|\d{1,6}[.)])\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation(Verifier):
    """Do the answer's actions, taken in order from the start that `truth["simulation"]` describes, lead to a good state?

    The score is the simulator's score of the last state; below 1 it counts only with `partial`. Actions are written one a line
    (bullets and numbers before them are dropped) or as a JSON list of texts. Your own simulator is a subclass of
    `rlvr.verifiers.simulation.base.Simulator`; to use it, derive a class from this one in your package, list the package in
    `rules_from`, and name that class as `_target_`: `simulator` may then name classes of that package as well as of `rlvr`.

    Reasons: `no_answer`, `unparsable`, `too_many_actions`, `invalid_action`, `wrong`, `partial`, `correct`; `bad_score` (an
    error of ours) when the simulator returns no number in [0, 1].
    """

    judges: ClassVar = "answer"
    needs: ClassVar = ("simulation",)

    simulator: str
    """Import path of a subclass of `rlvr.verifiers.simulation.base.Simulator`."""
    extract: str | tuple[str, ...] = "tag"
    """Where the actions are, after the reasoning: tag, boxed, fenced, whole; or several in order; the last found counts."""
    tag: str = "answer"
    """Name of the tag for the place `tag`; a box or a fenced block in it is opened."""
    language: str = ""
    """Label of a fenced block: what follows the opening "```"."""
    form: Literal["lines", "json", "either"] = "either"
    """How actions are written; `either`: as JSON if the text begins with a square bracket."""
    max_actions: int = 1000
    """Most actions that are read; more score 0."""
    on_invalid: Literal["fail", "stop", "skip"] = "fail"
    """What an invalid action does: `fail` scores 0, `stop` ends the run before it, `skip` ignores it. With `skip`, a list of
    everything that could be tried may reach the goal by chance."""
    partial: bool = False
    """Whether scores below 1 count."""

    def __post_init__(self) -> None:
        settle_places(self, PLACES)
        check_choices(self)
        check_fields(self, "max_actions", at_least=1)
        packages = {cls.__module__.partition(".")[0] for cls in type(self).__mro__ if issubclass(cls, Simulation)}
        if self.simulator.partition(".")[0] not in packages:
            allowed_from = ", ".join(f"{package}." for package in sorted(packages))
            raise ValueError(f"simulator={self.simulator}: allowed are {allowed_from} (derive from Simulation in your package)")
        _simulator(self.simulator)

    def prepare(self) -> None:
        _simulator(self.simulator)

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        return self(completion, problem) if _simulator(self.simulator).brief else None

    def scored_part(self, completion: str, problem: Problem) -> tuple[object, int]:
        found = self._passage(completion)
        return ((found.text, completion[slice(*found.span)]), found.start) if found else (None, 0)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        simulator = _simulator(self.simulator)
        start = self.read_truth(problem.truth)
        if isinstance(start, str):
            return Verdict.unscorable("bad_truth", start)
        state = start.state
        found = self._passage(completion)
        if found is None:
            return not_found(self.extract)
        answer = found.text[:200]
        try:
            actions = self._actions(found.text)
        except Refused as error:
            return Verdict.scored(0.0, error.reason, answer, str(error), span=found.span)
        taken, said = 0, ""
        for number, action in enumerate(actions, start=1):
            after = simulator.step(state, action)
            if not isinstance(after, Invalid):
                state, taken = after, taken + 1
                continue
            why = f"action {number}, {action[:40]!r}: {after.why}"
            said = said or f"; {why}"
            if self.on_invalid == "fail":
                return Verdict.scored(0.0, "invalid_action", answer, why, span=found.span)
            if self.on_invalid == "stop":
                break
        score = simulator.score(state)
        if isinstance(score, bool) or not isinstance(score, int | float) or math.isnan(score) or not 0 <= score <= 1:
            return Verdict.error("bad_score", f"{self.simulator} gives the score {score!r}"[:200])
        reason = "correct" if score == 1 else "partial" if score and self.partial else "wrong"
        detail = f"{taken} of {len(actions)} actions taken{said}; the last state scores {score:.3g}"
        return Verdict.scored(float(score) if reason != "wrong" else 0.0, reason, answer, detail, span=found.span)

    def _passage(self, response: str) -> Piece | None:
        return passage(response, self.extract, tag=self.tag, language=self.language)

    def _actions(self, text: str) -> list[str]:
        """The actions written in a text. Errors: `Refused`."""
        if len(text) > MAX_CHARS:
            raise Refused("too_many_actions", f"{len(text)} characters, at most {MAX_CHARS} are read")
        if self.form == "json" or (self.form == "either" and text.startswith("[")):
            try:
                actions = parse(text)
            except Refused as error:
                raise Refused("unparsable", str(error)) from error
            if not isinstance(actions, list) or not all(isinstance(each, str) for each in actions):
                raise Refused("unparsable", "not a JSON list of texts")
        else:
            actions = [_BULLET.sub("", line.strip(), count=1) for line in text.splitlines() if line.strip()]
        if len(actions) > self.max_actions:
            raise Refused("too_many_actions", f"{len(actions)} actions, at most {self.max_actions} are read")
        if any(len(each) > MAX_ACTION_CHARS for each in actions):
            raise Refused("unparsable", f"an action of more than {MAX_ACTION_CHARS} characters")
        return actions

    def read_truth(self, truth: Mapping[str, Any]) -> _Start | str:
        setup, simulator = truth.get("simulation"), _simulator(self.simulator)
        if not isinstance(setup, Mapping):
            return f"the truth has no object 'simulation' (it has: {', '.join(truth) or 'none'})"
        try:
            state = simulator.start(setup)
        except ValueError as error:
            return f"the truth's simulation: {error}"
        if simulator.score(state) == 1:
            return "the truth's simulation: is solved at its start, so that doing nothing would be right"
        return _Start(state)


class _Start(NamedTuple):
    state: Any
    """Of any class: a text as well."""


@lru_cache(maxsize=64)
def _simulator(path: str) -> Simulator[Any]:
    """The simulator that an import path names. Errors: `ValueError`."""
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ValueError(f"simulator={path}: {error}") from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Simulator)):
        there = [each for each, value in vars(module).items() if isinstance(value, type) and Simulator in value.__mro__[1:]]
        raise ValueError(f"simulator={path}: is no Simulator (that module has: {', '.join(there) or 'none'})")
    try:
        return found()
    except TypeError as error:
        raise ValueError(f"simulator={path}: cannot be made without arguments ({error})") from error
