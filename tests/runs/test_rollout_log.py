"""The rollout log: what is read is what was written, file by file, also after the writer is killed."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import forked
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import group_of, with_rewards
from rlvr import Problem, Verdict, load_rules
from rlvr.data.datasets.gsm8k import GSM8K
from rlvr.errors import ConfigError, RunStopped
from rlvr.models.policy import Policy
from rlvr.rules.fingerprint import Fingerprint, fingerprint
from rlvr.runs.entries import SCHEMA, Advantages, Entry, entries_of
from rlvr.runs.rollout_log import RolloutLog, RolloutLogFailed, read_rollout_log
from rlvr.types import Group, Rollout, Split

PACK = load_rules("r1_format+answer")
RULES = fingerprint(PACK)
HOW = Advantages()
QUADRATIC = Problem(id="roots", prompt="Solve x^2 - 5x + 6 = 0.\n<think>", truth={"answer": "2"}, metadata={"dataset": "made"})
SAID = [
    "factor (x-2)(x-3)</think><answer>\\boxed{2}</answer>",
    "quadratic formula</think><answer>\\boxed{3}</answer>",
    "The smaller root is 2.",
    "so the roots are 2 and 3</think><answer>\\boxed{2}</answer>",
]


def group(n: int, step: int = 1) -> Group:
    """Rollouts without tokens of a model."""
    problem = Problem(id=f"p{n}", prompt=f"{n} + {step}?", truth={"answer": str(n + step)}, metadata={"solution": "as " * n})
    rollouts = []
    for at in range(4):
        text = f"<think>add {n} and {step}</think><answer>\\boxed{{{n + step + at % 2}}}</answer>"
        judged = PACK.judge(text, problem)
        given: dict[str, Any] = {"verdicts": judged.verdicts, "reward": judged.reward, "advantage": 1.0 - at % 2}
        rollouts.append(Rollout(token_ids=(1, 2), logprobs=(-0.5, -0.25), text=text, finish_reason="stop", **given))
    return Group(problem=problem, prompt_ids=(1,), rollouts=tuple(rollouts))


def record(rollout_log: RolloutLog, step: int, split: Split = "train") -> None:
    rollout_log.record([group(n, step) for n in range(3)], step=step, split=split, rules=RULES, advantages=HOW)


def only(rollout_log: RolloutLog) -> list[Entry]:
    (file,) = rollout_log.files()
    return rollout_log.read(file)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_worked_example_as_any_reader_of_parquet_sees_it(tiny: Policy, tmp_path: Path) -> None:
    group = group_of(tiny, QUADRATIC, SAID, PACK)
    RolloutLog.of(tmp_path).record([group], step=7, split="train", rules=RULES, advantages=HOW)
    assert names(tmp_path / "rollouts") == ["00000007-train.parquet"]
    rows = pq.read_table(tmp_path / "rollouts").to_pandas()
    assert list(rows.columns) == SCHEMA.names
    assert rows["reward"].tolist() == [1.1, 0.1, 0.0, 1.1]
    assert rows["advantage"].round(3).tolist() == [0.998, -0.903, -1.093, 0.998]
    first = rows.iloc[0]
    assert [first[name] for name in ("step", "split", "group_index", "rollout_index")] == [7, "train", 0, 0]
    assert [first[name] for name in ("problem_id", "dataset", "truth")] == ["roots", "made", '{"answer": "2"}']
    assert first["prefill"] + first["completion"] == f"<think>{SAID[0]}"
    assert (first["tokens"], first["finish_reason"]) == (len(group.rollouts[0].token_ids), "stop")
    verdict = {"outcome": "scored", "score": 1.0, "reason": "correct", "answer": "2"}
    start = SAID[0].index("2}")
    verdict["span"] = {"start": start, "end": start + 1}
    assert first["verdicts"][1] == {"rule": "answer", "weight": 1.0, **verdict, "detail": "boxed: the same text"}
    assert [each["rule"] for each in rows["verdicts"][2]] == ["format", "answer"]
    assert json.loads(pq.read_schema(tmp_path / "rollouts" / "00000007-train.parquet").metadata[b"rlvr.rules"])["rules"]
    assert set(rows["rules_hash"]) == {RULES.hash}


def test_what_took_no_part_in_the_loss_has_no_advantage(tiny: Policy) -> None:
    group = with_rewards(group_of(tiny, QUADRATIC, SAID, PACK), [1.0, None, 0.0, 0.5])
    cut = replace(group, rollouts=(*group.rollouts[:3], replace(group.rollouts[3], finish_reason="length")))

    def has(split: Split, *, mask_truncated: bool) -> list[bool]:
        entries = entries_of([cut], step=1, split=split, rules=RULES, advantages=Advantages(mask_truncated=mask_truncated))
        assert [entry.reward for entry in entries] == [1.0, None, 0.0, 0.5]
        return [entry.advantage is not None for entry in entries]

    assert has("train", mask_truncated=False) == [True, False, True, True]
    assert has("train", mask_truncated=True) == [True, False, True, False]
    assert has("eval", mask_truncated=False) == has("forced", mask_truncated=False) == [False] * 4


CHARACTERS = st.characters() | st.characters(categories=["Cs"]) | st.sampled_from(["\U0010ffff", "\U0010ffff00d800", "\0"])
ODD = st.lists(CHARACTERS).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3),
    max_leaves=6,
)
SPANS = st.none() | st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)).map(sorted).map(tuple)
SCORED = st.builds(Verdict.scored, st.floats(0, 1), ODD, st.none() | ODD, ODD, span=SPANS)
VERDICTS = SCORED | st.builds(Verdict.error, ODD, ODD)
PROBLEMS = st.builds(
    Problem,
    id=ODD,
    prompt=ODD,
    truth=st.dictionaries(ODD, JSON, max_size=3),
    metadata=st.dictionaries(ODD, JSON, max_size=2),
    prefill=st.none() | ODD,
)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    """Of one step and split, group by group; the odd names of rules are taken from a fixed few."""
    step, split = draw(st.integers(0, 2**31 - 1)), draw(st.sampled_from(get_args(Split)))
    found = []
    for at in range(draw(st.integers(1, 3))):
        problem = draw(PROBLEMS)
        for index in range(draw(st.integers(1, 3))):
            verdicts = draw(st.dictionaries(st.sampled_from(["a", "\ud800", "b|"]), VERDICTS))
            number, maybe = st.floats(allow_nan=False), st.none() | st.floats(allow_nan=False)
            found.append(
                Entry(
                    step=step,
                    split=split,
                    group_index=at,
                    rollout_index=index,
                    problem=problem,
                    completion=draw(ODD),
                    tokens=draw(st.integers(0, 2**31 - 1)),
                    finish_reason=draw(st.sampled_from(["stop", "length"])),
                    logprob=draw(number),
                    verdicts=verdicts,
                    weights={name: draw(number) for name in verdicts},
                    reward=draw(maybe),
                    advantage=draw(maybe),
                    rules_hash="0" * 16,
                )
            )
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(given=entries())
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, given: list[Entry]) -> None:
    rollout_log = RolloutLog(tmp_path_factory.mktemp("rollout log"))
    how = Advantages(scaling="batch", deviation="sample", mask_truncated=True)
    rollout_log.write(given, RULES, how)
    again = only(rollout_log)
    assert again == given
    assert repr(again) == repr(given), "1 is not True, and 1.0 not 1"
    assert rollout_log.conditions(rollout_log.files()[0]) == (RULES, how)


def test_equal_rollouts_give_equal_bytes(tmp_path: Path) -> None:
    for run in ("a", "b"):
        record(RolloutLog.of(tmp_path / run), 5)
        time.sleep(0.01)
    one, other = ((tmp_path / run / "rollouts" / "00000005-train.parquet").read_bytes() for run in ("a", "b"))
    assert one == other
    with_other = replace(RULES, code={**RULES.code, "rlvr.types": "0"})
    RolloutLog.of(tmp_path / "b").record(
        [group(n, 5) for n in range(3)], step=5, split="train", rules=with_other, advantages=HOW
    )
    assert (tmp_path / "b" / "rollouts" / "00000005-train.parquet").read_bytes() != one


def test_files_come_in_the_order_of_the_run_and_are_chosen_by_step_and_split(tmp_path: Path) -> None:
    rollout_log = RolloutLog.of(tmp_path)
    for step, split in ((12, "eval"), (0, "forced"), (12, "train"), (0, "eval"), (123_456_789, "train")):
        record(rollout_log, step, split)
    assert [(file.step, file.split) for file in rollout_log.files()] == [
        (0, "eval"),
        (0, "forced"),
        (12, "train"),
        (12, "eval"),
        (123_456_789, "train"),
    ]
    table = read_rollout_log(tmp_path, splits=["train", "eval"], steps=range(1, 100), columns=["reward", "step"])
    assert (table.column_names, table.num_rows) == (["reward", "step"], 24)
    assert read_rollout_log(tmp_path).num_rows == 5 * 12
    assert read_rollout_log(tmp_path, steps=[]).schema == SCHEMA
    with pytest.raises(ConfigError, match="columns=rewrad: a rollout log has step, split"):
        read_rollout_log(tmp_path, columns=["rewrad"])
    with pytest.raises(ConfigError, match="nowhere: holds no rollouts"):
        read_rollout_log(tmp_path / "nowhere")


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    rollout_log = RolloutLog.of(tmp_path)
    rollout_log.drop_after(3)  # nothing is there yet
    for step in range(1, 7):
        record(rollout_log, step)
    record(rollout_log, 3, "eval")
    (rollout_log.folder / ".00000007-train.parquet.unfinished").write_bytes(b"PAR1")
    rollout_log.drop_after(3)
    assert names(rollout_log.folder) == [f"0000000{name}.parquet" for name in ("1-train", "2-train", "3-eval", "3-train")]


def test_what_is_no_rollout_log_file_is_refused_by_name(tmp_path: Path) -> None:
    rollout_log = RolloutLog.of(tmp_path)
    record(rollout_log, 1)
    path = rollout_log.folder / "00000001-train.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"00000001-train\.parquet: cannot be read"):
        only(rollout_log)
    pq.write_table(pa.table({"step": [1]}), path)
    with pytest.raises(ConfigError, match=r"00000001-train\.parquet: is not a rollout log file of this version"):
        only(rollout_log)


def test_a_problem_that_json_would_change_is_refused(tmp_path: Path) -> None:
    truths = {
        " has the key 3, which is not text": {"answer": {3: "x"}},
        ".one[1] is a bytes": {"answer": {"one": [1, b"two"]}},
        " is a Fraction": {"answer": Fraction(1, 2)},
    }
    for message, truth in truths.items():
        odd = replace(group(1), problem=Problem(id="odd one", prompt="q", truth=truth))
        with pytest.raises(ConfigError) as error:
            RolloutLog.of(tmp_path).record([odd], step=1, split="train", rules=RULES, advantages=HOW)
        assert f"the problem odd one cannot be kept in the rollout log: truth.answer{message}" in str(error.value)
    assert not (tmp_path / "rollouts").exists()


def test_a_large_truth_is_stored_once_a_group(tmp_path: Path) -> None:
    truth = {"cases": [{"stdin": random.Random(0).randbytes(1 << 20).hex(), "stdout": "1"}]}
    one = group(1)
    large = replace(one, problem=replace(one.problem, truth=truth), rollouts=one.rollouts * 8)
    rollout_log = RolloutLog.of(tmp_path)
    rollout_log.record(
        [large, replace(large, problem=replace(large.problem, id="other"))], step=1, split="train", rules=RULES, advantages=HOW
    )
    (file,) = rollout_log.files()
    assert file.path.stat().st_size < 1.2 * (1 << 20), "two megabytes of hexadecimal digits hold one of data"


def test_real_rollouts_take_less_than_a_kilobyte(gsm8k_path: Path, tmp_path: Path) -> None:
    groups = []
    for problem in GSM8K(path=str(gsm8k_path)).load().train[:16]:
        text = f"<think>{problem.metadata['solution']}</think><answer>\\boxed{{{problem.truth['answer']}}}</answer>"
        said = [f"{text[:at]}, well, {at}{text[at:]}" for at in range(8, 16)]
        judged = [PACK.judge(each, problem) for each in said]
        rollouts = tuple(
            Rollout(token_ids=(1,), logprobs=(-1.0,), text=each, finish_reason="stop", verdicts=j.verdicts, reward=j.reward)
            for each, j in zip(said, judged, strict=True)
        )
        groups.append(Group(problem=problem, prompt_ids=(1,), rollouts=rollouts))
    rollout_log = RolloutLog.of(tmp_path)
    rollout_log.record(groups, step=1, split="train", rules=RULES, advantages=HOW)
    assert rollout_log.files()[0].path.stat().st_size < 1024 * 128


SETUP = """
import resource, sys
from pathlib import Path
from rlvr.runs.entries import Advantages
from rlvr.runs.rollout_log import RolloutLog, RolloutLogFailed
from rlvr.rules.fingerprint import Fingerprint
from rlvr.types import Group, Problem, Rollout; from rlvr.errors import RunStopped
rollout_log, rules = RolloutLog.of(Path(sys.argv[1])), Fingerprint(rules={}, code={}, answers=())
def record(step):
    said = [Rollout(token_ids=(1,), logprobs=(0.0,), text=f"{step}:{n}", finish_reason="stop", reward=n) for n in range(8)]
    groups = [Group(problem=Problem(id=str(n), prompt="q", truth={}), prompt_ids=(1,), rollouts=said) for n in range(4)]
    rollout_log.record(groups, step=step, split="train", rules=rules, advantages=Advantages())
"""
FOREVER = """
for step in range(1, 100_000):
    record(step)
"""


def writer(run: Path, script: str) -> forked.Command:
    return forked.start(str(run), preexec=SETUP + script)


@pytest.mark.slow
def test_it_can_be_read_while_it_grows_and_is_whole_after_a_kill(tmp_path: Path) -> None:
    rollout_log, rng, kept = RolloutLog.of(tmp_path), random.Random(0), 0
    for more in (1, 5, 20, 40):
        process = writer(tmp_path, FOREVER)
        end = time.monotonic() + 60
        while len(rollout_log.files()) < kept + more:
            assert time.monotonic() < end, "nothing is written"
            if kept:
                assert len(pq.read_table(rollout_log.folder)) >= 32 * kept
        time.sleep(rng.uniform(0.0, 0.02))
        process.kill()
        process.wait()
        files = rollout_log.files()
        assert [file.step for file in files] == list(range(1, len(files) + 1)), "no step is missing"
        for file in files:
            texts = [f"{file.step}:{n}" for _ in range(4) for n in range(8)]
            assert [entry.completion for entry in rollout_log.read(file)] == texts
        kept = (len(files) + 1) // 2
        rollout_log.drop_after(kept)
        assert names(rollout_log.folder) == [file.path.name for file in files[:kept]]


FULL = """
record(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    record(2)
except RolloutLogFailed as error:
    print(isinstance(error, RunStopped), error)
"""


def test_where_there_is_no_room_the_run_stops_and_nothing_half_written_stays(tmp_path: Path) -> None:
    said = writer(tmp_path, FULL).communicate()[0]
    assert said.startswith("True ")
    assert "00000002-train.parquet: the rollouts cannot be written: File too large" in said
    assert names(tmp_path / "rollouts") == ["00000001-train.parquet"]
    assert len(only(RolloutLog.of(tmp_path))) == 32


def test_a_folder_that_cannot_be_written_to_stops_the_run_too(tmp_path: Path) -> None:
    (tmp_path / "rollouts").write_text("a file")
    with pytest.raises(RolloutLogFailed, match="the rollouts cannot be written: File exists"):
        record(RolloutLog.of(tmp_path), 1)
    assert issubclass(RolloutLogFailed, RunStopped)


def test_the_rules_of_a_file_are_those_that_wrote_it(tmp_path: Path) -> None:
    rollout_log = RolloutLog.of(tmp_path)
    record(rollout_log, 1)
    lighter: Fingerprint = fingerprint(load_rules("r1_format+answer", ["rules.format.weight=0.05"]))
    rollout_log.record([group(0)], step=2, split="train", rules=lighter, advantages=HOW)
    first, second = rollout_log.files()
    assert [rollout_log.conditions(file)[0].weights["format"] for file in (first, second)] == [0.1, 0.05]
    assert {entry.weights["format"] for entry in rollout_log.read(second)} == {0.05}
    assert lighter.hash != RULES.hash
