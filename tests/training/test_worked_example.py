"""The worked example of the design: text to verdicts to rewards to advantages to the sign of every token's gradient."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from random_models import plain_logprobs

from conftest import group_of
from rlvr import Problem, load_rules
from rlvr.config.schema import AlgoConfig
from rlvr.models.policy import Policy
from rlvr.models.prefix_tree.forward import TreeForward
from rlvr.models.prefix_tree.layout import schedule_passes
from rlvr.training.batch import micro_batch, taking_part, training_tree
from rlvr.training.learner import Learner
from rlvr.training.losses import policy_loss

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
    """A step down the gradient makes every token of a good rollout likelier and of a bad one rarer."""
    group = group_of(tiny, PROBLEM, TEXTS, load_rules("r1_format+answer"))
    training = training_tree(taking_part([group]))
    (step,) = schedule_passes(training.tree, budget=10_000)
    device = torch.device("cpu")
    hidden, last = TreeForward(tiny.hidden, training.tree, device=device).hidden(step)
    batch = micro_batch(training, step, last, device=device)
    assert batch is not None
    assert batch.targets_N.tolist() == [token for rollout in group.rollouts for token in rollout.token_ids]
    logprobs_N, _ = tiny.logprobs_and_entropies(hidden[batch.rows_N], batch.targets_N, temperature=1.0)
    logprobs_N.retain_grad()
    loss_N, _ = policy_loss(
        logprobs_N,
        logprobs_N.detach(),
        advantages_R=batch.advantages_R,
        rollout_N=batch.rollout_N,
        ratio="token",
        surrogate="clip",
        clip_low=0.2,
        clip_high=0.2,
    )
    loss_N.sum().backward()
    assert logprobs_N.grad is not None
    assert torch.equal(torch.sign(logprobs_N.grad), -torch.sign(batch.advantages_R)[batch.rollout_N])
    assert sorted(batch.advantages_R.sign().tolist()) == [-1, -1, 1, 1]


def test_an_update_moves_probabilities_the_way_the_advantages_say(tiny: Policy) -> None:
    group = group_of(tiny, PROBLEM, TEXTS, load_rules("r1_format+answer"))

    @torch.no_grad()
    def logprob_G() -> torch.Tensor:
        return torch.stack([plain_logprobs(tiny.model, group, rollout).sum() for rollout in group.rollouts])

    before_G = logprob_G()
    Learner(tiny, AlgoConfig(learning_rate=1e-4, warmup_steps=0), Accelerator(cpu=True), None).update([group])
    change_G = logprob_G() - before_G
    good_G = torch.tensor([rollout.advantage > 0 for rollout in group.rollouts])
    assert change_G[good_G].min() > change_G[~good_G].max()
