"""pass@k and maj@k of one problem, estimated from n completions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from fractions import Fraction
from math import comb


def pass_at_k(*, n: int, correct: int, k: int) -> float:
    """Probability that at least one of k completions, drawn from n without replacement, is correct.

    The unbiased estimator of Chen et al. 2021, "Evaluating Large Language Models Trained on Code", eq. 1.
    Errors: `ValueError` unless 1 <= k <= n and 0 <= correct <= n.
    """
    _check(n, k)
    if not 0 <= correct <= n:
        raise ValueError(f"correct={correct}: must be from 0 to n={n}")
    return float(1 - Fraction(comb(n - correct, k), comb(n, k)))


def majority_at_k(votes: Sequence[tuple[Hashable | None, bool]], k: int) -> float:
    """Probability that the most frequent answer of k completions, drawn from all without replacement, is correct.

    votes: the answer of each completion, and whether it was scored as correct. None is no answer and never wins, so without
    any answer the majority is wrong. Ties are broken with equal probability. Where completions with the same answer have
    different scores (a further rule may count), one of them decides, each with equal probability. The exact mean over all
    choices of k, and so unbiased as pass@k is; majority voting: Wang et al. 2023, "Self-Consistency Improves Chain of
    Thought Reasoning". Errors: `ValueError` unless 1 <= k <= len(votes).
    """
    _check(len(votes), k)
    by_answer: dict[Hashable, list[bool]] = {}
    for answer, correct in votes:
        if answer is not None:
            by_answer.setdefault(answer, []).append(correct)
    silent = len(votes) - sum(map(len, by_answer.values()))
    chance = Fraction(0)
    for answer, scored in by_answer.items():
        if any(scored):
            others = [len(each) for other, each in by_answer.items() if other != answer]
            won = sum((_ways(len(scored), n, others, silent, k) for n in range(1, min(len(scored), k) + 1)), Fraction(0))
            chance += Fraction(sum(scored), len(scored)) * won
    return float(chance / comb(len(votes), k))


def _ways(size: int, n: int, others: Sequence[int], silent: int, k: int) -> Fraction:
    """Number of choices of k in which the answer of `size` completions has n votes and wins; one in which t other answers
    also have n votes counts 1 / (t + 1)."""
    rest, ties = k - n, range((k - n) // n + 1)
    rivals = [other for other in others if other >= n]
    harmless = silent + sum(other for other in others if other < n)  # cannot win or tie, so any of them may be chosen
    if harmless + n * len(rivals) < rest:
        return Fraction(0)
    ways = [[comb(harmless, used), *([0] * (len(ties) - 1))] for used in range(rest + 1)]
    # ways[used][t]: choices of `used` completions from the harmless ones and the rivals so far, of which t tie.
    for rival in rivals:
        grown = [[0] * len(ties) for _ in range(rest + 1)]
        for more in range(min(n, rest) + 1):
            factor, tied = comb(rival, more), int(more == n)
            for used in range(rest - more + 1):
                to = grown[used + more]
                for t, count in enumerate(ways[used]):
                    if count:
                        to[t + tied] += count * factor
        ways = grown
    return comb(size, n) * sum((Fraction(count, t + 1) for t, count in enumerate(ways[rest])), Fraction(0))


def _check(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k={k}: must be from 1 to the number of completions, {n}")
