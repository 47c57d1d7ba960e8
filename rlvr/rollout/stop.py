"""When a completion ends: an end-of-sequence token, a stop string, the token limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlvr.models.policy import Policy


class StopStrings:
    """Finds the token that completes a stop string, however the string is split into tokens."""

    def __init__(self, policy: Policy, strings: Sequence[str]) -> None:
        self._policy, self._strings = policy, tuple(strings)
        self._window = max((len(string.encode()) for string in strings), default=0) + 8  # a token is a byte at least
        self._ends = np.zeros(0, dtype=bool)
        if strings:
            texts = policy.tokenizer.batch_decode([[i] for i in range(policy.model.config.get_text_config().vocab_size)])
            last = {string[-1] for string in strings} | {"\ufffd"}  # the latter: part of a character
            self._ends = np.array([any(each in text for each in last) for text in texts])

    def possible(self, tokens: np.ndarray) -> np.ndarray:
        """bool, where a token may be the last of a stop string; most are ruled out without decoding anything."""
        return self._ends[tokens] if self._strings else np.zeros(len(tokens), dtype=bool)

    def cut(self, token_ids: Sequence[int]) -> str | None:
        """The text up to and with the first stop string, or None if the tokens hold none."""
        tail = self._policy.decode(token_ids[-self._window :])
        if not any(string in tail for string in self._strings):
            return None
        text = self._policy.decode(token_ids)
        ends = [at + len(string) for string in self._strings if (at := text.find(string)) >= 0]
        return text[: min(ends)] if ends else None
