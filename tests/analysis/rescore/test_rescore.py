"""Rescoring: the same rules reproduce every verdict; different rules give the rollout log of a run that began with them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from sampled import sampled

from conftest import group_of, needs
from rlvr import Problem, Verdict
from rlvr.cli.main import main
from rlvr.config.compose import CONF, compose, yaml_of
from rlvr.config.schema import Config
from rlvr.models.policy import Policy
from rlvr.rules.fingerprint import fingerprint
from rlvr.rules.load import rule_pack
from rlvr.runs.entries import Advantages, Entry
from rlvr.runs.rollout_log import RolloutLog
from rlvr.sandbox.probe import probe
from rlvr.training.advantages import with_advantages
from rlvr.types import Group, Rollout

SAID = [
    "<think>factor (x-2)(x-3)</think><answer>\\boxed{2}</answer>",
    "<think>quadratic formula</think><answer>\\boxed{3}</answer>",
    "The smaller root is \\boxed{2}.",
    "<think>so the roots are 2 and 3</think><answer>\\boxed{\\frac{4}{2}}</answer>",
]
MIXED = ["</think>", "\\boxed{3}", "<think>I see</think><answer>\\boxed{2}</answer>", SAID[0]]


def problem(name: str, **more: Any) -> Problem:
    return Problem(**{"id": name, "prompt": "Solve x^2 - 5x + 6 = 0.", "truth": {"answer": "2"}, **more})


def write_run(folder: Path, *overrides: str) -> None:
    """config.yaml, as a run writes it."""
    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        text = yaml_of(hydra_compose("config", overrides=list(overrides)))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(text)


def record(policy: Policy, run: Path, step: int, config: Config, texts: Sequence[list[str]] = (SAID, MIXED)) -> None:
    """A step of a run with such a configuration: groups to train on, the last one cut short, and an evaluation."""
    pack, algo = rule_pack(config).at(step), config.algo
    groups = [group_of(policy, problem(f"p{at}"), said, pack) for at, said in enumerate(texts)]
    cut = [replace(rollout, finish_reason="length") for rollout in groups[-1].rollouts[:2]]
    groups[-1] = replace(groups[-1], rollouts=(*cut, *groups[-1].rollouts[2:]))
    groups = with_advantages(groups, scaling=algo.scaling, deviation=algo.deviation)
    rules, rollout_log = fingerprint(pack, config.rules_from), RolloutLog.of(run)
    how = Advantages.of(algo)
    rollout_log.record(groups, step=step, split="train", rules=rules, advantages=how)
    asked = [group_of(policy, problem(f"e{at}"), [said], pack) for at, said in enumerate(SAID)]
    rollout_log.record(asked, step=step, split="eval", rules=rules, advantages=how)


def make_run(policy: Policy, folder: Path, *overrides: str, steps: int = 3) -> Path:
    write_run(folder, *overrides)
    config = compose(overrides)
    for step in range(1, steps + 1):
        record(policy, folder, step, config)
    return folder


@pytest.fixture(scope="module")
def default_run(tiny64: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied by whoever changes it."""
    return make_run(tiny64, tmp_path_factory.mktemp("default"))


@pytest.fixture
def run(default_run: Path, tmp_path: Path) -> Path:
    """Three steps under r1_format+answer."""
    return Path(shutil.copytree(default_run, tmp_path / "run"))


def rescore(capsys: pytest.CaptureFixture[str], run: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and what was said."""
    status = main(["rescore", f"run={run}", *arguments])
    said = capsys.readouterr()
    return status, said.out + said.err


Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize("more", [[], ["algo.scaling=batch", "algo.deviation=sample", "algo.mask_truncated=true"]])
def test_the_same_rules_reproduce_everything(tiny64: Policy, tmp_path: Path, capsys: Capsys, more: list[str]) -> None:
    run = make_run(tiny64, tmp_path / "run", *more)
    status, said = rescore(capsys, run)
    assert status == 0, said
    for line in ("verdicts  72 of 72 reproduced", "rewards  36 of 36 reproduced", "advantages  24 of 24 reproduced"):
        assert line in said
    assert "steps 1 to 3" in said
    assert "code  of the verifiers is unchanged" in said
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml", "rollouts"], "nothing is left behind"


@needs(probe().tier == "namespaces", f"user namespaces and bubblewrap ({probe()})")
def test_execution_is_reproduced_too(tiny64: Policy, tmp_path: Path, capsys: Capsys) -> None:
    truth = {"asserts": ["assert add(1, 2) == 3", "assert add(2, 2) == 4"], "setup": ""}
    bodies = ["return a + b", "return 3", "return undefined", "raise SystemExit(0)"]
    texts = [f"```python\ndef add(a, b):\n    {body}\n```" for body in bodies]
    write_run(tmp_path, "rules=code")
    config = compose(["rules=code"])
    group = group_of(tiny64, problem("p", truth=truth), texts, rule_pack(config))
    assert [rollout.reward for rollout in group.rollouts] == [1.1, 0.6, 0.1, 0.1]
    RolloutLog.of(tmp_path).record(
        [group], step=1, split="train", rules=fingerprint(rule_pack(config)), advantages=Advantages()
    )
    status, said = rescore(capsys, tmp_path)
    assert status == 0, said
    assert "verdicts  8 of 8 reproduced" in said


def test_rules_that_changed_while_the_run_went_on_are_those_of_each_step(
    tiny64: Policy, tmp_path: Path, capsys: Capsys
) -> None:
    write_run(tmp_path)
    record(tiny64, tmp_path, 1, compose([]))
    record(tiny64, tmp_path, 2, compose(["rules.format.weight=0.05"]))
    record(tiny64, tmp_path, 3, compose(["rules=math", "rules.answer.verifier.extract=tag", "algo.scaling=none"]))
    status, said = rescore(capsys, tmp_path)
    assert status == 0, said
    assert all(f" {rules} (" in said for rules in ("0.1 x format + 1 x answer", "0.05 x format + 1 x answer"))


def tampered(run: Path, change: Callable[[Entry], Entry]) -> None:
    """The second rollout of step 2 says something else."""
    rollout_log = RolloutLog.of(run)
    file = next(file for file in rollout_log.files(splits=["train"]) if file.step == 2)
    entries = rollout_log.read(file)
    rollout_log.write([entries[0], change(entries[1]), *entries[2:]], *rollout_log.conditions(file))


def answer(entry: Entry, **fields: Any) -> Entry:
    return replace(entry, verdicts={**entry.verdicts, "answer": replace(entry.verdicts["answer"], **fields)})


TAMPERINGS: dict[str, tuple[Callable[[Entry], Entry], int, list[str]]] = {
    "score": (
        lambda e: answer(e, score=1.0),
        1,
        ["71 of 72", "1  answer: scored wrong -> scored wrong", "answer: 1 wrong '3'"],
    ),
    "reason": (lambda e: answer(e, reason="no_answer"), 1, ["71 of 72", "answer: scored no_answer -> scored wrong"]),
    "answer": (lambda e: answer(e, answer="4"), 1, ["71 of 72 reproduced", "answer: 0 wrong '4'"]),
    "outcome": (
        lambda e: replace(e, verdicts={**e.verdicts, "answer": Verdict.error("crash", "x")}, reward=None, advantage=None),
        1,
        ["71 of 72", "35 of 36", "23 of 24", "answer: error crash -> scored wrong", "reward: null -> 0.1"],
    ),
    "verdict": (
        lambda e: replace(e, verdicts={"format": e.verdicts["format"]}, weights={"format": 0.1}),
        1,
        ["71 of 72 reproduced", "answer: does not apply -> 0 wrong '3'"],
    ),
    "reward": (lambda e: replace(e, reward=0.2), 1, ["72 of 72", "35 of 36 reproduced", "rollout 1: reward: 0.2 -> 0.1"]),
    "advantage": (
        lambda e: replace(e, advantage=0.0),
        1,
        ["72 of 72", "36 of 36", "23 of 24 reproduced", "advantage: 0.0 -> -"],
    ),
    "detail": (
        lambda e: answer(e, detail="because"),
        0,
        ["72 of 72", "1 of the verdicts are reproduced with a different detail"],
    ),
}


@pytest.mark.parametrize("what", sampled(TAMPERINGS, every=3))
def test_what_is_not_reproduced_is_counted_and_listed(run: Path, capsys: Capsys, what: str) -> None:
    change, expected, lines = TAMPERINGS[what]
    tampered(run, change)
    status, said = rescore(capsys, run)
    assert status == expected, said
    assert [line for line in [*lines, "train step 2, problem p0, rollout 1: "] if line not in said] == []


def test_where_an_answer_was_found_is_not_compared(run: Path, capsys: Capsys) -> None:
    tampered(run, lambda entry: answer(entry, span=(0, 1)))
    status, said = rescore(capsys, run)
    assert (status, "rollout 1" in said, "wording" in said) == (0, False, False), said
    assert "verdicts  72 of 72 reproduced" in said


def test_as_many_differences_are_listed_as_asked(run: Path, capsys: Capsys) -> None:
    rollout_log = RolloutLog.of(run)
    for file in rollout_log.files(splits=["eval"]):
        rollout_log.write([replace(entry, reward=7.0) for entry in rollout_log.read(file)], *rollout_log.conditions(file))
    status, said = rescore(capsys, run, "show=5")
    assert (status, said.count("reward: 7.0 -> ")) == (1, 5)
    assert "and 7 more (show=N lists N)" in said


OTHER = {
    "a weight": ["rules.format.weight=0.5"],
    "an option": ["rules.answer.verifier.extract=tag"],
    "a rule gone": ["~rules.format"],
    "a schedule": ["rules.format.weight={0: 0.1, 2: -0.5}"],
    "a different pack": ["rules=math", "rules.answer.weight=2"],
    "two packs": ["rules=r1_format+english_only+answer"],
    "no scaling": ["algo.scaling=none"],
    "the batch's sample deviation": ["algo.scaling=batch", "algo.deviation=sample"],
    "truncated ones masked": ["algo.mask_truncated=true"],
}


@pytest.mark.parametrize("what", sampled(OTHER, every=3))
def test_other_rules_give_the_rollout_log_of_a_run_that_began_with_them(
    tiny64: Policy, run: Path, tmp_path: Path, capsys: Capsys, what: str
) -> None:
    other = make_run(tiny64, tmp_path / "other", *OTHER[what])
    before = {file.path.name: file.path.read_bytes() for file in RolloutLog.of(run).files()}
    status, said = rescore(capsys, run, *OTHER[what], "name=new")
    assert status == 0, said
    new = run / "rescored" / "new"
    wanted = {file.path.name: file.path.read_bytes() for file in RolloutLog.of(other).files()}
    assert {path.name: path.read_bytes() for path in new.glob("*.parquet")} == wanted
    assert {file.path.name: file.path.read_bytes() for file in RolloutLog.of(run).files()} == before
    assert [path.name for path in (run / "rescored").iterdir()] == ["new"]
    curve = json.loads((new / "summary.json").read_text())["curve"]
    assert [(point["step"], point["split"]) for point in curve] == [
        (s, split) for s in (1, 2, 3) for split in ("train", "eval")
    ]


def test_the_summary_of_a_worked_example(tiny64: Policy, tmp_path: Path, capsys: Capsys) -> None:
    """Rewards 1.1, 0.1, 1, 1.1 become 1.5, 0.5, 0, 1.5: the third has no form, and now no answer where it is looked for."""
    write_run(tmp_path)
    record(tiny64, tmp_path, 1, compose([]), [SAID])
    other = ["rules.answer.verifier.extract=tag", "rules.format.weight=0.5"]
    status, said = rescore(capsys, tmp_path, *other, "verify.workers=1")
    assert status == 0, said
    summary = json.loads((tmp_path / "rescored" / "answer.verifier.extract=tag,format.weight=0.5" / "summary.json").read_text())
    assert summary["changes"] == other
    of = summary["splits"]["train"]
    assert (of["rollouts"], of["errors"], of["masked"]) == (4, 0, {"then": 0, "now": 0})
    assert of["reward"] == pytest.approx({"then": 3.3 / 4, "now": 3.5 / 4})
    assert of["rules"]["answer"] == {
        "judged": {"then": 4, "now": 4},
        "score": {"then": 0.75, "now": 0.5},
        "gained": 0,
        "lost": 1,
    }
    assert of["rules"]["format"]["score"] == {"then": 0.75, "now": 0.75}
    assert of["flips"] == {"any": 1, "sign": 1, "pass": 1, "masked": 0}
    assert [flip["rollout_index"] for flip in summary["flips"] if flip["split"] == "train"] == [2]
    assert summary["flips"][0]["rules"] == {"answer": {"then": "1 correct", "now": "0 no_answer"}}
    counts = {"same_order": 4, "reversed": 1, "tie_broken": 0, "tie_made": 0, "tied": 1}
    assert of["pairs"] == {**counts, "reversed_share": 0.2, "rank_correlation": pytest.approx(0.6)}
    assert of["groups"] == {"all": 1, "degenerate": {"then": 0, "now": 0}}
    for line in (
        "format 0.1 -> 0.5 0.75 -> 0.75 4 -> 4 0 gained, 0 lost",
        "answer 1 -> 1 0.75 -> 0.5 4 -> 4 0 gained, 1 lost",
        "1 pairs within groups reversed (20.00% of those in order), 0 now tied, 0 no longer; rank correlation 0.6",
        "train step 1, problem p0, rollout 2: reward 1 -> 0 (answer: 1 correct -> 0 no_answer)",
    ):
        assert line in " ".join(said.split())


VERIFIER = """
from dataclasses import dataclass
from rlvr import Verdict, Verifier

@dataclass(frozen=True, kw_only=True)
class Long(Verifier):
    at_least: int = 30

    def __call__(self, completion, problem):
        return Verdict.scored(float(len(completion) >= self.at_least), "measured")
"""


@pytest.fixture
def mine(tiny64: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """A run with a verifier and a pack of the user's, and the arguments for the pack."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rescored_verifier.py").write_text(VERIFIER)
    (tmp_path / "rules" / "mine.yaml").write_text("long: {weight: 1.0, verifier: {_target_: rescored_verifier.Long}}")
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments = ["rules=mine", "rules_from=[rescored_verifier]", f"hydra.searchpath=[file://{tmp_path}]"]
    make_run(tiny64, tmp_path / "run", *arguments, steps=1)
    return tmp_path, arguments


def rescore_in_a_process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return forked.run("rescore", f"run={folder / 'run'}", *arguments, cwd=folder, env=environment)


@pytest.mark.slow
def test_a_verifier_that_is_not_what_it_was_is_named(mine: tuple[Path, list[str]]) -> None:
    folder, arguments = mine
    (folder / "rescored_verifier.py").write_text(VERIFIER.replace(">=", "<"))
    done = rescore_in_a_process(folder)
    assert (done.returncode, done.stderr) == (1, "")
    assert "code  has changed since: rescored_verifier\n" in done.stdout
    assert "verdicts  0 of 12 reproduced" in done.stdout
    (folder / "rescored_verifier.py").write_text(VERIFIER.replace("return", "raise ValueError(problem.id) or"))
    done = rescore_in_a_process(folder, *arguments, "rules.long.weight=2")
    assert (done.returncode, done.stderr) == (1, ""), "what cannot be judged is said in the exit status"
    assert "masked  0 -> 8 (8 by errors)" in done.stdout
    (folder / "rescored_verifier.py").write_text("")
    done = rescore_in_a_process(folder)
    assert done.returncode == 2
    assert "error: rules.long.verifier._target_=rescored_verifier.Long: is no Verifier" in done.stderr
    done = rescore_in_a_process(folder, "rules=answer")
    assert (done.returncode, done.stderr) == (0, ""), "other rules do not need the code of the old"


def test_an_old_run_is_rescored_under_the_configuration_of_today(run: Path, capsys: Capsys) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["algo"]["micro_batch"] = config["gone"] = 32
    del config["algo"]["deviation"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    status, said = rescore(capsys, run)
    assert status == 0, said


WRONG = {
    "no run": ([], "run=FOLDER is needed; usage: rlvr rescore run=RUN"),
    "no run folder": (["run=nowhere"], "run=nowhere: is not a run folder: it has no config.yaml"),
    "no rollout log": (["run={empty}"], "holds no rollouts ("),
    "no configuration": (["run={broken}"], "config.yaml: must be a mapping"),
    "an unknown pack": (["run={run}", "rules=anser"], "rules=anser: there is no such choice; did you mean answer?"),
    "an unknown rule": (["run={run}", "rules.fromat.weight=1"], "rules.fromat.weight=1: the pack has no such rule"),
    "an unknown option": (["run={run}", "rules.answer.verifier.extarct=tag"], "extarct"),
    "a key of no use": (["run={run}", "seed=1"], "seed=1: rewards and advantages do not depend on it; they depend on rules.*"),
    "a wrong choice": (["run={run}", "algo.scaling=grup"], "algo.scaling=grup: there is no such choice; did you mean group?"),
    "a wrong type": (["run={run}", "verify.workers=0"], "verify.workers=0: must be at least 1"),
    "no number": (["run={run}", "show=all"], "show=all: must be a number, 0 or more"),
    "a name with a slash": (["run={run}", "rules=math", "name=../x"], "name=../x: must be the name of a folder"),
    "a name that is there": (["run={run}", "rules=math", "name=taken"], "exists; choose a different name, or remove it"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp(name) for name in ("run", "empty", "broken")}
    write_run(made["run"])
    write_run(made["empty"])
    (made["broken"] / "config.yaml").write_text("- a list")
    rules = fingerprint(rule_pack(compose([])))
    empty = Rollout(token_ids=(), logprobs=(), text="", finish_reason="stop")
    group = Group(problem=problem("p"), prompt_ids=(1,), rollouts=(empty,))
    RolloutLog.of(made["run"]).record([group], step=1, split="train", rules=rules, advantages=Advantages())
    (made["run"] / "rescored" / "taken").mkdir(parents=True)
    return made


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_one_line(folders: dict[str, Path], capsys: Capsys, what: str) -> None:
    arguments, message = WRONG[what]
    status = main(["rescore", *(argument.format(**folders) for argument in arguments)])
    said = capsys.readouterr()
    assert status == 2
    assert message in said.err
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert [path.name for path in (folders["run"] / "rescored").iterdir()] == ["taken"], "nothing half-made is left"


@pytest.mark.slow
def test_a_new_rollout_log_that_cannot_be_written_leaves_nothing(run: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
    done = forked.run("rescore", f"run={run}", "rules=math", preexec=limit)
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr
    assert list(run.glob("rescored/*")) == []
