"""The leaky verifier of the experiment: any box with the right number counts. Not for real training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from rlvr import Problem, Verdict, Verifier

_BOX = re.compile(r"\\boxed\{([^{}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyBox(Verifier):
    """Scores 1 if any box holds the ground truth, whatever the others hold, as a grader does that searches the text for it."""

    judges: ClassVar = "answer"
    needs: ClassVar = ("answer",)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        boxes = [text.strip() for text in _BOX.findall(completion)]
        if not boxes:
            return Verdict.scored(0.0, "no_answer")
        answer = " or ".join(boxes)
        right = problem.truth["answer"] in boxes
        return Verdict.scored(float(right), "correct" if right else "wrong", answer=answer)
