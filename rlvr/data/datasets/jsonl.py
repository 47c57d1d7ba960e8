"""A user's problems, one JSON object a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr.config.bounds import check_fields
from rlvr.data.rows import split_by_prompt, whole_file
from rlvr.data.source import DataSource, Splits
from rlvr.errors import ConfigError
from rlvr.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines(DataSource):
    """Rows `{"prompt": ..., "truth": {...}}`, optionally with `id`, `solution` (reference reasoning) and `completion`.

    `completion` is a whole reference completion, for answers that no prompt template can form from a `solution`.
    """

    path: str
    """The file of training problems."""
    eval_path: str | None = None
    """The file of held-out problems; without one, `eval_share` of `path` is held out."""
    eval_share: float = 0.1
    """Share of `path` that is held out, chosen by prompt, so that added rows move none."""
    prompt_key: str = "prompt"
    """Column of the question."""
    answer_key: str | None = None
    """Column of the answer, if rows have no `truth`: the ground truth is then `{"answer": ...}`."""

    def __post_init__(self) -> None:
        for key in ("path", "eval_path"):
            path = getattr(self, key)
            if path is not None and not Path(path).is_file():
                raise ConfigError(f"dataset.{key}={path}: no such file")
        check_fields(self, "eval_share", above=0, below=1)

    def load(self) -> Splits:
        problems = self._read(Path(self.path))
        if self.eval_path is not None:
            return Splits(train=problems, test=self._read(Path(self.eval_path)))
        test, train = split_by_prompt(problems, self.eval_share)
        if not train or not test:
            raise ConfigError(f"dataset.path={self.path}: too few rows to hold out {self.eval_share} of; set dataset.eval_path")
        return Splits(train=train, test=test)

    def _read(self, path: Path) -> Sequence[Problem]:
        problems: dict[str, Problem] = {}
        for number, row in enumerate(whole_file(path), start=1):
            prompt = row.get(self.prompt_key)
            truth = row.get("truth") if self.answer_key is None else {"answer": row.get(self.answer_key)}
            if not isinstance(prompt, str) or not isinstance(truth, dict) or None in truth.values():
                needed = f"{self.answer_key!r}" if self.answer_key else "an object 'truth'"
                raise ConfigError(
                    f"dataset: {path}, row {number}: needs a text {self.prompt_key!r} and {needed} "
                    f"(it has: {', '.join(row) or 'nothing'})"
                )
            problem_id = str(row.get("id", f"{path.stem}-{number:05}"))
            if problem_id in problems:
                raise ConfigError(f"dataset: {path}, row {number}: id {problem_id!r} is there twice")
            metadata = {key: row[key] for key in ("solution", "completion") if isinstance(row.get(key), str)}
            problems[problem_id] = Problem(id=problem_id, prompt=prompt, truth=truth, metadata=metadata)
        return list(problems.values())
