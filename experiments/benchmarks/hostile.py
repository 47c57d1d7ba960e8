"""Hostile and random texts through every rule of the packs that read text: no exception, no hang, no score outside [0, 1].

Needs the package reasoning-gym (`pip install -e '.[reasoning_gym]'`), unless `--packs` leaves that pack out.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hostile_texts import hostile_text

from rlvr import Problem, load_rules
from rlvr.rules.pack import Judgement
from rlvr.scoring.local.rule_pack import LocalRulePack

PACKS = Path(__file__).parents[2] / "conf" / "rules"
EXECUTING = ("code", "code_strict", "proof", "simulation", "sql")
"""Packs that execute what a completion holds; tests/sandbox, tests/verifiers and `rlvr audit` attack those."""
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOL = {
    "name": "add",
    "description": "adds two integers",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
GYM = {"task": "chain_sum", "entry": {"question": "48 + 24 =", "answer": "72", "metadata": {"difficulty": {}}}}
XSD = (
    '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="note"><xs:complexType><xs:sequence>'
    '<xs:element name="to" type="xs:string"/><xs:element name="body" type="xs:string"/>'
    "</xs:sequence></xs:complexType></xs:element></xs:schema>"
)
TRUTHS: list[dict[str, Any]] = [
    *({"answer": answer} for answer in ("72", "3.14", "\\frac{3\\sqrt{3}}{4}", "x^2+2x+1", "(-\\infty, 0]", "\\text{east}")),
    *({"answer": answer} for answer in ("\\{1\\pm\\sqrt{5},-2\\}", "y = 2x + 3", "90^\\circ", "1 \\pm \\sqrt{19}", "50\\%")),
    {"answer": "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}"},
    {"answers": ["New York", "NYC", "3.5"]},
    {"choices": ["48", "24", "72", "New York"], "answer": "C"},
    {"numbers": [1, 2, 5, 8], "target": 24},
    {"json_schema": SCHEMA},
    {"tools": [TOOL], "calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}]},
    {"xsd": XSD},
    {"reasoning_gym": GYM},
]
"""Ground truths of all kinds; each pack is given those that it can score."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """The results of one pack."""

    texts: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """Of the rules' verdicts: `scored`, `unscorable`, `error`."""
    stopped: Counter[str] = field(default_factory=Counter)
    """Reasons of verdicts cut off by a limit of the worker process: `timeout`, `memory`."""
    faults: list[str] = field(default_factory=list)
    """Exceptions, errors, unscorable verdicts, scores or rewards out of bounds, verdicts that differ the second time."""
    seconds: float = 0.0
    slowest: tuple[float, str] = (0.0, "")
    """Wall time in seconds, and the text's kind, number, length and head."""

    def add(self, other: Tally) -> None:
        self.texts += other.texts
        self.outcomes += other.outcomes
        self.stopped += other.stopped
        self.faults += other.faults
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)


def problems_for(pack: LocalRulePack) -> list[Problem]:
    """Two problems for every ground truth that the pack can score: one of the prompts opens the reasoning."""
    made = [
        Problem(id=f"{at}{prompt}", prompt=prompt, truth=truth, metadata={"dataset": "hostile"})
        for at, truth in enumerate(TRUTHS)
        for prompt in ("q", "q\n<think>")
    ]
    return [problem for problem in made if pack.check_truth(problem) is None and pack.applicable(problem)]


def faults_of(judgement: Judgement, pack: LocalRulePack) -> list[str]:
    """What must never occur in a judgement."""
    found = []
    for name, verdict in judgement.verdicts.items():
        if verdict.outcome != "scored":
            found.append(f"{name}: {verdict.outcome}: {verdict.reason}: {verdict.detail}")
        elif verdict.score is None or not 0.0 <= verdict.score <= 1.0:
            found.append(f"{name}: score {verdict.score}")
    low, high = pack.bounds
    if judgement.reward is not None and not low - 1e-9 <= judgement.reward <= high + 1e-9:
        found.append(f"reward {judgement.reward} is not in [{low}, {high}]")
    return found


def score_text(pack: LocalRulePack, problem: Problem, text: str, label: str, tally: Tally, *, again: bool) -> None:
    start = time.perf_counter()
    try:
        judgement = pack.judge(text, problem)
        faults = faults_of(judgement, pack)
        if again and pack.judge(text, problem) != judgement:
            faults.append("a different verdict the second time")
        for verdict in judgement.verdicts.values():
            tally.outcomes[verdict.outcome] += 1
            if verdict.reason in ("timeout", "memory"):
                tally.stopped[verdict.reason] += 1
    except Exception as error:  # noqa: BLE001  an exception is what this looks for
        faults = [f"{type(error).__name__}: {error}"]
    took = (time.perf_counter() - start) / (1 + again)
    tally.texts += 1
    tally.seconds += took
    tally.slowest = max(tally.slowest, (took, f"{label}, truth {dict(problem.truth)}: {text[:60]}"))
    tally.faults += [f"{fault} [{label}, truth {dict(problem.truth)}, prompt {problem.prompt!r}]" for fault in faults]


def run(names: list[str], seed: int, numbers: range, again_every: int, hang_s: float) -> dict[str, Tally]:
    """Every text of `numbers` through every pack, with its ground truths in rotation."""
    packs = {name: load_rules(name) for name in names}
    problems = {name: problems_for(pack) for name, pack in packs.items()}
    tallies = {name: Tally() for name in names}
    for number in numbers:
        kind, text = hostile_text(seed, number)
        for at, name in enumerate(names):
            faulthandler.dump_traceback_later(hang_s, exit=True)  # a hang ends the run and shows where
            if not problems[name]:
                continue
            problem = problems[name][(number + number // len(names) + at) % len(problems[name])]
            label = f"{kind} {number}, {len(text)} characters"
            score_text(packs[name], problem, text, label, tallies[name], again=number % again_every == 0)
        done = number // numbers.step + 1
        if done % 1000 == 0:
            faults = sum(len(tally.faults) for tally in tallies.values())
            print(f"process {os.getpid()}: {done:,} texts, {faults} faults", flush=True)
    faulthandler.cancel_dump_traceback_later()
    return tallies


def report(tallies: dict[str, Tally], show: int) -> bool:
    """Prints the table; returns whether there was no fault."""
    print("\npack | texts | scored | unscorable | error | faults | stopped at a limit | mean ms | slowest ms")
    for name, tally in tallies.items():
        outcomes = " | ".join(f"{tally.outcomes[outcome]:,}" for outcome in ("scored", "unscorable", "error"))
        stopped = ", ".join(f"{reason} {count}" for reason, count in tally.stopped.items()) or "0"
        mean, slowest = 1000 * tally.seconds / max(1, tally.texts), 1000 * tally.slowest[0]
        print(f"{name} | {tally.texts:,} | {outcomes} | {len(tally.faults)} | {stopped} | {mean:.2f} | {slowest:,.0f}")
    for name, tally in tallies.items():
        print(ascii(f"slowest of {name}: {tally.slowest[1]}"))
        for fault in tally.faults[:show]:
            print(ascii(f"  FAULT {name}: {fault}"))
        if not tally.texts:
            print(f"  FAULT {name}: no ground truth in TRUTHS fits it; add one")
    return all(tally.texts and not tally.faults for tally in tallies.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first text; --first N --texts 1 repeats one")
    parser.add_argument(
        "--packs", default="", help="names, separated by commas; default: all in conf/rules but those that execute"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again-every", type=int, default=20, help="score every so many texts twice")
    parser.add_argument("--hang-s", type=float, default=60.0, help="seconds for one text; more ends the run with a traceback")
    parser.add_argument("--show", type=int, default=10, help="faults printed for each pack")
    args = parser.parse_args()

    names = args.packs.split(",") if args.packs else sorted({path.stem for path in PACKS.glob("*.yaml")} - set(EXECUTING))
    shares = [range(args.first + job, args.first + args.texts, args.jobs) for job in range(args.jobs)]
    start = time.perf_counter()
    if args.jobs == 1:
        found = [run(names, args.seed, shares[0], args.again_every, args.hang_s)]
    else:
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(run, names, args.seed, share, args.again_every, args.hang_s) for share in shares]
            found = [future.result() for future in futures]
    total = {name: Tally() for name in names}
    for tallies in found:
        for name, tally in tallies.items():
            total[name].add(tally)
    fine = report(total, args.show)
    result = "no fault" if fine else "FAULTS"
    print(f"{args.texts:,} texts, {len(names)} packs, {time.perf_counter() - start:,.0f} s: {result}")
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    main()
