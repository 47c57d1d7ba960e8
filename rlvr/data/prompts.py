"""From questions to what the model is given: template, few-shot examples, chat or plain."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rlvr.config.schema import PromptConfig
from rlvr.errors import ConfigError
from rlvr.types import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PLACE = re.compile(r"\{(question|reasoning|answer|continuation)\}")


def _fill(template: str, **values: str) -> str:
    """Other braces stay as they are, and so do braces in the values."""
    return _PLACE.sub(lambda match: values.get(match[1], match[0]), template)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Renders bare questions into prompts."""

    template: PromptConfig
    examples: tuple[Problem, ...] = ()
    """Few-shot examples, each with a reference solution."""
    chat_tokenizer: PreTrainedTokenizerBase | None = None
    """Set for models with a chat template."""

    def render(self, problem: Problem) -> Problem:
        """The problem with its prompt rendered, and what the prompt opens of the assistant's response as its prefill."""
        t = self.template
        if self.chat_tokenizer is not None:
            prompt = self._chat(problem.prompt) + t.prefill
        else:
            examples = [_fill(t.question, question=each.prompt) + self.solution(each) for each in self.examples]
            parts = [*([t.instruction] if t.instruction else []), *examples, _fill(t.question, question=problem.prompt)]
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
        """The reference solution, written as the prompt asks; or one with another answer or other reasoning."""
        if answer is None:
            answer = str(problem.metadata.get("answer", problem.truth.get("answer", "")))
        if reasoning is None:
            reasoning = str(problem.metadata["solution"])
        rest = reasoning.removeprefix(problem.prompt)
        return _fill(self.template.solution, reasoning=reasoning, answer=answer, continuation=rest)

    def completion(self, problem: Problem, answer: str | None = None, reasoning: str | None = None) -> str:
        """The same as a completion, without what the prompt opens of the response; the data set's own where it has one."""
        if "completion" in problem.metadata:
            return str(problem.metadata["completion"])
        return self.unopened(self.solution(problem, answer, reasoning)).strip()

    def unopened(self, response: str) -> str:
        """A response without what the prompt opens of it. Without a prefill the space before it stays: it may indent code."""
        prefill = self.template.prefill.strip()
        return response.lstrip().removeprefix(prefill) if prefill else response


def check_template(template: PromptConfig) -> None:
    """Errors: `ConfigError` naming the key of the template that cannot be used."""
    answered = ("answer", "reasoning", "continuation")
    for key, needed in (("question", ("question",)), ("chat_question", ("question",)), ("solution", answered)):
        places = [f"{{{each}}}" for each in needed]
        if not any(place in getattr(template, key) for place in places):
            raise ConfigError(f"prompt.{key}={getattr(template, key)!r}: must hold {' or '.join(places)}")
    if template.few_shot < 0:
        raise ConfigError(f"prompt.few_shot={template.few_shot}: must be 0 or more")
