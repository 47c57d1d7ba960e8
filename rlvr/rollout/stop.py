"""Stop strings of completions."""

from __future__ import annotations

import numpy as np

from rlvr.models.policy import Policy


class StopStrings:
    """Finds the token that completes a stop string, however the string is tokenized."""

    def __init__(self, policy: Policy, strings: tuple[str, ...]) -> None:
        self.policy = policy
        self.strings = strings
        self._window = max((len(string.encode()) for string in strings), default=0) + 8  # a token is at least one byte
        self._ends = np.zeros(0, dtype=bool)
        if strings:
            texts = policy.tokenizer.batch_decode([[i] for i in range(policy.model.config.get_text_config().vocab_size)])
            last = {string[-1] for string in strings} | {"\ufffd"}  # the latter: an incomplete character
            self._ends = np.array([any(each in text for each in last) for text in texts])

    def possible(self, tokens: np.ndarray) -> np.ndarray:
        """bool, for each token whether it may be the last of a stop string; rules out most without decoding."""
        return self._ends[tokens] if self.strings else np.zeros(len(tokens), dtype=bool)

    def cut(self, token_ids: np.ndarray) -> str | None:
        """The text up to and including the first stop string, or None without one."""
        tail = self.policy.decode(token_ids[-self._window :])
        if not any(string in tail for string in self.strings):
            return None
        text = self.policy.decode(token_ids)
        ends = [text.find(string) + len(string) for string in self.strings if string in text]
        return text[: min(ends)] if ends else None
