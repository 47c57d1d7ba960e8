"""Weights & Biases."""

from __future__ import annotations

import logging
import os
import queue
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from rlvr.config.bounds import check_fields
from rlvr.errors import describe
from rlvr.rules.fingerprint import fingerprint
from rlvr.rules.pack import RulePack
from rlvr.text import one_line
from rlvr.tracking.observer import Observer, RunInfo
from rlvr.types import Group, Split

logger = logging.getLogger(__name__)

_BINS = 32
_WAITING = 10_000
"""Calls that may be queued for W&B before it counts as hung."""
_PROMPT, _COMPLETION = 500, 2_000
"""Characters shown in a table: of the end of a prompt, of the start of a completion."""


@dataclass(kw_only=True)
class WandbTracker(Observer):
    """Weights & Biases: online when logged in, otherwise files in the run folder (`wandb sync` uploads them later).

    W&B is called in a separate thread, so that training continues whether it is slow, fails or hangs. A resumed run keeps its
    id. Steps that it repeats remain in W&B as they were the first time.
    """

    project: str = "rlvr"
    """Project in W&B."""
    entity: str | None = None
    """Team or user in W&B; None: the default of the account."""
    mode: str | None = None
    """online, offline or disabled; None: online when logged in, else offline. WANDB_MODE overrides it."""
    table_every: int = 10
    """Steps between tables of sample rollouts with their verdicts, which evaluations always have. 0: no tables."""
    table_rollouts: int = 4
    """Rollouts in each table."""
    patience_s: float = 60.0
    """Seconds to wait for W&B at the end of a run."""

    def __post_init__(self) -> None:
        check_fields(self, "mode", one_of=("online", "offline", "disabled"))
        check_fields(self, "table_every", at_least=0)
        check_fields(self, "table_rollouts", at_least=1)
        check_fields(self, "patience_s", above=0)

    def begin(self, run: RunInfo) -> None:
        self._row: dict[str, Any] = {}  # of the next step; functions make values of W&B's types in the thread
        self._notes: list[list[Any]] = []  # step and text
        self._rules: str | None = None
        self._rules_from = tuple(run.config.get("rules_from", ()))
        self._given_up = False
        self._calls: queue.Queue[Callable[[Any], object] | None] = queue.Queue(maxsize=_WAITING)
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._arguments = {
            "name": run.name,
            "config": dict(run.config),
            "dir": run.folder,
            "group": run.sweep,
            "id": _earlier_id(run.folder) or secrets.token_hex(4),
        }
        self._thread.start()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        row, self._row = {**metrics, **self._row}, {}
        self._put(lambda run: run.log(_values(row), step=step, commit=True))

    def rollouts(self, step: int, split: Split, groups: Sequence[Group], pack: RulePack) -> None:
        rules = fingerprint(pack, self._rules_from).hash
        if self._rules is None:
            self._put(lambda run: run.config.update({"rules_hash": rules}, allow_val_change=True))
        if self._rules != rules:
            self._rules = self._row["rules/hash"] = rules
        if split == "train":
            rollouts = [rollout for group in groups for rollout in group.rollouts if rollout.reward is not None]
            for name in ("reward", "advantage") if rollouts else ():
                values = [float(getattr(rollout, name)) for rollout in rollouts]
                self._row[f"{name}/histogram"] = partial(_histogram, values)
        every = self.table_every
        if every and (split != "train" or step == 1 or step % every == 0):
            columns, rows = samples(groups, pack, self.table_rollouts)
            self._row[f"rollouts/{split}"] = partial(_table, columns, rows)

    def note(self, step: int, text: str) -> None:
        self._notes.append([step, text])
        self._row["notes"] = partial(_table, ["step", "note"], list(self._notes))

    def end(self, summary: Mapping[str, Any] | None) -> None:
        if row := self._row:  # logged after the last step
            self._put(lambda run: run.log(_values(row)))
        if summary is not None:
            self._put(lambda run: run.summary.update(dict(summary)))
        self._put(lambda run: run.finish(exit_code=int(summary is None)))
        self._put(None)
        self._thread.join(self.patience_s)
        if self._thread.is_alive():
            self._give_up(f"does not finish within {self.patience_s:g} s")
            _kill_service()  # or W&B would wait for it at exit
            self._thread.join(5)

    def _put(self, call: Callable[[Any], object] | None) -> None:
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            self._give_up("no longer accepts data")

    def _give_up(self, why: str) -> None:
        if not self._given_up:
            self._given_up = True
            logger.warning("W&B %s; continuing without it", why)

    def _work(self) -> None:
        try:
            run = self._start()
            while (call := self._calls.get()) is not None:
                call(run)
        except (Exception, SystemExit) as error:  # noqa: BLE001  nothing that W&B raises may stop a run
            self._give_up(f"failed: {one_line(describe(error))}")
        finally:
            _tear_down()

    def _start(self) -> Any:
        import wandb

        wandb.setup(settings=wandb.Settings(silent=True))
        wanted: Any = os.environ.get("WANDB_MODE") or self.mode
        if wanted in (None, "online"):
            logged_in = wandb.login(prompt=False, verify=False)
            if wanted and not logged_in:
                logger.warning("W&B is not logged in, continuing offline")
            wanted = "online" if logged_in else "offline"
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        common = {"project": self.project, "entity": self.entity, "job_type": "train", "settings": settings}
        for mode in dict.fromkeys((wanted, "offline")):
            resume: Any = "allow" if mode == "online" else None
            try:
                return wandb.init(mode=mode, resume=resume, **common, **self._arguments)
            except (wandb.Error, OSError) as error:
                if mode == "offline":
                    raise
                logger.warning("W&B cannot be reached, continuing offline: %s", one_line(describe(error)))
                wandb.teardown()  # the service still holds the run's id
        raise AssertionError("the last mode returns or raises")


def _earlier_id(folder: Path) -> str | None:
    """The id that a resumed run has had, from the names `[offline-]run-TIME-ID` of W&B's folders; None for a new run."""
    runs = [path.name.rsplit("-", 2) for path in (folder / "wandb").glob("*run-*-*")]
    return max(runs, key=lambda parts: parts[1])[2] if runs else None


def samples(groups: Sequence[Group], pack: RulePack, n: int) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table of `n` rollouts: the best and the worst of each group, degenerate groups last."""
    chosen: list[tuple[Group, int]] = []
    for group in sorted(groups, key=lambda group: group.degenerate):
        rewards = [float("-inf") if rollout.reward is None else rollout.reward for rollout in group.rollouts]
        chosen += [(group, at) for at in dict.fromkeys((rewards.index(max(rewards)), rewards.index(min(rewards))))]
    columns = ["problem", "prompt", "completion", "reward", "advantage"]
    columns += [f"{rule}/{field}" for rule in pack.rules for field in ("score", "reason", "answer")]
    rows: list[list[Any]] = []
    for group, at in chosen[:n]:
        rollout = group.rollouts[at]
        row = [group.problem.id, group.problem.prompt[-_PROMPT:], rollout.text[:_COMPLETION], rollout.reward, rollout.advantage]
        for rule in pack.rules:
            verdict = rollout.verdicts.get(rule)
            row += [verdict.score, verdict.reason, verdict.answer] if verdict else [None, "", None]
        rows.append(row)
    return columns, rows


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value() if callable(value) else value for name, value in row.items()}


def _histogram(values: Sequence[float]) -> Any:
    import wandb

    return wandb.Histogram(values, num_bins=_BINS)


def _table(columns: Any, rows: Any) -> Any:
    import wandb

    return wandb.Table(columns=columns, data=rows, allow_mixed_types=True)


def _tear_down() -> None:
    """End W&B's service in this thread, which may hang, rather than at exit."""
    try:
        import wandb

        wandb.teardown()
    except Exception as error:  # noqa: BLE001  the run is over
        logger.debug("W&B's service could not be ended: %s", error)


def _kill_service() -> None:
    for child in psutil.Process().children():
        try:
            if child.name() == "wandb-core":
                child.kill()
                child.wait(5)
        except psutil.Error:
            continue
