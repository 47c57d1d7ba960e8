"""The worked example of the design: text to verdicts to rewards to advantages to the sign of every token's gradient."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from conftest import group_of
from rlvr import Problem, load_rules
from rlvr.batch import micro_batches
from rlvr.config import AlgoConfig
from rlvr.grpo import policy_loss
from rlvr.learner import Learner
from rlvr.policy import Policy, token_logprobs

PROBLEM = Problem(
    id="quadratic",
    prompt="Solve x^2 - 5x + 6 = 0. Put the smaller root in \\boxed{}.\n",
    truth={"answer": "2"},
)
TEXTS = [
    "<think>I factor: (x-2)(x-3) = 0, so x = 2 or x = 3.</think><answer>\\boxed{2}</answer>",
    "<think>By the quadratic formula x = (5 + 1) / 2.</think><answer>\\boxed{3}</answer>",
    "The smaller root is 2.",
    "<think>Sum 5, product 6: the roots are 2 and 3.</think><answer>\\boxed{2}</answer>",
]


def test_text_to_reward_to_advantage(tiny: Policy) -> None:
    pack = load_rules("r1_format+answer")
    group = group_of(tiny, PROBLEM, TEXTS, pack)
    scores = [[r.verdicts["format"].score, r.verdicts["answer"].score] for r in group.rollouts]
    assert scores == [[1, 1], [1, 0], [0, 0], [1, 1]]
    assert [r.reward for r in group.rollouts] == [1.1, 0.1, 0.0, 1.1]
    assert [f"{r.advantage:+.3f}" for r in group.rollouts] == ["+0.998", "-0.903", "-1.093", "+0.998"]
    assert group.rollouts[2].verdicts["answer"].reason == "no_answer"
    assert group.rollouts[1].verdicts["answer"].reason == "wrong"


def test_sign_of_every_tokens_gradient(tiny: Policy) -> None:
    """A step down the gradient makes every token of a good rollout likelier and of a bad one rarer, padding nothing."""
    group = group_of(tiny, PROBLEM, TEXTS, load_rules("r1_format+answer"))
    (batch,) = micro_batches([group], size=4, pad_id=tiny.pad_id, device=torch.device("cpu"))
    logprobs_BT, _ = token_logprobs(tiny.model, batch, temperature=1.0)
    logprobs_BT.retain_grad()
    loss_BT, _ = policy_loss(logprobs_BT, logprobs_BT.detach(), batch.advantages_B, clip_low=0.2, clip_high=0.2)
    (loss_BT * batch.completion_mask_BT).sum().backward()
    assert logprobs_BT.grad is not None
    expected_BT = -torch.sign(batch.advantages_B)[:, None] * batch.completion_mask_BT
    assert torch.equal(torch.sign(logprobs_BT.grad), expected_BT)
    assert sorted(batch.advantages_B.sign().tolist()) == [-1, -1, 1, 1]


def test_an_update_moves_probabilities_the_way_the_advantages_say(tiny: Policy) -> None:
    group = group_of(tiny, PROBLEM, TEXTS, load_rules("r1_format+answer"))
    (batch,) = micro_batches([group], size=4, pad_id=tiny.pad_id, device=torch.device("cpu"))
    with torch.no_grad():
        before_B = token_logprobs(tiny.model, batch, temperature=1.0)[0].sum(dim=1)
    Learner(tiny, AlgoConfig(learning_rate=1e-4, warmup_steps=0), Accelerator(cpu=True), None).update([group])
    with torch.no_grad():
        after_B = token_logprobs(tiny.model, batch, temperature=1.0)[0].sum(dim=1)
    good_B = batch.advantages_B > 0
    assert (after_B - before_B)[good_B].min() > (after_B - before_B)[~good_B].max()
