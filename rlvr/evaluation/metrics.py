"""Numbers from judged groups: what an evaluation says."""

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
    """Means over the problems that could be judged; None where no rule says it. Of greedy completions, but for `sampled`.

    Plain values in all fields, so that `dataclasses.asdict` is JSON and `from_dict` takes it.
    """

    accuracy: float | None
    """Share of problems with full score from every rule that judges the answer (`Verifier.judges`)."""
    format: float | None
    """The same of the rules that judge the form."""
    reward: float | None
    problems: int
    """How many were asked."""
    truncated: float
    """Share of completions that hit the token limit."""
    rules: dict[str, float | None]
    """Mean score by rule, over the problems that it applies to; `eval.NAME` are the rules of the evaluation alone."""
    datasets: dict[str, float | None]
    """Accuracy by part of a mixture; empty without one."""
    passed: dict[str, float | None] = field(default_factory=dict)
    """Share of problems with full score, by rule."""
    length: float | None = None
    """Mean completion tokens."""
    samples: int = 0
    """Completions of a problem that were sampled besides the greedy one."""
    sampled: dict[str, float | None] = field(default_factory=dict)
    """`pass@K` and `maj@K` by name. maj@K only where rules say what the answer of a completion is."""
    intervals: dict[str, list[float]] = field(default_factory=dict)
    """95 % intervals [low, high] by name in `measures`; see `rlvr.evaluation.intervals`."""
    reasons: dict[str, dict[str, int]] = field(default_factory=dict)
    """How often each reason was given, by rule."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """What `dataclasses.asdict` gave, also when it has been JSON since."""
        return cls(**values)

    @property
    def measures(self) -> dict[str, float | None]:
        """All numbers by name, those first that say most."""
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
        """As in metrics.jsonl: `eval/accuracy`, `eval/pass@8`, ...; those that there are."""
        return {f"eval/{name}": value for name, value in self.measures.items() if value is not None}


def summarise(groups: Sequence[Group], pack: RulePack, *, ks: Sequence[int] = ()) -> Evaluation:
    """Evaluation from judged groups: a problem's greedy completion, then those that were sampled, if any.

    pack: as they were judged, with the rules of the evaluation among its own. ks: which pass@k and maj@k.
    """
    greedy = [group.rollouts[0] for group in groups]
    named = {kind: _judging(pack, kind) for kind in ("answer", "format")}
    of_dataset: dict[str, list[Rollout]] = {}
    for group in groups:
        if (name := group.problem.metadata.get("dataset")) is not None:
            of_dataset.setdefault(str(name), []).append(group.rollouts[0])
    shares = {
        "accuracy": _full_score(greedy, named["answer"]),
        "format": _full_score(greedy, named["format"]),
        "truncated": [float(rollout.finish_reason == "length") for rollout in greedy],
        **_sampled(groups, named["answer"], ks),
        **{f"accuracy/{name}": _full_score(rollouts, named["answer"]) for name, rollouts in of_dataset.items()},
        **{f"rule/{name}/passed": _full_score(greedy, (name,)) for name in pack.rules},
    }
    rewards = [rollout.reward for rollout in greedy if rollout.reward is not None]
    lengths = [float(len(rollout.token_ids)) for rollout in greedy]
    low, high = pack.bounds
    intervals = {name: of_bounded(values) for name, values in shares.items()}
    intervals |= {"reward": of_bounded(rewards, low=low, high=high), "length": of_mean(lengths)}
    value = {name: fmean(values) if values else None for name, values in (shares | {"length": lengths}).items()}
    judged = {name: [v for rollout in greedy if (v := rollout.verdicts.get(name))] for name in pack.rules}
    scores = {name: [v.score for v in verdicts if v.score is not None] for name, verdicts in judged.items()}
    return Evaluation(
        accuracy=value["accuracy"],
        format=value["format"],
        reward=fmean(rewards) if rewards else None,
        problems=len(groups),
        truncated=value["truncated"] or 0.0,
        rules={name: fmean(each) if each else None for name, each in scores.items()},
        datasets={name: value[f"accuracy/{name}"] for name in of_dataset},
        passed={name: value[f"rule/{name}/passed"] for name in pack.rules},
        length=value["length"],
        samples=len(groups[0].rollouts) - 1 if groups else 0,
        sampled={name: value[name] for name in shares if name.startswith(("pass@", "maj@"))},
        intervals={name: interval for name, interval in intervals.items() if interval is not None},
        reasons={name: dict(Counter(v.reason for v in verdicts).most_common()) for name, verdicts in judged.items()},
    )


def _judging(pack: RulePack, kind: str) -> tuple[str, ...]:
    """Names of the rules that judge that; those of the evaluation where there are some."""
    named = pack.named(kind)
    return tuple(name for name in named if name.startswith(PREFIX)) or named


def _marks(rollout: Rollout, names: Sequence[str]) -> bool | None:
    """Whether it has full score from all of these rules that apply; None where none does, or one could not judge."""
    scores = [rollout.verdicts[name].score for name in names if name in rollout.verdicts]
    return None if not scores or None in scores else all(score == 1.0 for score in scores)


def _full_score(rollouts: Sequence[Rollout], names: Sequence[str]) -> list[float]:
    return [float(marks) for rollout in rollouts if (marks := _marks(rollout, names)) is not None]


def _sampled(groups: Sequence[Group], names: Sequence[str], ks: Sequence[int]) -> dict[str, list[float]]:
    """pass@k and maj@k (but maj@1, which is pass@1) of every problem of which k samples could be judged."""
    votes = [
        [(_answer(rollout, names), marks) for rollout in group.rollouts[1:] if (marks := _marks(rollout, names)) is not None]
        for group in groups
    ]
    found: dict[str, list[float]] = {}
    if not any(votes):
        return found
    for k in ks:
        enough = [each for each in votes if len(each) >= k]
        found[f"pass@{k}"] = [pass_at_k(n=len(each), correct=sum(marks for _, marks in each), k=k) for each in enough]
    if any(answer is not None for each in votes for answer, _ in each):
        for k in (k for k in ks if k > 1):
            found[f"maj@{k}"] = [majority_at_k(each, k) for each in votes if len(each) >= k]
    return found


def _answer(rollout: Rollout, names: Sequence[str]) -> tuple[str | None, ...] | None:
    """What a completion votes for: the answers that the rules found in it, whatever their spacing and width; None: none.

    1/2 and 0.5 are two answers: only with the truth do the rules compare.
    """
    answers = [rollout.verdicts[name].answer for name in names if name in rollout.verdicts]
    if all(answer is None for answer in answers):
        return None
    return tuple(None if answer is None else " ".join(unicodedata.normalize("NFKC", answer).split()) for answer in answers)
