"""Edits of the rules of a running experiment: a good one is used from the next step on, a bad one changes nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from conftest import ROOT
from rlvr.config.compose import compose
from rlvr.errors import ConfigError, RunStopped
from rlvr.rules import live
from rlvr.rules.edits import EDITS, RULES, Edit, forget_edits, read_edits
from rlvr.rules.live import LiveRules
from rlvr.rules.load import overridden, rules_text
from rlvr.rules.pack import RulePack

TEXT = rules_text(compose(["rules=r1_format+answer"]).rules)
SHORT = "format: {weight: 0.2, verifier: {_target_: rlvr.verifiers.format.ThinkAnswer}}\n"


def weighing(weight: float) -> str:
    """As an editor would leave it."""
    return TEXT.replace("weight: 0.1", f"weight: {weight}")


def anything(pack: RulePack) -> None:
    assert pack.rules


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / RULES).write_text(TEXT)
    return tmp_path


def begin(
    folder: Path,
    text: str = TEXT,
    *,
    done: int = 0,
    rules_from: Sequence[str] = (),
    validate: Callable[[RulePack], object] = anything,
) -> LiveRules:
    return LiveRules(folder, text, done=done, rules_from=rules_from, validate=validate)


def only(edits: list[Edit]) -> Edit:
    assert len(edits) == 1
    return edits[0]


def test_the_next_step_uses_an_edit(folder: Path) -> None:
    rules = begin(folder)
    assert rules.poll(1) == []
    (folder / RULES).write_text(weighing(0.05))
    edit = only(rules.poll(2))
    assert (edit.step, edit.changes, edit.refused) == (2, ("rules.format.weight 0.1 -> 0.05",), None)
    assert rules.pack.weights == {"format": 0.05, "answer": 1.0}
    assert rules.text == weighing(0.05)
    assert rules.poll(3) == []
    assert read_edits(folder) == [edit]


def test_rules_come_and_go_options_change_and_schedules_begin(folder: Path) -> None:
    rules = begin(folder)
    (folder / RULES).write_text(
        SHORT + "short: {weight: {0: 0.0, 9: -0.1}, verifier: "
        "{_target_: rlvr.verifiers.style.Overlong, max_chars: 80, buffer_chars: 9}}\n"
    )
    assert set(only(rules.poll(1)).changes) >= {
        "rules.format.weight 0.1 -> 0.2",
        "rule short added (weight {0: 0.0, 9: -0.1})",
        "rule answer removed",
    }
    assert [dict(rules.pack.at(step).weights) for step in (8, 9)] == [
        {"format": 0.2, "short": 0.0},
        {"format": 0.2, "short": -0.1},
    ]
    (folder / RULES).write_text(SHORT.replace("ThinkAnswer", "ThinkAnswer, min_think_chars: 30"))
    assert only(rules.poll(2)).changes == ("rules.format.verifier.min_think_chars 8 -> 30", "rule short removed")


def test_a_run_stops_if_an_edit_cannot_be_recorded(folder: Path) -> None:
    rules = begin(folder)
    (folder / RULES).write_text(weighing(0.05))
    (folder / EDITS).mkdir()  # nothing can take its place
    with pytest.raises(RunStopped, match=rf"{EDITS} cannot be written: "):
        rules.poll(1)


def test_an_edit_of_the_formatting_alone_is_adopted_silently(folder: Path) -> None:
    rules = begin(folder)
    commented = TEXT.replace("format:\n", "format:  # mine\n", 1)
    (folder / RULES).write_bytes(b"\xef\xbb\xbf" + commented.replace("\n", "\r\n").encode())
    assert rules.poll(1) == []
    assert rules.text == commented.replace("\n", "\r\n"), "a checkpoint holds what the user wrote"
    os.utime(folder / RULES)
    assert rules.poll(2) == []
    assert [edit.changes for edit in read_edits(folder)] == [()]


def bad_texts() -> list[bytes]:
    """More than fifty: cut short anywhere, of wrong types, with unknown names, damaged."""
    new = weighing(0.05)
    cut = [new[: len(new) * part // 24].encode() for part in range(24)]
    damaged = [
        TEXT.replace(old, instead, 1).encode()
        for old, instead in [
            ("weight: 0.1", "weight: heavy"),
            ("weight: 0.1", "weight: [0.1]"),
            ("weight: 0.1", "weight:"),
            ("weight: 0.1", "weight: .nan"),
            ("weight: 0.1", "weight: .inf"),
            ("weight: 0.1", "weight: yes"),
            ("weight: 0.1", "weight: {5: 0.1}"),
            ("weight: 0.1", "weight: {0: 0.1, -1: 0.2}"),
            ("weight: 0.1", "weight: {linear: 0.1}"),
            ("weight: 0.1", "weight 0.1"),
            ("weight: 0.1", "wieght: 0.1"),
            ("weight: 0.1", "weight: 0.1\n  weight: 0.2"),
            ("format:\n", "format: answer\n"),
            ("format:\n", "format\n"),
            ("format:\n", "\tformat:\n"),
            ("format:\n", "answer:\n"),
            ("format:\n", "format: {\n"),
            ("format:\n", "7:\n"),
            ("rlvr.verifiers.format.ThinkAnswer", "rlvr.verifiers.format.ThinkAnswr"),
            ("rlvr.verifiers.format.ThinkAnswer", "rlvr.verifiers.formats.ThinkAnswer"),
            ("rlvr.verifiers.format.ThinkAnswer", "os.system"),
            ("rlvr.verifiers.format.ThinkAnswer", "subprocess.Popen"),
            ("rlvr.verifiers.format.ThinkAnswer", "!!python/name:os.system"),
            ("min_think_chars: 8", "min_think_chars: eight"),
            ("min_think_chars: 8", "min_think_chars: 0"),
            ("min_think_chars: 8", "min_chars: 8"),
            ("which: last", "which: 1"),
            ("which: last", "which: ${no.such.key}"),
            ("which: last", "which: [last"),
            ("  allows:", "  requires: [nope]\n  allows:"),
            ("  allows:", "  requires: [answer, format]\n  allows:"),
            ("  allows:", "  parts: {}\n  verifier: {}\n  allows:"),
        ]
    ]
    return [*cut, *damaged, b"\x00" * 99, b"\xff\xfe\x00", os.urandom(300) + b"\xff", b"x" * (2 << 20), b"~", b"[]", b"1.5"]


def test_no_malformed_edit_disturbs_a_run_and_each_is_reported_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_SETTLE_S", 0.001)
    rules, bad = begin(folder), bad_texts()
    assert len(bad) >= 50
    before, step = rules.pack, 0
    for data in bad:
        (folder / RULES).write_bytes(data)
        step += 1
        edit = only(rules.poll(step))
        assert edit.refused, data
        assert "\n" not in edit.refused
        step += 1
        assert rules.poll(step) == []
        assert rules.pack is before
        assert rules.text == TEXT
    (folder / RULES).write_text(weighing(0.05))
    assert only(rules.poll(step + 1)).changes == ("rules.format.weight 0.1 -> 0.05",)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "is gone; write it again to change the rules"),
        (lambda path: (path.unlink(), path.mkdir()), "is no regular file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is no regular file"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"\xff"), "is not UTF-8: invalid start byte at byte 0"),
        (lambda path: path.write_bytes(b" " * (1 << 20) + b" "), "has more than 1048576 bytes"),
        (lambda path: path.write_text(TEXT[:-4]), "half-written, or cut short: the last line must be '# end of the rules'"),
    ],
)
def test_an_unreadable_file_is_refused_once_until_it_is_put_right(
    folder: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    rules = begin(folder)
    spoil(folder / RULES)
    assert only(rules.poll(1)) == Edit(step=1, refused=reason)
    assert rules.poll(2) == []
    put_right = folder / "put_right"
    put_right.write_text(TEXT)
    if (folder / RULES).is_dir():
        (folder / RULES).rmdir()
    put_right.replace(folder / RULES)
    assert rules.poll(3) == []
    assert rules.text == TEXT


def test_a_refused_file_is_tried_again_when_it_is_saved_again(folder: Path) -> None:
    def validate(pack: RulePack) -> None:
        if (folder / "closed").exists():
            raise ConfigError("verify.redis_url: nobody\nanswers")

    rules = begin(folder, validate=validate)
    (folder / "closed").touch()
    (folder / RULES).write_text(weighing(0.05))
    assert only(rules.poll(1)).refused == "verify.redis_url: nobody answers"
    (folder / "closed").unlink()
    assert rules.poll(2) == []
    os.utime(folder / RULES, ns=(1, 1))
    assert only(rules.poll(3)).changes == ("rules.format.weight 0.1 -> 0.05",)


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "1 / 0", "def broken(:", "import no_such_module"])
def test_a_module_that_cannot_be_imported_is_a_bad_edit(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    name = f"broken_{abs(hash(body))}"
    (folder / f"{name}.py").write_text(body)
    rules = begin(folder, rules_from=[name])
    (folder / RULES).write_text(f"a: {{weight: 1, verifier: {{_target_: {name}.Mine}}}}")
    assert only(rules.poll(1)).refused
    assert rules.text == TEXT


def test_a_file_that_is_being_written_is_never_adopted_in_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emptied, then written a few lines at a time between two reads; in the second file every piece is a valid pack."""
    rules = begin(folder)
    for step, text in enumerate(
        (weighing(0.05), "".join(SHORT.replace("format:", f"{name}:") for name in "abcdefgh")), start=1
    ):
        lines = text.splitlines(keepends=True)

        def write_on(seconds: float) -> None:
            with (folder / RULES).open("a") as file:
                file.writelines(lines[:4])  # noqa: B023  called in this iteration
            del lines[:4]  # noqa: B023

        monkeypatch.setattr(live.time, "sleep", write_on)
        (folder / RULES).write_text("")
        edit = only(rules.poll(step))
        assert (edit.text, rules.text, lines) == (text, text, [])


def test_a_file_written_slowly_is_refused_until_it_is_complete(folder: Path) -> None:
    """However long the writer pauses: our file without its last line is no pack."""
    rules = begin(folder)
    whole = weighing(0.05)
    for step, end in enumerate(range(0, len(whole) - 3, 97), start=1):
        (folder / RULES).write_text(whole[:end])
        assert only(rules.poll(step)).refused
    (folder / RULES).write_text(whole)
    assert only(rules.poll(99)).changes == ("rules.format.weight 0.1 -> 0.05",)


def test_a_resumed_run_adopts_the_edits_again_at_their_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any checkpoint before the step at which it was killed: with bad edits and comments among them."""
    monkeypatch.setattr(live, "_SETTLE_S", 0.0)
    edits = {2: weighing(0.2), 3: "half: {", 4: weighing(0.4), 5: weighing(0.4) + "# a remark\n# end of the rules\n", 6: SHORT}
    last = 7

    def go(rules: LiveRules, folder: Path, steps: range, seen: int) -> list[tuple[str, dict[str, float]]]:
        """Edits up to step `seen` are in the file already."""
        states = []
        for step in steps:
            if step in edits and step > seen:
                (folder / RULES).write_text(edits[step])
            rules.poll(step)
            states.append((rules.text, dict(rules.pack.weights)))
        return states

    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / RULES).write_text(TEXT)
    expected = go(begin(whole), whole, range(1, last + 1), 0)
    assert [weights["format"] for _, weights in expected] == [0.1, 0.2, 0.2, 0.4, 0.4, 0.2, 0.2]
    for killed in (1, 4, last):
        for checkpoint in range(killed + 1):
            folder = tmp_path / f"{killed}-{checkpoint}"
            folder.mkdir()
            (folder / RULES).write_text(TEXT)
            states = go(begin(folder), folder, range(1, killed + 1), 0)
            text = states[checkpoint - 1][0] if checkpoint else TEXT
            again = begin(folder, text, done=checkpoint)
            resumed = go(again, folder, range(checkpoint + 1, last + 1), killed)
            assert [*states[:checkpoint], *resumed] == expected, (killed, checkpoint)
            accepted = [(edit.step, edit.text) for edit in read_edits(folder) if edit.refused is None]
            assert accepted == [(edit.step, edit.text) for edit in read_edits(whole) if edit.refused is None]


def test_an_edit_made_while_the_run_was_stopped_has_priority_over_recorded_ones(folder: Path) -> None:
    first = begin(folder)
    (folder / RULES).write_text(weighing(0.2))
    first.poll(5)
    (folder / RULES).write_text(weighing(0.3))
    again = begin(folder, done=2)
    assert only(again.poll(3)).changes == ("rules.format.weight 0.1 -> 0.3",)
    assert again.poll(5) == []
    assert again.pack.weights["format"] == 0.3
    assert [(edit.step, edit.changes) for edit in read_edits(folder)] == [(3, ("rules.format.weight 0.1 -> 0.3",))]
    (folder / RULES).write_text(TEXT)
    unedited = begin(folder, done=2)
    unedited.poll(3)
    assert (unedited.text, [edit.text for edit in read_edits(folder)]) == (TEXT, [TEXT]), "taken back is an edit as well"


def test_a_run_resumed_with_overrides_adopts_them_at_once(folder: Path) -> None:
    first = begin(folder)
    (folder / RULES).write_text(weighing(0.2))
    first.poll(5)
    forget_edits(folder, after=2)
    text = overridden(first.text, ["rules.answer.weight=3"])
    (folder / RULES).write_text(text)
    again = begin(folder, TEXT, done=2)
    assert set(only(again.poll(3)).changes) == {"rules.format.weight 0.1 -> 0.2", "rules.answer.weight 1.0 -> 3.0"}


def test_refused_edits_are_recorded_too(folder: Path) -> None:
    rules = begin(folder)
    (folder / RULES).write_text("nothing")
    refused = only(rules.poll(4))
    assert read_edits(folder) == [refused]
    assert (folder / EDITS).read_text().count("\n") == 1
    assert read_edits(folder.parent / "no_such_run") == []


TWO = """
import sys
from pathlib import Path
from accelerate import Accelerator
from rlvr.errors import ConfigError
from rlvr.rules.edits import RULES
from rlvr.rules.live import LiveRules

accelerator, folder, text = Accelerator(cpu=True), Path(sys.argv[1]), Path(sys.argv[1], "start").read_text()
assert accelerator.num_processes == 2
me = accelerator.process_index

def validate(pack):
    if me == 1 and pack.weights["format"] == 0.3:
        raise ConfigError("not here")

rules = LiveRules(folder, text, rules_from=[], validate=validate)
for step, weight in enumerate((0.1, 0.2, 0.3, "broken", 0.4), start=1):
    accelerator.wait_for_everyone()
    if me == 0:
        (folder / RULES).write_text(text.replace("weight: 0.1", f"weight: {weight}"))
    for edit in rules.poll(step):
        (folder / f"said-{me}").open("a").write(f"{step} {edit.refused or edit.changes[0]}\\n")
    (folder / f"weights-{me}").open("a").write(f"{rules.pack.weights['format']} ")
accelerator.end_training()
"""


@pytest.mark.slow
def test_every_process_has_the_same_rules(folder: Path) -> None:
    """Also if only one of them cannot use an edit."""
    (folder / "start").write_text(TEXT)
    (folder / "two.py").write_text(TWO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    environment = {**os.environ, **together, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(folder / "two.py"), str(folder)],
            env={**environment, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    for rank in "01":
        assert (folder / f"weights-{rank}").read_text().split() == ["0.1", "0.2", "0.2", "0.2", "0.4"]
        said = (folder / f"said-{rank}").read_text().splitlines()
        assert said[0] == "2 rules.format.weight 0.1 -> 0.2"
        assert said[1] == "3 not here"
        assert said[2].startswith("4 rules.format.weight=broken: must be a number")
        assert said[3] == "5 rules.format.weight 0.2 -> 0.4"
    assert [edit.step for edit in read_edits(folder)] == [2, 3, 4, 5], "one process writes"
