"""`python -m rlvr.score rules=PACK input=IN.jsonl output=OUT.jsonl`: judge completions that are already there.

Rows are `{"id", "prompt", "completion", "truth"}` (and `dataset`, for rules that name theirs); the output has a row for each,
in the same order. Rows with the same prompt and truth are a group, and on a terminal each group is shown with its rewards and
advantages. Without `output=` rows go to standard output; `input=-` reads standard input. Other arguments are overrides, of the
pack (`rules.format.weight=0.05`) and of where it is judged (`verify.workers=4`).
Exit status: 0; 1 when a row could not be read or judged (`error`); 2 when the arguments are wrong.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlvr.build import backend, rule_pack
from rlvr.compose import compose
from rlvr.config import ConfigError, VerifyConfig
from rlvr.data.rows import read_jsonl
from rlvr.files import write_whole
from rlvr.rules.pack import Judgement, RulePack
from rlvr.types import Problem, Verdict
from rlvr.verify.backend import Backend
from rlvr.verify.judging import judging
from rlvr.verify.processes import shared

USAGE = "usage: python -m rlvr.score rules=PACK input=IN.jsonl [output=OUT.jsonl] [KEY=VALUE ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A row of the input and what became of it."""

    id: str
    completion: str
    problem: Problem | None
    """None where the row could not be read."""
    judgement: Judgement

    def as_row(self) -> dict[str, Any]:
        verdicts = {name: dataclasses.asdict(verdict) for name, verdict in self.judgement.verdicts.items()}
        return {"id": self.id, "reward": self.judgement.reward, "verdicts": verdicts}


def score_file(
    pack: RulePack, path: Path, backend: Backend | None = None, *, retries: int = VerifyConfig.retries
) -> list[Scored]:
    """Judge every row; one that cannot be read gets `error` verdicts that name its line, and the rest goes on.

    `backend` judges what is slow, many rows at a time: left out, the worker processes that this process shares.
    """
    rows = [_read_row(number, row) for number, row in read_jsonl(path)]
    with judging(pack, backend or shared(), retries=retries) as batch:
        judgements = iter(batch.judge((completion, task) for _, completion, task in rows if isinstance(task, Problem)))
    return [
        _unreadable(pack, row_id, task)
        if isinstance(task, str)
        else Scored(id=row_id, completion=completion, problem=task, judgement=next(judgements))
        for row_id, completion, task in rows
    ]


def _read_row(number: int, row: dict[str, Any] | str) -> tuple[str, str, Problem | str]:
    """Id, completion, and problem; for a row that cannot be read why that is so."""
    why = row if isinstance(row, str) else _lacks(row)
    row_id = str(row.get("id", f"line-{number}")) if isinstance(row, dict) else f"line-{number}"
    if why or isinstance(row, str):
        return row_id, "", f"line {number}: {why}"
    try:
        task = Problem(
            id=row_id,
            prompt=row["prompt"],
            truth=row["truth"],
            prefill=row.get("prefill"),
            metadata={"dataset": row["dataset"]} if row.get("dataset") else {},
        )
    except RecursionError:
        return row_id, "", f"line {number}: the truth is nested too deep"
    return row_id, row["completion"], task


def _unreadable(pack: RulePack, row_id: str, why: str) -> Scored:
    verdicts = dict.fromkeys(pack.rules, Verdict.error("bad_row", why))
    return Scored(id=row_id, completion="", problem=None, judgement=pack.total(verdicts))


def _lacks(row: dict[str, Any]) -> str | None:
    for key, kind, name in (("prompt", str, "text"), ("completion", str, "text"), ("truth", dict, "object")):
        if not isinstance(row.get(key), kind):
            return f"needs {key!r}, as {name}"
    for key in ("prefill", "dataset"):
        if not isinstance(row.get(key), str | None):
            return f"needs {key!r}, as text, where it is given"
    return None


def groups_of(scored: Sequence[Scored]) -> list[list[Scored]]:
    """Rows with the same prompt and truth, in the order of their first row."""
    groups: dict[str, list[Scored]] = {}
    for each in scored:
        if each.problem is not None:
            groups.setdefault(json.dumps([each.problem.prompt, each.problem.truth], sort_keys=True), []).append(each)
    return list(groups.values())


def show(scored: Sequence[Scored], pack: RulePack, console: Console) -> None:
    """For a human: every rule's verdict and what it adds, the total, and the advantage within the group."""
    import torch  # takes a second: only where a group is shown

    from rlvr.grpo import group_advantages

    for group in groups_of(scored):
        problem = group[0].problem
        assert problem is not None
        rewards = [each.judgement.reward for each in group]
        rewards_PG = torch.tensor([[float("nan") if reward is None else reward for reward in rewards]], dtype=torch.float64)
        advantages = group_advantages(rewards_PG)[0].tolist()
        console.print(Text(f"\n{_clip(problem.prompt, 100)}  truth {_clip(json.dumps(problem.truth), 60)}", style="bold"))
        table = Table(show_lines=len(group) > 1, header_style="bold")
        for name in ("id", "completion", *pack.rules, "reward"):
            table.add_column(name, justify="right" if name == "reward" else "left", overflow="fold")
        if len(group) > 1:
            table.add_column("advantage", justify="right")
        for each, advantage in zip(group, advantages, strict=True):
            cells = [_cell(each.judgement.verdicts.get(name), rule.weight) for name, rule in pack.rules.items()]
            reward = "masked" if each.judgement.reward is None else f"{each.judgement.reward:.2f}"
            last = [f"{advantage:+.3f}"] if len(group) > 1 else []
            # As Text: what a model wrote may look like markup.
            table.add_row(*map(Text, (each.id, _clip(each.completion, 160), *cells, reward, *last)))
        console.print(table, highlight=False)
    for each in scored:
        if each.problem is None:
            console.print(f"not read: {next(iter(each.judgement.verdicts.values())).detail}", markup=False)


def _cell(verdict: Verdict | None, weight: float) -> str:
    if verdict is None:
        return "does not apply"
    found = f", found {_clip(verdict.answer, 30)}" if verdict.answer is not None else ""
    added = "not counted" if verdict.score is None else f"{weight:g} x {verdict.score:g} = {weight * verdict.score:.3g}"
    return f"{added}\n{verdict.reason}{found}\n{_clip(verdict.detail, 60)}"


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    given = {name: value for name, _, value in (argument.partition("=") for argument in arguments)}
    overrides = [argument for argument in arguments if argument.partition("=")[0] not in ("rules", "input", "output")]
    try:
        if not given.get("rules") or not given.get("input"):
            raise ConfigError(f"rules=PACK and input=FILE are needed; {USAGE}")
        source = Path("/dev/stdin") if given["input"] == "-" else Path(given["input"])
        if not source.exists() or source.is_dir():
            raise ConfigError(f"input={given['input']}: no such file")
        if given.get("output") and (Path(given["output"]).is_dir() or not Path(given["output"]).absolute().parent.is_dir()):
            raise ConfigError(f"output={given['output']}: not a file in a folder that exists")
        config = compose([f"rules={given['rules']}", *overrides])
        pack = rule_pack(config)
        judges = backend(config, pack)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with closing(judges):
        scored = score_file(pack, source, judges, retries=config.verify.retries)
    rows = "".join(json.dumps(each.as_row()) + "\n" for each in scored)
    console = Console()
    if given.get("output"):
        write_whole(Path(given["output"]), rows)
    elif not console.is_terminal:
        sys.stdout.write(rows)
    if console.is_terminal:
        show(scored, pack, console)
    failed = [each for each in scored if each.judgement.outcome == "error"]
    for each in failed:
        reasons = {
            f"{verdict.reason}: {verdict.detail}" for verdict in each.judgement.verdicts.values() if verdict.score is None
        }
        print(f"error: {each.id}: {'; '.join(sorted(reasons))}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
