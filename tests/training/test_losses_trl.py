"""Loss, gradient and advantages agree with TRL's own on the same rollouts.

TRL's trainer makes its padded batch from the rollouts (masks, advantages) and computes its loss; ours runs one rollout at a
time, without padding, and weighs packed tokens. Both start from one small float32 model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

import rlvr
from conftest import choices, needs
from rlvr.config.compose import compose
from rlvr.config.schema import AlgoConfig
from rlvr.training import advantages, losses
from rlvr.training.advantages import group_advantages
from rlvr.training.kl import kl_estimate

pytestmark = [
    pytest.mark.slow,
    needs(find_spec("trl") is not None, "pip install trl"),
    pytest.mark.filterwarnings("ignore:You are using 'rollout_func':UserWarning"),
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

TOKENIZER = AutoTokenizer.from_pretrained(Path(rlvr.__file__).parent / "assets" / "tiny")
EOS: int = TOKENIZER.eos_token_id
MAX_LENGTH, G = 8, 4
TRL_EPS = 1e-4

# Two problems, with prompts of different lengths; two rollouts hit the limit.
PROMPTS = [[11, 12, 13], [14, 15, 16, 17, 18]]
COMPLETIONS = [
    [21, 22, EOS],
    [23, EOS],
    [EOS],
    [24, 25, 26, 27, 28, 29, 30, EOS],
    [31, 32, 33, EOS],
    [34, 35, 36, 37, 38, 39, 40, 41],
    [42, 43, 44, 45, 46, EOS],
    [47, 48, 49, 50, 51, 52, 53, 54],
]
TRUNCATED = [completion[-1] != EOS for completion in COMPLETIONS]
LENGTHS = [len(completion) for completion in COMPLETIONS]
ROLLOUT_N = torch.arange(len(LENGTHS)).repeat_interleave(torch.tensor(LENGTHS))
REWARDS: list[float | None] = [1.1, 0.1, 0.0, 1.1, 0.0, 1.0, 0.0, 0.3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One loss, as we and as TRL name it."""

    algo: str
    """Name of our configuration file."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Our other options."""
    trl: dict[str, Any]
    """Fields of TRL's configuration."""
    noise: float
    """Standard deviation of old log-probabilities about the new ones (nats)."""

    @property
    def ours(self) -> AlgoConfig:
        return replace(named(self.algo), deviation="sample", max_new_tokens=MAX_LENGTH, **self.changes)


@cache
def named(algo: str) -> AlgoConfig:
    return compose([f"algo={algo}"]).algo


# The files as they are.
NAMED = [
    Case(algo="grpo", trl={"loss_type": "grpo"}, noise=0.3),
    Case(algo="dr_grpo", trl={"loss_type": "dr_grpo", "scale_rewards": "none"}, noise=0.3),
    Case(
        algo="dapo",
        trl={"loss_type": "dapo", "epsilon_high": 0.28, "mask_truncated_completions": True},
        noise=0.3,
    ),
    Case(
        algo="gspo",
        trl={"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
        noise=1e-3,
    ),
    # TRL's epsilon_high of this loss is the cap itself, ours the distance from 1.
    Case(algo="cispo", trl={"loss_type": "cispo", "epsilon_high": 5.0}, noise=2.0),
]
# Every loss with either ratio, a KL penalty, and clips that differ from each other and from the files'.
GRID = [
    Case(
        algo=algo,
        changes={"ratio": ratio, "clip_low": 1.0 if algo == "cispo" else 0.1, "clip_high": 0.3, "beta": 0.2},
        trl={
            "loss_type": algo,
            "importance_sampling_level": ratio,
            "epsilon": 0.1,
            "epsilon_high": 1.3 if algo == "cispo" else 0.3,
            "beta": 0.2,
            "use_bias_correction_kl": False,
            "scale_rewards": "none" if algo == "dr_grpo" else "group",
            "mask_truncated_completions": algo == "dapo",
        },
        noise=0.4,
    )
    for algo in ("grpo", "dr_grpo", "dapo", "cispo")
    for ratio in ("token", "sequence")
]


@pytest.fixture(autouse=True)
def same_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advantages, "EPS", TRL_EPS)


@pytest.fixture(autouse=True)
def no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL reports every trainer over the network, except where this is set."""
    monkeypatch.setenv("CI", "true")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights on disk, where TRL wants to load its reference from."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.3,
    )
    folder = tmp_path_factory.mktemp("model")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def trainer_and_batch(checkpoint: Path, options: dict[str, Any], rewards: list[float | None]) -> tuple[Any, dict[str, Tensor]]:
    """TRL's trainer, and what it makes of the rollouts: masks, advantages, the number of tokens."""
    import trl

    prompts = [PROMPTS[i // G] for i in range(len(COMPLETIONS))]
    sampled = {"prompt_ids": prompts, "completion_ids": COMPLETIONS, "logprobs": [[0.0] * n for n in LENGTHS]}
    trainer = trl.GRPOTrainer(
        model=Qwen2ForCausalLM.from_pretrained(checkpoint),
        reward_funcs=lambda completions, **_: rewards,
        rollout_func=lambda *_: dict(sampled),
        processing_class=TOKENIZER,
        train_dataset=Dataset.from_dict({"prompt": ["?"] * len(COMPLETIONS)}),
        args=trl.GRPOConfig(
            output_dir=str(checkpoint),
            use_cpu=True,
            bf16=False,
            report_to="none",
            per_device_train_batch_size=len(COMPLETIONS),
            num_generations=G,
            max_completion_length=MAX_LENGTH,
            **options,
        ),
    )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1  # which its training loop sets
    return trainer, trainer._generate_and_score_completions([{"prompt": "?"}] * len(COMPLETIONS))


def loss_and_gradient_of_trl(checkpoint: Path, case: Case, old_N: Tensor, reference_N: Tensor) -> tuple[float, Tensor]:
    """Of its model, by all parameters in one vector."""
    trainer, batch = trainer_and_batch(checkpoint, case.trl, REWARDS)
    batch["old_per_token_logps"] = pad_sequence(list(old_N.split(LENGTHS)), batch_first=True)
    batch["ref_per_token_logps"] = pad_sequence(list(reference_N.split(LENGTHS)), batch_first=True)
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return float(loss.detach()), gradient(trainer.model)


def gradient(model: torch.nn.Module) -> Tensor:
    parts = [parameter.grad for parameter in model.parameters()]
    return torch.cat([part.flatten() for part in parts if part is not None])


def logprobs_of(model: Qwen2ForCausalLM) -> Tensor:
    """logprobs_N, from one plain forward for each rollout."""
    logprobs = []
    for i, completion in enumerate(COMPLETIONS):
        prompt = PROMPTS[i // G]
        logits_TV = model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        logprobs.append(logits_TV.log_softmax(dim=-1).gather(1, torch.tensor(completion)[:, None])[:, 0])
    return torch.cat(logprobs)


def our_loss(algo: AlgoConfig, logprobs_N: Tensor, old_N: Tensor, reference_N: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of the whole batch, and which of the tokens that take part in it were clipped."""
    advantages_PG = group_advantages(torch.tensor(REWARDS).view(-1, G), scaling=algo.scaling, deviation=algo.deviation)
    loss_N, clipped_N = losses.policy_loss(
        logprobs_N,
        old_N,
        advantages_R=advantages_PG.flatten(),
        rollout_N=ROLLOUT_N,
        ratio=algo.ratio,
        surrogate=algo.surrogate,
        clip_low=algo.clip_low,
        clip_high=algo.clip_high,
    )
    loss_N = loss_N + algo.beta * kl_estimate(logprobs_N, reference_N, estimator=algo.kl)
    kept_R = [not (algo.mask_truncated and truncated) for truncated in TRUNCATED]
    lengths = [length for length, kept in zip(LENGTHS, kept_R, strict=True) if kept]
    weight_R = losses.loss_weights(
        torch.tensor(LENGTHS),
        aggregation=algo.aggregation,
        n_rollouts=len(lengths),
        n_tokens=sum(lengths),
        max_length=algo.max_new_tokens,
    )
    weight_N = (weight_R.float() * torch.tensor(kept_R))[ROLLOUT_N]
    return (loss_N * weight_N).sum(), clipped_N[torch.tensor(kept_R)[ROLLOUT_N]]


@pytest.mark.parametrize("case", [*NAMED, *GRID], ids=lambda case: f"{case.algo}-{case.changes.get('ratio', 'as_is')}")
def test_loss_and_gradient_agree(checkpoint: Path, case: Case) -> None:
    model = Qwen2ForCausalLM.from_pretrained(checkpoint)
    logprobs_N = logprobs_of(model)
    torch.manual_seed(1)
    old_N = logprobs_N.detach() + case.noise * torch.randn_like(logprobs_N)
    reference_N = logprobs_N.detach() + 0.5 * torch.randn_like(logprobs_N)
    loss, clipped = our_loss(case.ours, logprobs_N, old_N, reference_N)
    loss.backward()
    assert 0 < clipped.sum() < len(clipped), "the case must show both what is clipped and what is not"

    theirs, their_gradient = loss_and_gradient_of_trl(checkpoint, case, old_N, reference_N)
    assert float(loss.detach()) == pytest.approx(theirs, rel=1e-5, abs=1e-6)  # terms of 1 may cancel
    assert (gradient(model) - their_gradient).abs().max() <= 1e-5 * their_gradient.abs().max()


def test_k2_has_the_gradient_of_the_penalty_that_trl_corrects(checkpoint: Path) -> None:
    """On-policy, k3 times the ratio (DeepSeek-V3.2, TRL's default) has the gradient of k2, token by token."""
    case = Case(algo="grpo", changes={"beta": 0.2, "kl": "k2"}, trl={"loss_type": "grpo", "beta": 0.2}, noise=0.0)
    model = Qwen2ForCausalLM.from_pretrained(checkpoint)
    logprobs_N = logprobs_of(model)
    torch.manual_seed(1)
    reference_N = logprobs_N.detach() + 0.5 * torch.randn_like(logprobs_N)
    our_loss(case.ours, logprobs_N, logprobs_N.detach(), reference_N)[0].backward()
    _, their_gradient = loss_and_gradient_of_trl(checkpoint, case, logprobs_N.detach(), reference_N)
    assert (gradient(model) - their_gradient).abs().max() <= 1e-5 * their_gradient.abs().max()


def test_rollouts_left_out_do_not_thin_the_mean(checkpoint: Path) -> None:
    """Where the mean is over rollouts, TRL divides by the truncated ones too; ours is the mean of those that take part."""
    options = {"loss_type": "grpo", "mask_truncated_completions": True}
    case = Case(algo="grpo", changes={"mask_truncated": True}, trl=options, noise=0.0)
    model = Qwen2ForCausalLM.from_pretrained(checkpoint)
    with torch.no_grad():
        logprobs_N = logprobs_of(model)
        loss, _ = our_loss(case.ours, logprobs_N, logprobs_N - 0.1, logprobs_N)
    theirs, _ = loss_and_gradient_of_trl(checkpoint, case, logprobs_N - 0.1, logprobs_N)
    assert float(loss) * TRUNCATED.count(False) / len(TRUNCATED) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("scaling", choices("scaling"))
@pytest.mark.parametrize("masked", [[], [1, 4], [0, 1, 2]], ids=lambda masked: f"masked={masked}")
def test_advantages_agree(checkpoint: Path, scaling: str, masked: list[int]) -> None:
    rewards = [None if i in masked else reward for i, reward in enumerate(REWARDS)]
    _, batch = trainer_and_batch(checkpoint, {"scale_rewards": scaling}, rewards)
    rewards_PG = torch.tensor([float("nan") if reward is None else reward for reward in rewards]).view(-1, G)
    ours = {each: group_advantages(rewards_PG, scaling=scaling, deviation=each) for each in choices("deviation")}
    assert ours["sample"].flatten().tolist() == pytest.approx(batch["advantages"].tolist(), abs=1e-6)
    if scaling != "none":
        assert (ours["population"].abs() > ours["sample"].abs()).any()
