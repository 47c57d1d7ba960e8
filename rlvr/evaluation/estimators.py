"""pass@k and maj@k of one problem, from n completions of which any k might have been all there were."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from fractions import Fraction
from math import comb


def pass_at_k(*, n: int, correct: int, k: int) -> float:
    """The chance that at least one of k completions, drawn from n without putting back, is correct.

    Unbiased for what k fresh completions would give: Chen et al. 2021, "Evaluating Large Language Models Trained on Code",
    eq. 1. Errors: `ValueError` unless 1 <= k <= n and 0 <= correct <= n.
    """
    _check(n, k)
    if not 0 <= correct <= n:
        raise ValueError(f"correct={correct}: must be from 0 to n={n}")
    return float(1 - Fraction(comb(n - correct, k), comb(n, k)))


def majority_at_k(votes: Sequence[tuple[Hashable | None, bool]], k: int) -> float:
    """The chance that the answer given most often by k completions, drawn from all without putting back, is correct.

    votes: the answer of each completion, and whether it was judged correct. None is no answer and never wins, so where nobody
    answers the majority is wrong. Of answers that tie, each is taken with equal chance. Where completions with the same answer
    are judged differently (another rule than that for the answer may find fault), each of them speaks for it with equal
    chance. The exact mean over all choices of k, and so unbiased as pass@k is; majority voting: Wang et al. 2023,
    "Self-Consistency Improves Chain of Thought Reasoning". Errors: `ValueError` unless 1 <= k <= len(votes).
    """
    _check(len(votes), k)
    of_answer: dict[Hashable, list[bool]] = {}
    for answer, correct in votes:
        if answer is not None:
            of_answer.setdefault(answer, []).append(correct)
    silent = len(votes) - sum(map(len, of_answer.values()))
    chance = Fraction(0)
    for answer, judged in of_answer.items():
        if any(judged):
            others = [len(each) for other, each in of_answer.items() if other != answer]
            won = sum((_ways(len(judged), n, others, silent, k) for n in range(1, min(len(judged), k) + 1)), Fraction(0))
            chance += Fraction(sum(judged), len(judged)) * won
    return float(chance / comb(len(votes), k))


def _ways(size: int, n: int, others: Sequence[int], silent: int, k: int) -> Fraction:
    """In how many choices of k the answer that `size` completions gave has n votes and wins; 1 / (t + 1) of one in which t
    other answers have n votes as well."""
    rest, ties = k - n, range((k - n) // n + 1)
    rivals = [other for other in others if other >= n]
    harmless = silent + sum(other for other in others if other < n)  # these can neither win nor tie: any of them may be there
    if harmless + n * len(rivals) < rest:
        return Fraction(0)
    ways = [[comb(harmless, used), *([0] * (len(ties) - 1))] for used in range(rest + 1)]
    # ways[used][t]: choices of `used` completions of the harmless ones and of the rivals so far, t of which tie.
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
