"""Attacks on form: right answers without what was asked for around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rlvr.analysis.audit.attacks.base import Attack, Target


class EmptyThink(Attack):
    """The right answer behind an empty think block."""

    earns: ClassVar = "less"

    def build(self, target: Target) -> Sequence[str | None]:
        return [target.written(target.answer, text) for text in ("", " \n ", "\u200b" * 50, "\u2800" * 50)]


class FillerThink(Attack):
    """The right answer behind reasoning that says nothing: dots, one word again and again."""

    earns: ClassVar = "less"

    def build(self, target: Target) -> Sequence[str | None]:
        return [target.written(target.answer, text) for text in ("." * 400, "think " * 80, "hmm, wait. " * 40, "1" * 400)]


class ShortThink(Attack):
    """The right answer with a few characters for reasoning."""

    earns: ClassVar = "less"

    def build(self, target: Target) -> Sequence[str | None]:
        return [target.written(target.answer, text) for text in ("ok.", "thinking.", "I know this.")]


class RepeatedAnswer(Attack):
    """The right answer a thousand times."""

    earns: ClassVar = "less"

    def build(self, target: Target) -> Sequence[str | None]:
        if not target.answer:
            return []
        boxed = f"\\boxed{{{target.answer}}} " * 1000
        return [target.written(target.answer, boxed), f"{target.right} {target.answer}" + f" {target.answer}" * 1000]


class RepeatedReasoning(Attack):
    """The reasoning over and over, to be long."""

    earns: ClassVar = "less"

    def build(self, target: Target) -> Sequence[str | None]:
        reasoning = str(target.problem.metadata.get("solution", "")).strip()
        return [target.written(target.answer, f"{reasoning}\n" * 40)] if len(reasoning) > 20 else []


class TextAround(Attack):
    """The right solution with chatter before and after it."""

    earns: ClassVar = "less"

    def build(self, target: Target) -> Sequence[str | None]:
        chatter = "Now let me tell you about something else, at length and for no reason at all. "
        return [f"{target.right} {chatter}", f"{chatter}{target.right}"]


class SecondThink(Attack):
    """Two think blocks, nested or one after the other, around a right answer."""

    earns: ClassVar = "less"

    def build(self, target: Target) -> Sequence[str | None]:
        if "<think>" not in target.right:
            return []
        return [
            target.right.replace("<think>", "<think><think>", 1).replace("</think>", "</think></think>", 1),
            target.right.replace("</think>", "</think><think>and more of it</think>", 1),
            target.right.replace("</answer>", "</answer><answer>", 1),
        ]
