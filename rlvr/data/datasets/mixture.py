"""Several data sets as one: `dataset=[gsm8k,mmlu]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rlvr.data.source import DataSource, Splits
from rlvr.errors import ConfigError
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture(DataSource):
    """Problems of all parts, each with the name of its part in `metadata["dataset"]` and in front of its id.

    A rule scores the problems whose ground truth it can use, or those of the parts that its `datasets` names.
    """

    parts: Mapping[str, DataSource]
    """Data sets by name."""
    shares: Mapping[str, float | None] = field(default_factory=dict)
    """Share of each part among the training problems (normalised to 1); all null: in proportion to their sizes. No problem is
    repeated: the scarcest part decides how many of the others are left out."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.shares if name not in self.parts]
        if unknown:
            raise ConfigError(f"dataset.shares.{unknown[0]}: the parts are {', '.join(self.parts)}")
        if not self._given():
            return
        for name in self.parts:
            share = self.shares.get(name)
            if share is None or not 0 < share < float("inf"):
                raise ConfigError(f"dataset.shares.{name}={share}: must be above 0, for every part (or null for all)")

    def _given(self) -> dict[str, float]:
        return {name: share for name, share in self.shares.items() if share is not None}

    def load(self) -> Splits:
        loaded = {name: part.load() for name, part in self.parts.items()}
        train = {name: _named(name, splits.train) for name, splits in loaded.items()}
        test = {name: _named(name, splits.test) for name, splits in loaded.items()}
        return Splits(train=_spread(self._shared(train)), test=_spread(test))

    def _shared(self, parts: Mapping[str, Sequence[Problem]]) -> dict[str, Sequence[Problem]]:
        given = self._given()
        if not given:
            return dict(parts)
        empty = [name for name, problems in parts.items() if not problems]
        if empty:
            raise ConfigError(f"dataset.shares.{empty[0]}={given[empty[0]]}: that part has no training problems")
        whole = min(len(problems) / given[name] for name, problems in parts.items())
        return {name: problems[: round(whole * given[name])] for name, problems in parts.items()}


def _named(name: str, problems: Sequence[Problem]) -> list[Problem]:
    return [replace(p, id=f"{name}/{p.id}", metadata={**p.metadata, "dataset": name}) for p in problems]


def _spread(parts: Mapping[str, Sequence[Problem]]) -> list[Problem]:
    """All parts evenly interleaved, so that any beginning holds them in their shares."""
    ordered = [((i + 0.5) / len(problems), problem) for problems in parts.values() for i, problem in enumerate(problems)]
    return [problem for _, problem in sorted(ordered, key=lambda pair: pair[0])]
