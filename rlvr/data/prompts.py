"""Prompts from questions: template, few-shot examples, chat or plain."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rlvr.config.schema import PromptConfig
from rlvr.errors import ConfigError
from rlvr.types import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PLACEHOLDER = re.compile(r"\{(question|reasoning|answer|continuation)\}")


def _fill(template: str, **values: str) -> str:
    """The template with its placeholders replaced; other braces stay, and so do braces in the values."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Renders bare questions into prompts."""

    template: PromptConfig
    examples: tuple[Problem, ...] = ()
    """Few-shot examples, each with a reference solution."""
    chat_tokenizer: PreTrainedTokenizerBase | None = None
    """Set for models with a chat template."""

    def render(self, problem: Problem) -> Problem:
        """The problem with its prompt rendered, and the beginning of the response that the prompt holds as its prefill."""
        t = self.template
        if self.chat_tokenizer is not None:
            prompt = self._chat(problem.prompt) + t.prefill
        else:
            parts = [t.instruction] if t.instruction else []
            parts += [_fill(t.question, question=each.prompt) + self.solution(each) for each in self.examples]
            parts.append(_fill(t.question, question=problem.prompt))
            prompt = t.separator.join(parts) + t.prefill
        return replace(problem, prompt=prompt, prefill=t.prefill or None)

    def _chat(self, question: str) -> str:
        assert self.chat_tokenizer is not None
        t = self.template
        messages = [{"role": "system", "content": t.instruction}] if t.instruction else []
        for example in self.examples:
            messages.append({"role": "user", "content": _fill(t.chat_question, question=example.prompt)})
            messages.append({"role": "assistant", "content": self.solution(example).strip()})
        messages.append({"role": "user", "content": _fill(t.chat_question, question=question)})
        return str(self.chat_tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def solution(self, problem: Problem, answer: str | None = None, reasoning: str | None = None) -> str:
        """The reference solution, written as the prompt asks; with a different answer or reasoning, if given."""
        if answer is None:
            answer = str(problem.metadata.get("answer", problem.truth.get("answer", "")))
        if reasoning is None:
            reasoning = str(problem.metadata["solution"])
        rest = reasoning.removeprefix(problem.prompt)
        return _fill(self.template.solution, reasoning=reasoning, answer=answer, continuation=rest)

    def completion(self, problem: Problem, answer: str | None = None, reasoning: str | None = None) -> str:
        """`solution` as a completion, without the prefill; the data set's own reference completion, if it has one."""
        if "completion" in problem.metadata:
            return str(problem.metadata["completion"])
        return self.unopened(self.solution(problem, answer, reasoning)).strip()

    def unopened(self, response: str) -> str:
        """A response without the prefill. If there is none, leading space stays: it may indent code."""
        prefill = self.template.prefill.strip()
        return response.lstrip().removeprefix(prefill) if prefill else response


def check_template(template: PromptConfig) -> None:
    """Errors: `ConfigError` naming the key that cannot be used."""
    answered = ("answer", "reasoning", "continuation")
    for key, needed in (("question", ("question",)), ("chat_question", ("question",)), ("solution", answered)):
        placeholders = [f"{{{each}}}" for each in needed]
        if not any(each in getattr(template, key) for each in placeholders):
            raise ConfigError(f"prompt.{key}={getattr(template, key)!r}: must hold {' or '.join(placeholders)}")
