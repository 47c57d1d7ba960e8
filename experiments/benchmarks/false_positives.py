"""Random pairs of ground truths of different MATH-500 problems, scored by the full verifier: lists every pair found equal."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from random import Random

from cases import data_argument, rows

from rlvr import Problem, load_rules
from rlvr.scoring.local.rule_pack import LocalRulePack


def pairs(n_problems: int, n_pairs: int, seed: int) -> list[tuple[int, int]]:
    """Distinct ordered pairs of different problems. Errors: `SystemExit` if there are not that many."""
    most = n_problems * (n_problems - 1)
    if n_pairs > most:
        raise SystemExit(f"--pairs {n_pairs}: must be at most {most}, the ordered pairs of {n_problems} problems")
    drawn = Random(seed).sample(range(most), n_pairs)
    return [(at // (n_problems - 1), (at % (n_problems - 1) + at // (n_problems - 1) + 1) % n_problems) for at in drawn]


def score_all(
    pack: LocalRulePack, truths: list[str], drawn: list[tuple[int, int]]
) -> tuple[Counter[str], list[dict[str, str]]]:
    """Counts of reasons (and of outcomes other than `scored`), and the pairs found equal."""
    reasons: Counter[str] = Counter()
    hits, start = [], time.perf_counter()
    for at, (one, other) in enumerate(drawn):
        problem = Problem(id=str(one), prompt="", truth={"answer": truths[one]})
        (verdict,) = pack.judge(f"So the answer is $\\boxed{{{truths[other]}}}$.", problem).verdicts.values()
        reasons[verdict.reason if verdict.outcome == "scored" else f"{verdict.outcome}: {verdict.reason}"] += 1
        if verdict.score != 0.0:
            hits.append({"truth": truths[one], "answer": truths[other], "reason": verdict.reason, "detail": verdict.detail})
        if at % 20_000 == 19_999:
            print(f"{at + 1:,} pairs, {(at + 1) / (time.perf_counter() - start):,.0f}/s, {len(hits):,} hits", flush=True)
    return reasons, hits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data_argument(parser)
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rules", default="answer", help="a pack with one rule")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks/false_positives.jsonl"))
    args = parser.parse_args()

    truths = [row["answer"] for row in rows(args.data, "math500")]
    drawn = pairs(len(truths), args.pairs, args.seed)
    reasons, hits = score_all(load_rules(args.rules), truths, drawn)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text("".join(json.dumps(hit) + "\n" for hit in hits), encoding="utf-8")

    same = Counter(hit["truth"] for hit in hits if hit["truth"] == hit["answer"])
    other = Counter((hit["truth"], hit["answer"], hit["reason"]) for hit in hits if hit["truth"] != hit["answer"])
    print(f"\n{len(drawn):,} pairs of {len(truths)} ground truths, seed {args.seed}; reasons: {dict(reasons)}")
    print(f"{len(hits):,} not scored 0, all in {args.output}")
    print(f"\nidentical texts: {sum(same.values()):,} pairs of {len(same)} texts")
    print("  " + ", ".join(f"{text!r} x{count}" for text, count in same.most_common()))
    print(f"\ndifferent texts, to be checked by hand: {sum(other.values()):,} pairs, {len(other)} kinds")
    for (truth, answer, reason), count in other.most_common():
        print(f"  {count:4d}  {truth!r}  {answer!r}  {reason}")


if __name__ == "__main__":
    main()
