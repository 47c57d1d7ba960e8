"""What a run shows: plain lines away from a terminal, a live display on one."""

from __future__ import annotations

import io
import os
import pty
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlvr.tracking.console import RunDisplay, duration, numbers
from rlvr.tracking.observer import RunInfo

METRICS = {
    "reward/mean": 0.5,
    "rule/format/score": 0.25,
    "rule/format/weight": 0.1,
    "rule/answer/score": 1.0,
    "rollout/length": 31.4,
    "tokens_per_second": 12345.6,
}


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def display(*, steps: int, clock: Clock | None = None, in_sweep: bool = False, **more: Any) -> tuple[RunDisplay, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, highlight=False, soft_wrap=True, width=60)
    shown = RunDisplay(console=console, clock=clock or Clock())
    shown.begin(
        RunInfo(name="grpo", folder=Path("/runs/3"), config={}, steps=steps, sweep="weights" if in_sweep else None, **more)
    )
    return shown, out


def test_the_numbers_of_a_step() -> None:
    shown = numbers(METRICS)
    assert shown == "reward 0.500  format 25.0%  answer 100.0%  length 31  12,346 tokens/s"
    assert numbers({**METRICS, "rule/style/score": 0.5, "rule/style/weight": 0.2}).count("style 50.0%") == 1, "added live"
    without = {key: value for key, value in METRICS.items() if "format" not in key}
    assert "format" not in numbers(without), "removed live"
    assert numbers({"eval/reward": 0.5}) == ""


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (59.6, "1:00"), (760, "12:40"), (11100, "3:05:00")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_say_how_long_it_takes() -> None:
    clock = Clock()
    shown, out = display(steps=10, clock=clock)
    shown.log(0, {"eval/reward": 0.2, "eval/accuracy": 0.1})
    for step in range(1, 11):
        clock.now += 30
        shown.log(step, METRICS)
    lines = out.getvalue().splitlines()
    assert lines[0] == "step    0  held out, greedy: accuracy 10.0%  reward 0.200"
    assert lines[1] == f"step    1/10  {numbers(METRICS)}  4:30 left"
    assert lines[9].endswith("0:30 left")
    assert lines[10].endswith("tokens/s"), "nothing is left"


def test_time_left_goes_by_the_last_steps() -> None:
    clock = Clock()
    shown, out = display(steps=1000, clock=clock)
    for step in range(101):
        clock.now += 100 if step < 50 else 1
        shown.log(step, METRICS)
    assert out.getvalue().splitlines()[-1].endswith("15:00 left")


def test_a_resumed_run_counts_from_where_it_resumes() -> None:
    clock = Clock()
    shown, out = display(steps=100, clock=clock, done=90, notes=["resumes after step 90"])
    for step in (91, 92):
        clock.now += 5
        shown.log(step, METRICS)
    first, second, third = out.getvalue().splitlines()
    assert first == "step   90  resumes after step 90"
    assert "left" not in second, "one mark says nothing of speed"
    assert third.endswith("0:40 left")


def test_notes_and_names_are_shown_as_they_are() -> None:
    shown, out = display(steps=5, in_sweep=True, facts={"model": "tiny [bold]", "folder": "/runs/[0]"})
    shown.note(2, "rules.yaml: rules.format.requires [] -> [answer]")
    assert out.getvalue().splitlines() == [
        "3:  model  tiny [bold]",
        "3: folder  /runs/[0]",
        "3: step    2  rules.yaml: rules.format.requires [] -> [answer]",
    ]


def test_a_terminal_gets_a_display_that_moves_and_then_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "70", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    leader, follower = pty.openpty()
    raw = bytearray()
    reader = threading.Thread(target=read_all, args=(leader, raw))
    reader.start()
    with open(follower, "w") as terminal:
        shown = RunDisplay(console=Console(file=terminal, highlight=False, soft_wrap=True))
        shown.begin(RunInfo(name="grpo", folder=Path("/runs/3"), config={}, steps=3))
        shown.log(0, {"eval/reward": 0.25})
        for step in (1, 2, 3):
            time.sleep(0.3)  # it refreshes four times a second
            if step == 2:
                shown.note(2, "rules.yaml: rule style added")
            if step == 3:
                print("a warning", file=sys.stderr)
            shown.log(step, {"reward/mean": step / 10, "rule/answer/score": 0.5, "tokens_per_second": 100.0})
        terminal.write("after\n")
    reader.join()
    os.close(leader)
    text = raw.decode()
    for moving in ("0/3", "1/3", "2/3", "reward 0.200  answer 50.0%  100 tokens/s", "left"):
        assert moving in text
    assert "\x1b[?25l" in text, "the cursor is hidden"
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "and comes back"
    still = text[text.rindex("\x1b[2K") :]
    assert "step    3/3  reward 0.300  answer 50.0%  100 tokens/s\r\nafter" in still, "what remains is the last step"
    lines = [line.strip() for line in text.replace("\x1b[2K", "\r").replace("\x1b[1A", "\r").splitlines()]
    assert {"step    2  rules.yaml: rule style added", "a warning", "step    0  held out, greedy: reward 0.250"} <= set(lines)


def read_all(leader: int, raw: bytearray) -> None:
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux: the other side is closed
            return
        if not part:
            return
        raw += part
