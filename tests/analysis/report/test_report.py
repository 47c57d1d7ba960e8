"""The report: what stands on the page is what is on disk, for runs and sweeps in any state, and hostile text stays text."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import etree, html

from conftest import group_of, with_rewards
from rlvr import Problem, Verdict, load_rules
from rlvr.analysis.report import write_report
from rlvr.analysis.report.charts import changes, reason_figures
from rlvr.analysis.report.formatting import cut, visible
from rlvr.analysis.report.run_record import find, read_record
from rlvr.analysis.report.samples import Sample, samples
from rlvr.analysis.report.variants import variants
from rlvr.analysis.report.verdict_history import read_history, with_pass_rates
from rlvr.cli.main import main
from rlvr.errors import ConfigError
from rlvr.models.policy import Policy
from rlvr.rules.fingerprint import fingerprint
from rlvr.runs.entries import Advantages
from rlvr.runs.rollout_log import RolloutLog

HOSTILE = '</pre></details><script>alert(1)</script><img src="x" onerror=alert(2)>{{ 7*7 }} &amp; \x00\u202e<!--'
RIGHT = "<think>7 plus 5 is 12</think><answer>\\boxed{12}</answer>"
WRONG = "<think>7 plus 5 is 13</think><answer>\\boxed{13}</answer>"


def make_run(
    path: Path, *, rules: Mapping[str, Any] | None = None, seed: int = 0, accuracy: Sequence[float] = (0.25, 0.75)
) -> Path:
    """A finished run of two steps, without a rollout log."""
    path.mkdir(parents=True)
    rules = rules or {"format": {"weight": 0.1}, "answer": {"weight": 1.0}}
    config = {"seed": seed, "steps": 2, "name": "made", "rules": rules, "algo": {"group_size": 4}}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    rows: list[dict[str, Any]] = [{"step": 0, "eval/accuracy": accuracy[0], "eval/reward": accuracy[0]}]
    for step in (1, 2):
        scores = {f"rule/{name}/{key}": value for name in rules for key, value in (("score", 0.5), ("weight", 0.1))}
        rows.append({"step": step, "reward/mean": 0.2 * step, "reward/std": 0.1, "rollout/length": 9.0, **scores})
    rows[-1] |= {"eval/accuracy": accuracy[1], "eval/reward": accuracy[1]}
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "summary.json").write_text(json.dumps({"steps": 2, "stopped": None, "versions": {"rlvr": "0.1.0"}}))
    return path


def with_rollout_log(path: Path, policy: Policy, texts: Sequence[str] = (RIGHT, WRONG, HOSTILE, RIGHT)) -> Path:
    pack = load_rules("r1_format+answer")
    for step in (1, 2):
        problems = [Problem(id=f"<b>p{n}</b>", prompt=f"7 + 5? {n} {HOSTILE[:40]}", truth={"answer": "12"}) for n in range(2)]
        groups = [group_of(policy, problem, list(texts), pack) for problem in problems]
        RolloutLog.of(path).record(groups, step=step, split="train", rules=fingerprint(pack), advantages=Advantages())
    return path


def page_of(folder: Path) -> html.HtmlElement:
    """The page, read as a browser would, and checked for what must hold of every page."""
    text = write_report(folder).read_text(encoding="utf-8")
    page = html.document_fromstring(text)
    assert not page.xpath("//script | //iframe | //object | //link | //img | //form | //base")
    assert not page.xpath("//@*[starts-with(name(), 'on')]")
    for target in page.xpath("//@href | //@src"):
        assert target.startswith("#") or re.fullmatch(r"[\w.%-]+/report\.html", target), target
    assert "default-src 'none'" in page.xpath("string(//meta[@http-equiv]/@content)")
    for drawn in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        etree.fromstring(drawn)
        assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', re.sub(r'aria-label="[^"]*"', "", drawn))
    for link in page.xpath("//nav/a/@href"):
        assert page.xpath(f"//section[@id='{link[1:]}']")
    return page


def words(page: html.HtmlElement, section: str) -> str:
    return " ".join(page.xpath(f"//section[@id='{section}']")[0].text_content().split())


def table(page: html.HtmlElement, section: str, n: int = 0) -> list[list[str]]:
    rows = page.xpath(f"//section[@id='{section}']//table")[n].xpath(".//tr")
    return [[cell.text_content() for cell in row.xpath("th | td")] for row in rows]


def test_hostile_text_stays_text(tmp_path: Path, tiny64: Policy) -> None:
    page = page_of(with_rollout_log(make_run(tmp_path / "run"), tiny64))
    shown = [each.text for each in page.xpath("//section[@id='rollouts']//pre")]
    assert visible(HOSTILE) in shown
    assert visible(HOSTILE).startswith("</pre></details><script>alert(1)</script>")
    assert all(code in visible(HOSTILE) for code in ("{{ 7*7 }} &amp; ", "\\u{0}", "\\u{202e}"))
    assert visible("\ud800\ufeff a\n\tb \u05d0") == "\\u{d800}\\u{feff} a\n\tb \u05d0"
    assert "<b>p0</b>" in words(page, "rollouts")


def test_rollouts_show_every_rules_verdict(tmp_path: Path, tiny64: Policy) -> None:
    page = page_of(with_rollout_log(make_run(tmp_path / "run"), tiny64))
    summaries = [" ".join(each.text_content().split()) for each in page.xpath("//section[@id='rollouts']//summary")]
    assert [text.split(":")[0] for text in summaries] == ["best"] * 2 + ["worst"] * 2, "one of a problem"
    assert all("step 2" in text for text in summaries)
    assert "reward 1.1," in summaries[0]
    assert "reward 0," in summaries[-1]
    assert [row[:5] for row in table(page, "rollouts")[1:]] == [
        ["format", "0.1", "1", "correct", ""],
        ["answer", "1", "1", "correct", "12"],
    ]


def test_the_answer_is_outlined_where_it_was_found(tmp_path: Path, tiny64: Policy) -> None:
    record = read_record(with_rollout_log(make_run(tmp_path / "run"), tiny64))
    outlined = page_of(record.path).xpath("//section[@id='rollouts']//pre/mark")
    assert [(mark.text, mark.get("title")) for mark in outlined] == [("12", "found by answer")] * 2
    assert [mark.getparent().text_content() for mark in outlined] == [RIGHT] * 2
    found = {name: Verdict.scored(1.0, "correct", span=span) for name, span in {"a": (2, 5), "b": (4, 20), "c": None}.items()}
    entry = replace(samples(record, "train", 1)[0].entry, completion="0123456789", verdicts=found)
    sample = Sample(kind="best", entry=entry)
    assert sample.pieces(10) == [("01", ""), ("23", "a"), ("4", "a, b"), ("56789", "b")]
    assert sample.pieces(6) == [("01", ""), ("2", "a"), (" [4 characters left out] ", ""), ("789", "b")]
    for most in range(2, 12):
        assert "".join(text for text, _ in sample.pieces(most)) == cut(entry.completion, most)
    assert Sample(kind="best", entry=replace(entry, completion="")).pieces(6) == []


def test_reasons_and_pass_rates_are_those_of_the_rollout_log(tmp_path: Path, tiny64: Policy) -> None:
    record = read_record(with_rollout_log(make_run(tmp_path / "run"), tiny64))
    history = read_history(record)
    assert history is not None
    entries = [entry for file in RolloutLog.of(record.path).files() for entry in RolloutLog.of(record.path).read(file)]
    assert len(entries) == 16
    for rule in ("format", "answer"):
        for step in (1, 2):
            verdicts = [entry.verdicts[rule] for entry in entries if entry.step == step]
            assert history.rules[rule][step].reasons == Counter(verdict.reason for verdict in verdicts)
            assert history.rules[rule][step].full == sum(verdict.score == 1.0 for verdict in verdicts)
    assert [row.get("rule/answer/pass") for row in with_pass_rates(record, history)] == [None, 0.5, 0.5]
    (active,) = history.rule_history
    assert (active.first, active.last, active.rules.hash) == (1, 2, entries[0].rules_hash)
    assert active.rules.weights == {"format": 0.1, "answer": 1.0}
    answer = next(figure for figure in reason_figures([history], []) if figure.title == "Reasons of answer")
    assert [name for _, name in answer.legend] == ["correct 50.0%", "no_answer 25.0%", "wrong 25.0%"]
    assert [(sample.kind, sample.entry.reward) for sample in samples(record, "train", 1)] == [("best", 1.1), ("worst", 0.0)]


@pytest.mark.parametrize(
    ("rewards", "kinds"),
    [
        ([1.0, 0.0, None, 0.5], [("best", 1.0), ("worst", 0.0), ("masked", None)]),
        ([0.5, 0.5, 0.5, None], [("alike", 0.5), ("masked", None)]),
        ([None] * 4, [("masked", None)]),
    ],
)
def test_why_a_rollout_is_shown(
    rewards: list[float | None], kinds: list[tuple[str, float | None]], tmp_path: Path, tiny64: Policy
) -> None:
    run, pack = make_run(tmp_path / "run"), load_rules("r1_format+answer")
    problem = Problem(id="p", prompt="7 + 5?", truth={"answer": "12"})
    group = with_rewards(group_of(tiny64, problem, [RIGHT] * 4, pack), rewards)
    RolloutLog.of(run).record([group], step=1, split="train", rules=fingerprint(pack), advantages=Advantages())
    assert [(sample.kind, sample.entry.reward) for sample in samples(read_record(run), "train", 3)] == kinds
    page_of(run)


def test_changes_of_the_rules_are_marked(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    edits = [
        {"step": 2, "refused": "bad <YAML>"},
        {"step": 2, "changes": ["rules.format.weight 0.1 -> 0.5", "rule style added (weight 0.2)"], "text": "x"},
    ]
    (run / "rule_edits.jsonl").write_text("".join(json.dumps(edit) + "\n" for edit in edits))
    page = page_of(run)
    assert table(page, "changes")[1:] == [
        ["", "2", "an edit was refused: bad <YAML>"],
        ["1", "2", "rules.format.weight 0.1 -> 0.5; rule style added (weight 0.2)"],
    ]
    charts = page.xpath("//section[@id='curves']//figure")
    assert charts
    assert all(chart.xpath("count(.//*[@class='mark'])") == 1 for chart in charts)
    assert "not part of config.yaml" in words(page, "repeat")


def test_steps_of_a_schedule_are_marked_and_a_slope_is_not(tmp_path: Path) -> None:
    for name, weights in (("steps", [0.1] * 10 + [0.5] * 10), ("slope", [0.1 + 0.01 * n for n in range(20)])):
        run = make_run(tmp_path / name)
        rows = [{"step": n, "rule/format/score": 0.5, "rule/format/weight": w} for n, w in enumerate(weights, start=1)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    marks = [[(mark.step, mark.text) for mark in changes(find(tmp_path / name).records)] for name in ("steps", "slope")]
    assert marks == [[(11, "rules.format.weight 0.1 -> 0.5, by its schedule")], []]


def test_a_sweep_by_overrides_over_seeds(tmp_path: Path) -> None:
    overrides = {
        "hydra": ["hydra.mode=MULTIRUN", "hydra.sweep.dir=x"],
        "task": ["steps=2", "rules.format.weight=0,0.1", "seed=0,1"],
    }
    finals = (0.5, 0.7, 0.8, 0.0)
    for job, final in enumerate(finals):
        rules = {"format": {"weight": 0.1 * (job // 2)}, "answer": {"weight": 1.0}}
        make_run(tmp_path / str(job), rules=rules, seed=job % 2, accuracy=(0.25, final))
    (tmp_path / "3" / "summary.json").unlink()
    (tmp_path / "3" / "error.txt").write_text("Traceback ...\nRuntimeError: no <memory>\n")
    from_config = table(page_of(tmp_path), "results")
    (tmp_path / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": overrides}}))
    page = page_of(tmp_path)
    found = table(page, "results")
    assert found[0][:5] == ["overrides", "seeds", "finished", "accuracy before", "accuracy, final"]
    half = 12.7062 * math.sqrt(0.02) / math.sqrt(2)
    assert [row[:5] for row in found[1:]] == [
        ["rules.format.weight=0", "0, 1", "2 of 2", "25.0% ± 0.0", f"60.0% ± {100 * half:.1f}"],
        ["rules.format.weight=0.1", "0, 1", "1 of 2", "25.0%", "80.0%"],
    ], "a failed job is in no mean"
    assert [row[1:] for row in from_config] == [row[1:] for row in found]
    assert from_config[1][0] == "rules.format.weight=0.0"
    assert table(page, "failed")[1:] == [["3", "rules.format.weight=0.1", "1", "failed: RuntimeError: no <memory>"]]
    assert "rlvr train -m steps=2 rules.format.weight=0,0.1 seed=0,1" in words(page, "repeat")
    assert "from the lowest seed to the highest" in words(page, "curves")


def test_jobs_that_left_nothing_are_listed(tmp_path: Path) -> None:
    make_run(tmp_path / "0")
    (tmp_path / "1").mkdir()
    task = ["rules=r1_format+answer,answer"]
    (tmp_path / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": {"hydra": [], "task": task}}}))
    found = find(tmp_path)
    assert found.overrides() == [("rules=r1_format+answer",), ("rules=answer",)]
    assert table(page_of(tmp_path), "failed")[1][:2] == ["1", "rules=answer"]
    optuna = ["hydra/sweeper=optuna", "rules.format.weight=interval(0,1)"]
    (tmp_path / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": {"hydra": [], "task": optuna}}}))
    assert find(tmp_path).overrides() == [(), ("configuration unknown",)]


def test_variants_differ_in_more_than_the_seed(tmp_path: Path) -> None:
    packs = [{"a": {"weight": 1, "verifier": {"x": 1}}}, {"b": {"weight": {0: 1, 4: 0.5}}}]
    for job, (pack, seed) in enumerate((pack, seed) for pack in packs for seed in (0, 1)):
        make_run(tmp_path / str(job), rules=pack, seed=seed)
    found = find(tmp_path)
    assert [(v.label, len(v.records)) for v in variants(found.records, found.overrides())] == [("rules=a", 2), ("rules=b", 2)]


@pytest.mark.parametrize(
    "broken", ["config.yaml", "metrics.jsonl", "summary.json", "rule_edits.jsonl", "rollouts/00000001-train.parquet"]
)
def test_a_run_in_any_state_gives_a_page_that_says_what_is_missing(broken: str, tmp_path: Path, tiny64: Policy) -> None:
    run = with_rollout_log(make_run(tmp_path / "run"), tiny64)
    (run / broken).write_bytes(b'{"half": \xff')
    assert re.search("cannot be read", page_of(run).text_content())
    (run / broken).unlink()
    page_of(run)


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "summary.json").unlink()
    with (run / "metrics.jsonl").open("a") as lines:
        lines.write('{"step": 3, "reward/mean": NaN, "reward/std": Infinity}\n{"step": 4, "rew')
    page = page_of(run)
    assert "step 3 of 2 is the last one written" in page.text_content()
    assert "there is no rollout log" in page.text_content()
    assert f"rlvr train resume={run}" in words(page, "repeat")
    assert table(page, "results")[1:] == [["before", "25.0%", "-", "0.25"], ["after step 2", "75.0%", "-", "0.75"]]


def test_the_page_stays_small(tmp_path: Path, tiny64: Policy) -> None:
    run = make_run(tmp_path / "run")
    rows = [{"step": n, "reward/mean": n % 7, "rule/answer/score": 0.1, "time/train": 1.0} for n in range(1, 20_000)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with_rollout_log(run, tiny64, texts=["&" * 50_000, "<" * 50_000])
    page_of(run)
    assert (run / "report.html").stat().st_size < 2_000_000


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run")
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}/report.html\n"
    assert (main(["report", str(tmp_path / "nowhere")]), main(["report"])) == (2, 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds neither a run"):
        write_report(tmp_path / "empty")
