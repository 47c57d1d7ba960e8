"""What the nouns refuse, and that nobody can change what a rollout holds."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rlvr.types import Rollout, Verdict


def rollout(**given: Any) -> Rollout:
    return Rollout(**{"token_ids": [5, 6, 7], "logprobs": [-0.5, -0.25, -1.0], "text": "x", "finish_reason": "stop", **given})


def test_sequences_become_arrays_that_cannot_change() -> None:
    mine = np.array([True, False, True])
    made = rollout(loss_mask=mine, entropies=[0.1, 0.2, 0.3])
    assert (made.token_ids.dtype, made.token_ids.tolist()) == (np.int32, [5, 6, 7])
    assert (made.n_trained, rollout().n_trained) == (2, 3)
    for array in (made.token_ids, made.logprobs, made.entropies, made.loss_mask):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    mine[1] = True
    assert mine.all(), "the caller's array stays writable"


def test_a_copy_shares_its_arrays_and_checks_what_is_new() -> None:
    made = rollout()
    scored = replace(made, reward=1.0)
    assert scored.token_ids is made.token_ids
    assert replace(made, logprobs=(-1, -2, -3)).logprobs.tolist() == [-1, -2, -3]
    with pytest.raises(ValueError, match=r"logprobs has the shape \(2,\), token_ids 3 tokens"):
        replace(made, logprobs=[-1.0, -2.0])
    again = pickle.loads(pickle.dumps(scored))
    assert (again.reward, again.token_ids.tolist()) == (1.0, [5, 6, 7])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"logprobs": [-0.5]}, r"logprobs has the shape \(1,\), token_ids 3 tokens"),
        ({"entropies": [[0.1, 0.2, 0.3]]}, r"entropies has the shape \(1, 3\)"),
        ({"loss_mask": [False] * 3}, "loss_mask: no token counts in the loss"),
    ],
)
def test_what_a_rollout_cannot_be(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rollout(**given)


def test_what_others_hand_over_read_only_is_checked_all_the_same() -> None:
    """As `frombuffer` and Arrow give it; a mask of integers would pick tokens by their index."""
    made = rollout(loss_mask=np.frombuffer(bytes([1, 0, 1]), np.uint8), token_ids=np.frombuffer(b"\5\6\7", np.uint8))
    assert made.token_ids[made.loss_mask].tolist() == [5, 7]
    assert rollout(logprobs=[0, -1, -2]).logprobs.dtype == np.float64
    with pytest.raises(ValueError, match="no token counts"):
        rollout(loss_mask=np.broadcast_to(np.array(False), 3))
    with pytest.raises(ValueError, match=r"logprobs has the shape \(3, 2\)"):
        rollout(logprobs=np.broadcast_to(0.5, (3, 2)))


def test_without_tokens_there_is_nothing_to_count() -> None:
    assert rollout(token_ids=[], logprobs=[]).n_trained == 0


@pytest.mark.parametrize("span", [(-1, 2), (3, 2)])
def test_a_span_has_a_start_and_an_end(span: tuple[int, int]) -> None:
    assert Verdict.scored(1.0, "correct", "2", span=(2, 2)).span == (2, 2)
    with pytest.raises(ValueError, match="a span is a start and an end"):
        Verdict.scored(1.0, "correct", "2", span=span)
