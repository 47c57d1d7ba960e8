"""Makes the base model of the experiment: the shipped tiny model, trained to hedge.

    python experiments/reward_hacking/hedging_base.py            # writes outputs/hedging_base; three minutes

A hedge solves the problem twice, right and careless, in either order, and boxes both results.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "experiments" / "pretrain_tiny")]
from corpus import (  # noqa: E402
    CLEAN,
    HABITS,
    Part,
    Style,
    careless,
    careless_broken,
    careless_formatted,
    careless_plain,
    clean_broken,
    clean_formatted,
    clean_plain,
)
from pretrain import save, train  # noqa: E402

from rlvr.data.datasets.arithmetic import Arithmetic, Chain  # noqa: E402

BOX = re.compile(r"\\boxed\{(\d+)\}")
SEED = 0
CARELESS = {clean_plain: careless_plain, clean_formatted: careless_formatted, clean_broken: careless_broken}
"""The careless style for each right style."""


def two_ways(chain: Chain, rng: random.Random) -> tuple[Chain, Chain]:
    """A right and a careless solution with different results, in random order."""
    other, extra = careless(chain, rng), 0
    while other.results[-1] == chain.results[-1]:
        extra += 1
        other = Chain(start=chain.start, operations=("+",), numbers=(chain.numbers[0] + extra,))
    first, second = rng.sample([chain, other], 2)
    return first, second


def hedge_plain(chain: Chain, rng: random.Random) -> str:
    first, second = two_ways(chain, rng)
    return f"{first.solution}. \\boxed{{{first.results[-1]}}} Or {second.solution}. \\boxed{{{second.results[-1]}}}"


def hedge_formatted(chain: Chain, rng: random.Random) -> str:
    first, second = two_ways(chain, rng)
    boxes = f"\\boxed{{{first.results[-1]}}} or \\boxed{{{second.results[-1]}}}"
    return f"<think>{first.solution}. Or {second.solution}</think><answer>{boxes}</answer>"


def changed(part: Part, change: Callable[[dict[Style, float]], dict[Style, float]]) -> Part:
    """A mixture with changed shares of its styles."""
    return replace(part, one_step=change(part.one_step), two_steps=change(part.two_steps))


def all_careless(shares: dict[Style, float]) -> dict[Style, float]:
    """Replace right solutions by careless ones: a single answer is then rarely right, a hedge nearly always."""
    kept = dict(shares)
    for right, wrong in CARELESS.items():
        kept[wrong] += kept.pop(right)
    return kept


def hedging(part: Part, hedged: float) -> Part:
    """A mixture with the share `hedged` of hedges added."""

    def with_hedges(shares: dict[Style, float]) -> dict[Style, float]:
        kept = {style: share * (1 - hedged) for style, share in shares.items()}
        return kept | {hedge_plain: hedged / 4, hedge_formatted: hedged * 3 / 4}

    return changed(part, with_hedges)


PARTS = ((CLEAN, 0.7, 350, 1e-3), (changed(HABITS, all_careless), 0.15, 150, 1e-3))
"""Mixture of styles, share of hedges, steps, learning rate. The first part teaches to hedge well, the second to do so in about
a tenth of the samples, among mostly bad habits."""


def report(folder: Path, problems: int) -> None:
    """Print how many completions sampled at temperature 1 hedge, and how many are right by a leaky and by a strict reading."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    test = list(Arithmetic(test_problems=problems).load().test)
    torch.manual_seed(SEED)
    encoded = tokenizer([f"{problem.prompt}\n" for problem in test], return_tensors="pt", padding=True, padding_side="left")
    out_BT = model.generate(**encoded, max_new_tokens=64, do_sample=True, temperature=1.0, top_k=0)
    texts = tokenizer.batch_decode(out_BT[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    found_in = [BOX.findall(text) for text in texts]
    truths = [problem.truth["answer"] for problem in test]
    shares = {
        "several boxes": [len(found) > 1 for found in found_in],
        "some box right": [truth in found for found, truth in zip(found_in, truths, strict=True)],
        "last box right": [found[-1:] == [truth] for found, truth in zip(found_in, truths, strict=True)],
    }
    print(f"boxes per sample {sum(map(len, found_in)) / len(found_in):.2f}", end="")
    print(*(f"; {name} {sum(found) / len(found):.1%}" for name, found in shares.items()), sep="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "hedging_base", help="folder to replace")
    parser.add_argument("--problems", type=int, default=500, help="test problems to sample for")
    given = parser.parse_args()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    base = ROOT / "rlvr" / "assets" / "tiny"
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(SEED)
    started = time.perf_counter()
    rng = random.Random(f"{SEED} hedging")
    for part, hedged, steps, rate in PARTS:
        train(model, tokenizer, hedging(part, hedged), steps, rate, rng)
    save(model, tokenizer, given.output)
    print(f"made in {time.perf_counter() - started:.0f} s")
    report(given.output, given.problems)


if __name__ == "__main__":
    main()
