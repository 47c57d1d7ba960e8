"""Metrics of an evaluation, from scored groups."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from rlvr.evaluation.estimators import majority_at_k, pass_at_k
from rlvr.evaluation.eval_rules import PREFIX
from rlvr.evaluation.intervals import of_bounded, of_mean
from rlvr.rules.pack import RulePack
from rlvr.types import Group, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Means over the scorable problems, of greedy completions except in `sampled`; None where no rule measures it.

    All fields are plain values, so that `dataclasses.asdict` gives JSON, which `from_dict` reads.
    """

    accuracy: float | None
    """Share of problems with the full score from every rule for the answer (`Verifier.judges`)."""
    format: float | None
    """The same for the rules for the format."""
    reward: float | None
    """Mean."""
    problems: int
    """Number of problems."""
    truncated: float
    """Share of completions that hit the token limit."""
    rules: dict[str, float | None]
    """Mean score by rule, over the problems that it applies to; `eval.NAME` are evaluation-only rules."""
    datasets: dict[str, float | None]
    """Accuracy by part of a mixture; empty without one."""
    passed: dict[str, float | None] = field(default_factory=dict)
    """Share of problems with the full score, by rule."""
    length: float | None = None
    """Mean completion tokens."""
    samples: int = 0
    """Completions of each problem in addition to the greedy one."""
    sampled: dict[str, float | None] = field(default_factory=dict)
    """`pass@K` and `maj@K` by name; maj@K only where rules extract an answer."""
    intervals: dict[str, list[float]] = field(default_factory=dict)
    """95 % intervals [low, high] by name in `measures`; see `rlvr.evaluation.intervals`."""
    reasons: dict[str, dict[str, int]] = field(default_factory=dict)
    """Number of verdicts by rule and reason."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """From `dataclasses.asdict`, also after a round trip through JSON."""
        return cls(**values)

    @property
    def measures(self) -> dict[str, float | None]:
        """All measures by name, most important first."""
        return {
            "accuracy": self.accuracy,
            "format": self.format,
            "reward": self.reward,
            **self.sampled,
            **{f"accuracy/{name}": accuracy for name, accuracy in self.datasets.items()},
            **{f"rule/{name}/passed": share for name, share in self.passed.items()},
            "length": self.length,
            "truncated": self.truncated,
        }

    def metrics(self) -> dict[str, float]:
        """The measures that are not None, named as in metrics.jsonl: `eval/accuracy`, `eval/pass@8`, ..."""
        return {f"eval/{name}": value for name, value in self.measures.items() if value is not None}


def summarise(groups: Sequence[Group], pack: RulePack, *, ks: Sequence[int] = ()) -> Evaluation:
    """The evaluation of scored groups: of each problem the greedy completion, then the samples, if any.

    pack: the rules that scored them, evaluation-only rules included. ks: of pass@k and maj@k.
    """
    greedy = [group.rollouts[0] for group in groups]
    named = {kind: _rules_for(pack, kind) for kind in ("answer", "format")}
    by_dataset: dict[str, list[Rollout]] = {}
    for group in groups:
        if (name := group.problem.metadata.get("dataset")) is not None:
            by_dataset.setdefault(str(name), []).append(group.rollouts[0])
    shares = {
        "accuracy": _full_score(greedy, named["answer"]),
        "format": _full_score(greedy, named["format"]),
        "truncated": [float(rollout.finish_reason == "length") for rollout in greedy],
        **_sampled(groups, named["answer"], ks),
        **{f"accuracy/{name}": _full_score(rollouts, named["answer"]) for name, rollouts in by_dataset.items()},
        **{f"rule/{name}/passed": _full_score(greedy, (name,)) for name in pack.rules},
    }
    rewards = [rollout.reward for rollout in greedy if rollout.reward is not None]
    lengths = [float(len(rollout.token_ids)) for rollout in greedy]
    low, high = pack.bounds
    intervals = {name: of_bounded(values) for name, values in shares.items()}
    intervals |= {"reward": of_bounded(rewards, low=low, high=high), "length": of_mean(lengths)}
    value = {name: fmean(values) if values else None for name, values in (shares | {"length": lengths}).items()}
    verdicts = {name: [v for rollout in greedy if (v := rollout.verdicts.get(name))] for name in pack.rules}
    scores = {name: [v.score for v in each if v.score is not None] for name, each in verdicts.items()}
    return Evaluation(
        accuracy=value["accuracy"],
        format=value["format"],
        reward=fmean(rewards) if rewards else None,
        problems=len(groups),
        truncated=value["truncated"] or 0.0,
        rules={name: fmean(each) if each else None for name, each in scores.items()},
        datasets={name: value[f"accuracy/{name}"] for name in by_dataset},
        passed={name: value[f"rule/{name}/passed"] for name in pack.rules},
        length=value["length"],
        samples=len(groups[0].rollouts) - 1 if groups else 0,
        sampled={name: value[name] for name in shares if name.startswith(("pass@", "maj@"))},
        intervals={name: interval for name, interval in intervals.items() if interval is not None},
        reasons={name: dict(Counter(v.reason for v in each).most_common()) for name, each in verdicts.items()},
    )


def _rules_for(pack: RulePack, kind: str) -> tuple[str, ...]:
    """Names of the rules for the answer or the format: evaluation-only rules where there are any."""
    named = pack.named(kind)
    return tuple(name for name in named if name.startswith(PREFIX)) or named


def _correct(rollout: Rollout, names: Sequence[str]) -> bool | None:
    """Whether it has the full score from all of these rules that apply; None where none applies, or one has no score."""
    scores = [rollout.verdicts[name].score for name in names if name in rollout.verdicts]
    return None if not scores or None in scores else all(score == 1.0 for score in scores)


def _full_score(rollouts: Sequence[Rollout], names: Sequence[str]) -> list[float]:
    return [float(correct) for rollout in rollouts if (correct := _correct(rollout, names)) is not None]


def _sampled(groups: Sequence[Group], names: Sequence[str], ks: Sequence[int]) -> dict[str, list[float]]:
    """pass@k and maj@k (except maj@1, which is pass@1) of every problem with at least k scored samples."""
    votes = [
        [(_answer(each, names), correct) for each in group.rollouts[1:] if (correct := _correct(each, names)) is not None]
        for group in groups
    ]
    estimates: dict[str, list[float]] = {}
    if not any(votes):
        return estimates
    for k in ks:
        enough = [each for each in votes if len(each) >= k]
        estimates[f"pass@{k}"] = [pass_at_k(n=len(each), correct=sum(correct for _, correct in each), k=k) for each in enough]
    if any(answer is not None for each in votes for answer, _ in each):
        for k in (k for k in ks if k > 1):
            estimates[f"maj@{k}"] = [majority_at_k(each, k) for each in votes if len(each) >= k]
    return estimates


def _answer(rollout: Rollout, names: Sequence[str]) -> tuple[str | None, ...] | None:
    """What a completion votes for: the answers that the rules extracted, with spacing and width normalized; None without any.

    1/2 and 0.5 are different answers: rules compare only with the ground truth.
    """
    answers = [rollout.verdicts[name].answer for name in names if name in rollout.verdicts]
    if all(answer is None for answer in answers):
        return None
    return tuple(None if answer is None else " ".join(unicodedata.normalize("NFKC", answer).split()) for answer in answers)
