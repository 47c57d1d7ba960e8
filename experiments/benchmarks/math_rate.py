"""Rate and accuracy of `MathAnswer` and Math-Verify, in one process and one run, extraction included. See README.md."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import math_verify
from cases import Case, data_argument, gsm8k, labelled, math500_as_given, math500_forms

from rlvr import Problem, Verdict
from rlvr.rules.rule import Rule
from rlvr.scoring.local.rule_pack import LocalRulePack
from rlvr.verifiers.math import MathAnswer

BLOCK = 25  # cases before the other side continues, so that noise of the machine affects both alike
PEER_DEADLINE = 5.0  # seconds; the default timeout of Math-Verify for one parse and one verify


@dataclass(slots=True, kw_only=True)
class Times:
    """The results of one side on the cases of a set, in their order."""

    seconds: list[float] = field(default_factory=list)
    """Wall time of each case, extraction included."""
    gold_seconds: list[float] = field(default_factory=list)
    """The part of it that parses the ground truth; empty if not measured."""
    right: list[bool] = field(default_factory=list)
    """Whether the answer was found right."""
    details: list[str] = field(default_factory=list)
    """For the list of disagreements."""
    late: int = 0
    """Cases that ran past their deadline."""
    unscored: int = 0
    """Cases with an outcome other than `scored`."""

    def rate(self, *, without_gold: bool = False) -> float:
        return len(self.seconds) / (sum(self.seconds) - (sum(self.gold_seconds) if without_gold else 0.0))

    def milliseconds(self, share: float) -> float:
        return 1000 * sorted(self.seconds)[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


def pack_of(extract: str) -> LocalRulePack:
    """A pack with this one rule, so that everything in training is timed: inline tiers, worker processes, total."""
    rule = Rule(name="answer", weight=1.0, verifier=MathAnswer(extract=extract))  # type: ignore[arg-type]
    return LocalRulePack(rules={"answer": rule})


def problem_of(case: Case) -> Problem:
    return Problem(id="case", prompt="", truth={"answer": case.truth})


def time_ours(cases: Sequence[Case], pack: LocalRulePack, times: Times) -> None:
    problems = [problem_of(case) for case in cases]  # outside the timing, as a data set makes its problems once
    for case, problem in zip(cases, problems, strict=True):
        start = time.perf_counter()
        verdict: Verdict = pack.judge(case.completion, problem).verdicts["answer"]
        times.seconds.append(time.perf_counter() - start)
        times.right.append(verdict.score == 1.0)
        times.details.append(f"{verdict.reason}: {verdict.detail}")
        times.late += verdict.reason == "timeout"
        times.unscored += verdict.outcome != "scored"


def time_peer(cases: Sequence[Case], times: Times, deadline: int | None) -> None:
    for case in cases:
        start = time.perf_counter()
        gold = math_verify.parse(f"${case.truth}$", parsing_timeout=deadline)  # type: ignore[arg-type]
        parsed = time.perf_counter()
        answer = math_verify.parse(case.completion, parsing_timeout=deadline)  # type: ignore[arg-type]
        right = math_verify.verify(gold, answer, timeout_seconds=deadline)
        end = time.perf_counter()
        times.seconds.append(end - start)
        times.gold_seconds.append(parsed - start)
        times.right.append(bool(right))
        times.details.append(f"{str(gold)[:60]} | {str(answer)[:60]}")
        times.late += end - start >= PEER_DEADLINE


def warm(cases: Sequence[Case], pack: LocalRulePack) -> float:
    """Warm up both; ours reads every ground truth once, as in training. Returns seconds per ground truth, first reading."""
    for completion in ("\\boxed{(x+1)^2}", "\\boxed{\\sqrt{8}}", "\\boxed{\\{1,2\\}}"):
        pack.judge(completion, Problem(id="warm", prompt="", truth={"answer": "x^2+2x+1"}))
        math_verify.verify(math_verify.parse("$x^2+2x+1$"), math_verify.parse(completion))
    truths = list({case.truth: case for case in cases}.values())
    start = time.perf_counter()
    for case in truths:
        pack.judge("#### 0 \\boxed{0}", problem_of(case))
    return (time.perf_counter() - start) / len(truths)


def run(cases: list[Case], *, no_timeouts: bool) -> tuple[dict[str, Times], float]:
    """Ours and the peer in alternation; `no_timeouts` adds the peer without its timeouts (a hostile case would hang it)."""
    pack = pack_of(cases[0].extract)
    first_read = warm(cases, pack)
    gc.collect()
    found = {"ours": Times(), "peer": Times()} | ({"peer, no timeouts": Times()} if no_timeouts else {})
    for at in range(0, len(cases), BLOCK):
        block = cases[at : at + BLOCK]
        order = list(found) if at // BLOCK % 2 else list(found)[::-1]
        for name in order:
            if name == "ours":
                time_ours(block, pack, found[name])
            else:
                time_peer(block, found[name], 5 if name == "peer" else None)
    return found, first_read


def disagreements(cases: Sequence[Case], ours: Times, peer: Times) -> list[dict[str, Any]]:
    """Every case in which one of the two differs from the label."""
    listed = []
    for at, case in enumerate(cases):
        wrong = [name for name, times in (("OURS", ours), ("PEER", peer)) if times.right[at] != case.equal]
        if wrong:
            flag = "BOTH" if len(wrong) == 2 else wrong[0]
            row = {"flag": flag, "equal": case.equal, "kind": case.kind, "truth": case.truth, "answer": case.answer}
            listed.append(row | {"ours": ours.details[at], "peer": peer.details[at]})
    return listed


HEAD = (
    "set | cases | ours /s | Math-Verify /s | ratio | its golds parsed once /s | ratio | without timeouts /s | "
    "ours p50, p99, max ms | its p50, p99, max ms | ours right | Math-Verify right | ours late, not scored | its late | "
    "ours, first reading of a ground truth ms"
)


def table_row(name: str, cases: Sequence[Case], found: dict[str, Times], first_read: float) -> str:
    ours, peer, free = found["ours"], found["peer"], found.get("peer, no timeouts")
    right = {key: sum(r == c.equal for r, c in zip(times.right, cases, strict=True)) for key, times in found.items()}
    columns = [
        name,
        f"{len(cases)}",
        f"{ours.rate():,.0f}",
        f"{peer.rate():,.0f}",
        f"{ours.rate() / peer.rate():.1f}",
        f"{peer.rate(without_gold=True):,.0f}",
        f"{ours.rate() / peer.rate(without_gold=True):.1f}",
        f"{free.rate():,.0f}" if free else "",
        ", ".join(f"{ours.milliseconds(share):.2f}" for share in (0.5, 0.99, 1.0)),
        ", ".join(f"{peer.milliseconds(share):.2f}" for share in (0.5, 0.99, 1.0)),
        f"{100 * right['ours'] / len(cases):.2f} %",
        f"{100 * right['peer'] / len(cases):.2f} %",
        f"{ours.late}, {ours.unscored}",
        f"{peer.late}",
        f"{1000 * first_read:.2f}",
    ]
    return " | ".join(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data_argument(parser)
    parser.add_argument("--limit", type=int, default=0, help="cases of each set, from its start; 0: all")
    parser.add_argument("--per-truth", type=int, default=4, help="right and wrong forms of each MATH-500 truth")
    parser.add_argument("--sets", default="", help="only sets whose name contains one of these, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=10, help="disagreements printed for each set")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks"), help="folder for all disagreements")
    args = parser.parse_args()
    for name in ("math_verify", "latex2sympy2_extended"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    sets = {
        "gsm8k ####": gsm8k(args.data, boxed=False, seed=args.seed),
        "gsm8k boxed": gsm8k(args.data, boxed=True, seed=args.seed),
        "math500 as given": math500_as_given(args.data),
        "math500 forms": math500_forms(args.data, per_truth=args.per_truth, seed=args.seed),
    }
    real = set(sets)
    sets["math500 odd forms"] = math500_forms(args.data, per_truth=1, seed=args.seed, odd=True)
    sets |= {f"labelled {name}": cases for name, cases in labelled().items()}
    lines, listed = [], {}
    for name, every in sets.items():
        cases = every[: args.limit or None]
        if args.sets and not any(part in name for part in args.sets.split(",")):
            continue
        found, first_read = run(cases, no_timeouts=name in real)
        lines.append(table_row(name, cases, found, first_read))
        listed[name] = disagreements(cases, found["ours"], found["peer"])
        print(lines[-1], flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    for name, found in listed.items():
        path = args.output / f"disagreements_{name.replace(' ', '_').replace('#', 'h')}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
        counts = {flag: sum(row["flag"] == flag for row in found) for flag in ("OURS", "PEER", "BOTH")}
        print(f"\n{name}: verdicts that differ from the label {counts}, all in {path}")
        first = sorted(found, key=lambda row: row["flag"] == "PEER")
        for row in first[: args.show]:
            print(f"  {row['flag']} {'=' if row['equal'] else '!='} {row['kind']}: {row['truth']!r} {row['answer']!r}", end="")
            print(f"  ours: {row['ours'][:60]}  Math-Verify: {row['peer'][:80]}".encode("unicode_escape").decode())
    print("\n" + "\n".join([HEAD, *lines]))


if __name__ == "__main__":
    main()
