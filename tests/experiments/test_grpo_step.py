"""The benchmark against TRL: its counts are right, only equal work is compared, and a small case runs on both sides."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT

sys.path.append(str(ROOT / "experiments" / "benchmarks"))

from grpo_step import Bench, report_cases, report_sweep
from grpo_step_cases import CASES, SWEEPS, TINY, Case, Side
from grpo_step_child import Job, Measured, Step
from grpo_step_floor import Floor, Rates, Tree, Work, floor, phases
from grpo_step_models import Workload, common_prefix, train_tokenizer, workload
from grpo_step_report import Compared, UnequalWork, check_equal_work, slope
from grpo_step_reward import score, text_hash

from rlvr.types import Problem

SMALL = replace(CASES["tiny"], problems=2, group_size=2, new_tokens=4, few_shot=2, steps=1, trl_batch=4)


def step(*, completion_tokens: int = 1000, prompt_tokens: int = 300, degenerate: int = 0) -> Step:
    return Step(
        total=1.0,
        rollout=0.5,
        verify=0.0,
        train=0.5,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        degenerate=degenerate,
    )


def both(ours: list[Step], trl: list[Step]) -> Mapping[Side, Measured]:
    return {
        "ours": Measured(side="ours", steps=tuple(ours), loaded_bytes=1, peak_bytes=2),
        "trl": Measured(side="trl", steps=tuple(trl), loaded_bytes=1, peak_bytes=2),
    }


def test_equal_work_is_compared() -> None:
    check_equal_work(SMALL, both([step(), step()], [step(), step(completion_tokens=981)]))


@pytest.mark.parametrize(
    ("ours", "trl", "reason"),
    [
        ([step()], [step(completion_tokens=979)], "step 1 has 1000 completion tokens, TRL's 979"),
        ([step(), step(completion_tokens=979)], [step(), step()], "step 2 has 979 completion tokens"),
        ([step()], [step(prompt_tokens=301)], "300 prompt tokens, TRL's 301"),
        ([step(degenerate=1)], [step()], "1 groups of ours have equal rewards"),
        ([step()], [step(degenerate=2)], "2 groups of TRL"),
        ([step(), step()], [step()], "2 steps of ours against 1"),
    ],
)
def test_unequal_work_is_refused(ours: list[Step], trl: list[Step], reason: str) -> None:
    with pytest.raises(UnequalWork, match=reason):
        check_equal_work(SMALL, both(ours, trl))


def test_a_batch_of_trl_must_divide_the_rollouts() -> None:
    with pytest.raises(ValueError, match="trl_batch=3: must divide the 4 rollouts"):
        replace(SMALL, trl_batch=3)


def test_slope() -> None:
    assert slope([(0, 1.0), (1, 3.0), (2, 5.0)]) == pytest.approx(2.0)
    assert slope([(0, 0.0), (1, 1.0), (2, 0.0)]) == pytest.approx(0.0)


@given(
    prefix=st.integers(0, 5),
    prompts=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    group_size=st.integers(1, 3),
    new_tokens=st.integers(1, 5),
)
def test_a_tree_counts_every_token_and_every_pair_once(
    prefix: int, prompts: list[int], group_size: int, new_tokens: int
) -> None:
    tree = Tree(prefix=prefix, prompts=prompts, group_size=group_size, new_tokens=new_tokens)
    attends: dict[tuple[object, ...], int] = {("prefix", i): i + 1 for i in range(prefix)}
    for p, length in enumerate(prompts):
        attends |= {("prompt", p, i): prefix + i + 1 for i in range(length)}
        for g in range(group_size):
            attends |= {("completion", p, g, i): prefix + length + i + 1 for i in range(new_tokens - 1)}
    in_completions = [n for node, n in attends.items() if node[0] == "completion"]
    assert tree.completion_tokens == len(in_completions)
    assert tree.prompt_tokens == len(attends) - len(in_completions)
    assert tree.completion_pairs == sum(in_completions)
    assert tree.prompt_pairs == sum(attends.values()) - sum(in_completions)


def test_work_of_a_step_by_hand() -> None:
    shape = replace(TINY, layers=1, hidden=4, heads=2, kv_heads=1, ffn=3, vocabulary=10)
    assert shape.linear_weights == 4 * 4 + 2 * 4 * 2 + 4 * 4 + 3 * 4 * 3  # q, k and v, o, and three matrices of the FFN: 84
    work = phases(shape, Tree(prefix=2, prompts=[1], group_size=2, new_tokens=3))
    # 3 prompt tokens attend to 1 + 2 + 3; one prediction. 4 completion tokens attend to 4 + 5 each rollout; 4 predictions.
    assert work["prefill"].flops == 2 * 84 * 3 + 16 * 6 + 80
    assert work["decode"].flops == 2 * 84 * 4 + 16 * 18 + 80 * 4
    assert work["gradient"].flops == 3 * (work["prefill"].flops + work["decode"].flops)
    # The first decoding step reads the cache of the 3 prompt tokens once and one token of each completion, the second two.
    assert work["decode"].bytes == 2 * 4 * (84 + 40) + 16 * (2 * 3 + 2 * (1 + 2))
    assert work["optimizer"].bytes == 32 * shape.parameters


def test_the_floor_of_a_phase_is_the_slower_of_operations_and_bytes() -> None:
    rates = Rates(flops=10.0, bytes=5.0)
    assert Work(flops=100, bytes=10).seconds(rates) == 10.0
    assert Work(flops=10, bytes=100).seconds(rates) == 20.0


def test_the_floor_is_the_mean_over_the_steps() -> None:
    rates, case = Rates(flops=1e9, bytes=1e9), replace(SMALL, problems=1, trl_batch=2)
    one, other, mean = (
        floor(case, Workload(ids=(), prompts=(), lengths=lengths, shared=10), rates) for lengths in ((20,), (400,), (20, 400))
    )
    assert mean.train == pytest.approx((one.train + other.train) / 2)
    assert mean.total == pytest.approx(mean.rollout + mean.train)


def test_no_token_of_the_model_ends_a_completion() -> None:
    shape = replace(TINY, vocabulary=600, bpe=300)
    tokenizer = train_tokenizer(["How many apples are 3 apples and 14 apples?"], shape)
    assert tokenizer.eos_token_id == shape.vocabulary  # one past the model's vocabulary
    assert tokenizer.pad_token_id < shape.vocabulary
    text = "3 apples\n\nand 14: né"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len({tokenizer.decode([token]) for token in range(300, 600)}) == 300  # fillers are text, so rewards differ


def test_too_few_problems_are_refused() -> None:
    problems = [Problem(id=str(n), prompt=f"{n}?", truth={}, metadata={"solution": str(n)}) for n in range(5)]
    tokenizer = train_tokenizer(["1 2 3"], replace(TINY, vocabulary=600, bpe=300))
    with pytest.raises(ValueError, match="tiny: 4 problems are needed in addition to 2 examples, not 5"):
        workload(SMALL, problems, tokenizer, steps=2)


def test_tables_and_sweep_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Compared(case=SMALL, rounds=(both([step()], [step()]),), floor=Floor(rollout=0.25, train=0.125))
    report_cases([found])
    printed = capsys.readouterr().out
    assert "| tiny | ours | 1 (1, 1) | 0.5 |" in printed
    assert "| tiny | TRL |" in printed
    assert "TRL / ours" in printed
    report_sweep("sweep-group", [(2, found), (4, found)], tmp_path)
    assert len((tmp_path / "grpo_step_group.csv").read_text().splitlines()) == 1 + 2 * 2
    assert (tmp_path / "grpo_step_group.png").stat().st_size > 1000


@given(st.lists(st.lists(st.integers(0, 2), max_size=5), min_size=1, max_size=4))
def test_common_prefix(ids: list[list[int]]) -> None:
    n = common_prefix(ids)
    assert {tuple(each[:n]) for each in ids} == {tuple(ids[0][:n])}
    assert len(ids[0][:n]) == n
    assert n == min(map(len, ids)) or len({each[n] for each in ids}) > 1


def test_the_reward_depends_on_the_text_alone() -> None:
    texts = ["", "a", "b", "\ud800"]
    assert text_hash(texts, prompts=None) == [score(text) for text in texts]
    assert len({score(text) for text in texts}) == len(texts)
    assert all(0 <= score(text) < 1 for text in texts)


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    for case in (*CASES.values(), *(case for sweep in SWEEPS.values() for _, case in sweep.points)):
        job = Job(
            do="ours",
            case=case,
            steps=2,
            data=tmp_path,
            models=tmp_path,
            folder=tmp_path,
            output=tmp_path / "result.json",
            device="cpu",
            threads=1,
        )
        job.write(tmp_path / "job.json")
        assert Job.read(tmp_path / "job.json") == job


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder like GSM8K's."""
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    rows = [
        {"question": f"Ann has {n} pears and eats {n % 3}. How many are left?", "answer": f"{n} - {n % 3}.\n#### {n - n % 3}"}
        for n in range(3, 40)
    ]
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def bench(tmp_path: Path, data: Path) -> Bench:
    return Bench(work=tmp_path, data=data, device="cpu", threads=1, rounds=1)


@pytest.mark.slow
def test_a_small_case_runs_on_both_sides(tmp_path: Path, data: Path) -> None:
    pytest.importorskip("trl")
    found = bench(tmp_path, data).run(SMALL)
    (measurements,) = found.rounds
    assert set(measurements) == {"ours", "trl"}
    for measured in measurements.values():
        (only,) = measured.steps
        assert only.completion_tokens == 2 * 2 * 4
        assert only.degenerate == 0
        assert only.total == pytest.approx(only.rollout + only.verify + only.train)
        assert min(only.rollout, only.verify, only.train) > 0
        assert measured.peak_bytes > measured.loaded_bytes > 4 * TINY.parameters
    assert measurements["ours"].steps[0].prompt_tokens == measurements["trl"].steps[0].prompt_tokens


@pytest.mark.slow
def test_a_failing_process_ends_the_run_with_its_message(tmp_path: Path, data: Path) -> None:
    case: Case = replace(SMALL, problems=20, trl_batch=4)
    with pytest.raises(
        SystemExit, match=r"tiny, prepare: ended with 1[\s\S]*40 problems are needed in addition to 2 examples, not 37"
    ):
        bench(tmp_path, data).run(case)
