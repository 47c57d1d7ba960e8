"""The scoring command and the same from Python."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import forked
import pytest
from rich.console import Console

from rlvr import load_rules
from rlvr.analysis.score_file import score_file
from rlvr.cli.main import main
from rlvr.cli.score import show

GOOD = "<think>2 + 2 = 4, so</think><answer>\\boxed{4}</answer>"
ROWS: list[Any] = [
    {"id": "a", "prompt": "2+2?", "completion": GOOD, "truth": {"answer": "4"}},
    {"id": "b", "prompt": "2+2?", "completion": "It is \\boxed{5}.", "truth": {"answer": "4"}},
    {"id": "c", "prompt": "2+2?\n<think>", "completion": GOOD.removeprefix("<think>"), "truth": {"answer": "4"}},
    {"id": "d", "prompt": "2+2?", "completion": GOOD, "truth": {"answer": "\\frac{1}{"}},
]


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run("score", *arguments)


def test_a_file(tmp_path: Path) -> None:
    source, out = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    result = run("rules=r1_format+answer", f"input={source}", f"output={out}", "rules.format.weight=0.05")
    assert (result.returncode, result.stderr) == (0, "")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["id"], row["reward"]) for row in rows] == [("a", 1.05), ("b", 0.0), ("c", 1.05), ("d", None)]
    assert rows[1]["verdicts"]["answer"] == {
        "outcome": "scored",
        "score": 0.0,
        "reason": "wrong",
        "answer": "5",
        "span": [13, 14],
        "detail": "boxed: 5 is not 4 as exact numbers",
    }
    assert rows[3]["verdicts"]["answer"]["outcome"] == "unscorable"
    assert rows[3]["verdicts"]["format"]["score"] == 1.0
    assert run("rules=r1_format+answer", f"input={source}").stdout.count("\n") == 4, "without output= rows go to stdout"


def test_rows_that_cannot_be_read_are_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    bad = ["{", "[1]", {"id": "x", "prompt": "q", "truth": {}}, {"prompt": "q", "completion": None, "truth": {}}, {"prompt": 1}]
    source, out = write(tmp_path / "in.jsonl", [ROWS[0], "", *bad, ROWS[1]]), tmp_path / "out.jsonl"
    result = run("rules=r1_format+answer", f"input={source}", f"output={out}")
    assert result.returncode == 1
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["a", "line-3", "line-4", "x", "line-6", "line-7", "b"]
    assert [row["reward"] for row in rows] == [1.1, None, None, None, None, None, 0.0]
    assert rows[3]["verdicts"]["answer"]["outcome"] == "error"
    for number in (3, 4, 5, 6, 7):
        assert f"line {number}: " in result.stderr
    assert "needs 'completion', as text" in result.stderr


def test_a_terminal_shows_verdicts_contributions_and_advantages(tmp_path: Path) -> None:
    pack = load_rules("r1_format+answer")
    console = Console(width=150, record=True, file=io.StringIO())
    show(score_file(pack, write(tmp_path / "in.jsonl", [*ROWS[:2], "{"])), pack, console)
    assert "\\boxed{\x1b[4m5\x1b[0m}" in console.export_text(styles=True, clear=False), "the answer that was found"
    text = console.export_text()
    for wanted in ("0.1 x 1 = 0.1", "1 x 1 = 1", "1 x 0 = 0", "wrong, found 5", "1.10", "+1.000", "-1.000", "not read: line 3"):
        assert wanted in text


def test_odd_texts_lose_nothing(tmp_path: Path) -> None:
    """Lone surrogates, text that looks like markup, truths nested without end."""
    odd = [{**ROWS[0], "completion": text} for text in ("\ud800 \\boxed{4}", "so \\[/b] [x=1] \\boxed{4}")]
    deep = '{"id": "deep", "prompt": "q", "completion": "", "truth": {"a": ' + "[" * 900 + "]" * 900 + "}}"
    source, out = write(tmp_path / "in.jsonl", [*odd, deep]), tmp_path / "out.jsonl"
    assert main(["score", "rules=r1_format+answer", f"input={source}", f"output={out}"]) == 1
    assert [json.loads(line)["reward"] for line in out.read_text().splitlines()] == [1.0, 1.0, None]
    pack = load_rules("answer")
    console = Console(width=150, record=True, file=io.StringIO())
    show(score_file(pack, write(tmp_path / "in.jsonl", [{**odd[1], "id": "[/d]"}])), pack, console)
    assert "so \\[/b] [x=1] \\boxed{4}" in console.export_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "rules=PACK and input=FILE are needed"),
        (["rules=answer", "input=/no/such"], "input=/no/such: no such file"),
        (["rules=anser", "input=/etc/hostname"], "rules=anser: there is no such choice; did you mean answer?"),
        (["rules=answer", "input=/etc/hostname", "output=/no/such/file"], "output=/no/such/file: not a file in a folder that"),
        (["rules=answer", "input=/etc/hostname", "ouput=x"], "ouput=x: there is no such key"),
    ],
)
def test_wrong_arguments_exit_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_rows_of_several_data_sets(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "dataset": name} for name in ("gsm8k", "other")] + [{**ROWS[0], "dataset": 3}]
    pack = load_rules("answer", ["rules.answer.datasets=[gsm8k]"])
    scored = score_file(pack, write(tmp_path / "in.jsonl", rows))
    assert [each.judgement.outcome for each in scored] == ["scored", "unscorable", "error"]
