"""`rlvr score rules=PACK input=IN.jsonl output=OUT.jsonl`: score a file of completions.

Rows are `{"id", "prompt", "completion", "truth"}` (and `dataset`, for rules that name theirs); the output has a row for each,
in the same order. Rows with the same prompt and truth are a group, and on a terminal each group is shown with its rewards and
advantages. Without `output=` rows go to standard output; `input=-` reads standard input. Other arguments are overrides, of the
pack (`rules.format.weight=0.05`) and of where it is scored (`verify.workers=4`).
Exit status: 0; 1 when a row could not be read or scored (`error`); 2 when the arguments are wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlvr.analysis.score_file import Scored, groups_of, score_file
from rlvr.config.compose import compose
from rlvr.errors import ConfigError
from rlvr.files import write_whole
from rlvr.rules.load import rule_pack
from rlvr.rules.pack import RulePack
from rlvr.scoring.factory import make_backend
from rlvr.text import clip
from rlvr.types import Verdict

USAGE = "usage: rlvr score rules=PACK input=IN.jsonl [output=OUT.jsonl] [KEY=VALUE ...]"


def show(scored: Sequence[Scored], pack: RulePack, console: Console) -> None:
    """For a human: every rule's verdict and its part of the reward, the reward, and the advantage within the group."""
    import torch  # takes a second: only where a group is shown

    from rlvr.training.advantages import group_advantages

    for group in groups_of(scored):
        problem = group[0].problem
        assert problem is not None
        rewards = [each.judgement.reward for each in group]
        rewards_PG = torch.tensor([[float("nan") if reward is None else reward for reward in rewards]], dtype=torch.float64)
        advantages = group_advantages(rewards_PG)[0].tolist()
        title = f"\n{clip(problem.prompt, 100)}  ground truth {clip(json.dumps(problem.truth), 60)}"
        console.print(Text(title, style="bold"))
        table = Table(show_lines=len(group) > 1, header_style="bold")
        for name in ("id", "completion", *pack.rules, "reward"):
            table.add_column(name, justify="right" if name == "reward" else "left", overflow="fold")
        if len(group) > 1:
            table.add_column("advantage", justify="right")
        for each, advantage in zip(group, advantages, strict=True):
            cells = [_cell(each.judgement.verdicts.get(name), rule.weight) for name, rule in pack.rules.items()]
            reward = "masked" if each.judgement.reward is None else f"{each.judgement.reward:.2f}"
            last = [f"{advantage:+.3f}"] if len(group) > 1 else []
            # As Text: a completion may look like markup.
            table.add_row(Text(each.id), _completion(each), *map(Text, (*cells, reward, *last)))
        console.print(table, highlight=False)
    for each in scored:
        if each.problem is None:
            console.print(f"not read: {next(iter(each.judgement.verdicts.values())).detail}", markup=False)


def _completion(row: Scored) -> Text:
    """Its beginning, with the answers that were found underlined."""
    text = Text(clip(row.completion, 160))
    for verdict in row.judgement.verdicts.values():
        if verdict.span is not None:
            text.stylize("underline", *verdict.span)
    return text


def _cell(verdict: Verdict | None, weight: float) -> str:
    if verdict is None:
        return "does not apply"
    found = f", found {clip(verdict.answer, 30)}" if verdict.answer is not None else ""
    added = "not counted" if verdict.score is None else f"{weight:g} x {verdict.score:g} = {weight * verdict.score:.3g}"
    return f"{added}\n{verdict.reason}{found}\n{clip(verdict.detail, 60)}"


def run(arguments: Sequence[str]) -> int:
    """Returns the exit status. Errors: `ConfigError`."""
    given = {name: value for name, _, value in (argument.partition("=") for argument in arguments)}
    overrides = [argument for argument in arguments if argument.partition("=")[0] not in ("rules", "input", "output")]
    if not given.get("rules") or not given.get("input"):
        raise ConfigError(f"rules=PACK and input=FILE are needed; {USAGE}")
    source = Path("/dev/stdin") if given["input"] == "-" else Path(given["input"])
    if not source.exists() or source.is_dir():
        raise ConfigError(f"input={given['input']}: no such file")
    if given.get("output") and (Path(given["output"]).is_dir() or not Path(given["output"]).absolute().parent.is_dir()):
        raise ConfigError(f"output={given['output']}: not a file in a folder that exists")
    config = compose([f"rules={given['rules']}", *overrides])
    pack = rule_pack(config)
    with closing(make_backend(config, pack)) as backend:
        scored = score_file(pack, source, backend, retries=config.verify.retries)
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
        verdicts = each.judgement.verdicts.values()
        reasons = {f"{verdict.reason}: {verdict.detail}" for verdict in verdicts if verdict.score is None}
        print(f"error: {each.id}: {'; '.join(sorted(reasons))}", file=sys.stderr)
    return 1 if failed else 0
