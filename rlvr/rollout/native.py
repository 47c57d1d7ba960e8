"""Sampling with transformers: prompts encoded once a problem, the cache shared out to the group, finished rollouts leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from rlvr.policy import Policy
from rlvr.rollout.engine import OnFinished, RolloutEngine, Sampling, noise
from rlvr.types import Group, Problem, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeEngine(RolloutEngine):
    """Samples on the model that is trained, in the process that trains it."""

    max_batch: int = 128
    """Rollouts sampled side by side (at least one group); bounds the memory of the key-value cache."""

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise ValueError(f"max_batch={self.max_batch}: must be at least 1")

    @torch.inference_mode()
    def sample(
        self, policy: Policy, problems: Sequence[Problem], sampling: Sampling, *, on_finished: OnFinished | None = None
    ) -> list[Group]:
        policy.model.eval()
        prompts = [policy.encode(problem.prompt) for problem in problems]
        per_chunk = max(1, self.max_batch // sampling.group_size)
        groups: list[Group] = []
        for at in range(0, len(problems), per_chunk):
            chunk = slice(at, at + per_chunk)
            groups += _sample_chunk(policy, problems[chunk], prompts[chunk], sampling, on_finished)
        return groups


def _sample_chunk(
    policy: Policy,
    problems: Sequence[Problem],
    prompts: Sequence[tuple[int, ...]],
    sampling: Sampling,
    on_finished: OnFinished | None,
) -> list[Group]:
    G = sampling.group_size
    uniforms_BT = None
    if sampling.temperature > 0:
        uniforms_BT = np.stack([noise(sampling, problem.id, g) for problem in problems for g in range(G)])
    decoding = _Decoding.begin(policy, prompts, sampling, uniforms_BT)
    rollouts: dict[int, Rollout] = {}
    while True:
        for row in decoding.choose():
            rollouts[row] = _rollout(policy, decoding.ids[row], decoding.logprobs[row])
            if on_finished is not None:
                on_finished(problems[row // G], row % G, rollouts[row])
        if not decoding.rows.numel():
            break
        decoding.advance()
    return [
        Group(problem=problem, prompt_ids=prompt, rollouts=tuple(rollouts[p * G + g] for g in range(G)))
        for p, (problem, prompt) in enumerate(zip(problems, prompts, strict=True))
    ]


def _rollout(policy: Policy, ids: list[int], logprobs: list[float]) -> Rollout:
    return Rollout(
        token_ids=tuple(ids),
        logprobs=tuple(logprobs),
        text=policy.decode(ids),
        finish_reason="stop" if ids[-1] in policy.eos_ids else "length",
    )


@dataclass(slots=True, kw_only=True)
class _Decoding:
    """The rollouts of a chunk while they are being sampled. b: those still running, in `rows` of B."""

    policy: Policy
    sampling: Sampling
    uniforms_BT: Tensor | None
    cache: DynamicCache
    attention_mask_bL: Tensor
    logits_bV: Tensor
    rows: Tensor
    """int64 [b], which rollout each running row is."""
    positions_b: Tensor
    """int64, position of the next token."""
    token_b: Tensor
    """int64, the last token, which the model has not seen yet."""
    eos: Tensor
    step: int = 0
    ids: list[list[int]] = field(default_factory=list)
    logprobs: list[list[float]] = field(default_factory=list)

    @classmethod
    def begin(
        cls, policy: Policy, prompts: Sequence[tuple[int, ...]], sampling: Sampling, uniforms_BT: np.ndarray | None
    ) -> _Decoding:
        device = policy.model.device
        P, S, G = len(prompts), max(map(len, prompts)), sampling.group_size
        ids_PS = torch.full((P, S), policy.pad_id)
        mask_PS = torch.zeros((P, S), dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            ids_PS[row, S - len(prompt) :] = torch.tensor(prompt)
            mask_PS[row, S - len(prompt) :] = 1
        ids_PS, mask_PS = ids_PS.to(device), mask_PS.to(device)
        cache = DynamicCache(config=policy.model.config)
        positions_PS = (mask_PS.cumsum(dim=1) - 1).clamp(min=0)
        logits_PV = policy.model(
            input_ids=ids_PS,
            attention_mask=mask_PS,
            position_ids=positions_PS,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        cache.batch_repeat_interleave(G)
        return cls(
            policy=policy,
            sampling=sampling,
            uniforms_BT=None if uniforms_BT is None else torch.from_numpy(uniforms_BT).to(device),
            cache=cache,
            attention_mask_bL=mask_PS.repeat_interleave(G, dim=0),
            logits_bV=logits_PV.repeat_interleave(G, dim=0),
            rows=torch.arange(P * G, device=device),
            positions_b=mask_PS.sum(dim=1).repeat_interleave(G),
            token_b=ids_PS[:, -1].repeat_interleave(G),
            eos=torch.tensor(policy.eos_ids, device=device),
            ids=[[] for _ in range(P * G)],
            logprobs=[[] for _ in range(P * G)],
        )

    def choose(self) -> list[int]:
        """Sample one token for every running rollout; those that end leave, and their rows are returned."""
        token_b, logprob_b = self._choose()
        rows = self.rows.tolist()
        for row, token, logprob in zip(rows, token_b.tolist(), logprob_b.tolist(), strict=True):
            self.ids[row].append(token)
            self.logprobs[row].append(logprob)
        self.step += 1
        running = ~torch.isin(token_b, self.eos)
        if self.step == self.sampling.max_new_tokens:
            running = torch.zeros_like(running)
        self.token_b = token_b
        if running.all():
            return []
        self.rows, self.positions_b, self.token_b = self.rows[running], self.positions_b[running], token_b[running]
        self.attention_mask_bL = self.attention_mask_bL[running]
        if self.rows.numel():
            self.cache.batch_select_indices(running.nonzero().squeeze(1))
        return [row for row, runs in zip(rows, running.tolist(), strict=True) if not runs]

    def advance(self) -> None:
        """Put the tokens of the running rollouts through the model."""
        self.attention_mask_bL = torch.cat([self.attention_mask_bL, torch.ones_like(self.token_b)[:, None]], dim=1)
        self.logits_bV = self.policy.model(
            input_ids=self.token_b[:, None],
            attention_mask=self.attention_mask_bL,
            position_ids=self.positions_b[:, None],
            past_key_values=self.cache,
            use_cache=True,
        ).logits[:, -1]
        self.positions_b = self.positions_b + 1

    def _choose(self) -> tuple[Tensor, Tensor]:
        """Next tokens and their log-probabilities, by inversion of the distribution function at the rollout's own noise."""
        logits_bV = self.logits_bV.to(torch.promote_types(self.logits_bV.dtype, torch.float32))
        if self.uniforms_BT is None:
            logprobs_bV = logits_bV.log_softmax(dim=-1)
            token_b = logprobs_bV.argmax(dim=-1)
        else:
            logprobs_bV = (logits_bV / self.sampling.temperature).log_softmax(dim=-1)
            # In double precision: over a large vocabulary a float32 sum drifts by more than the rare tokens' probabilities.
            cumulative_bV = logprobs_bV.double().exp().cumsum(dim=-1)
            threshold_b = self.uniforms_BT[self.rows, self.step] * cumulative_bV[:, -1]
            token_b = torch.searchsorted(cumulative_bV, threshold_b[:, None], right=True).squeeze(1)
            token_b = token_b.clamp(max=logits_bV.shape[-1] - 1)
        return token_b, logprobs_bV.gather(-1, token_b[:, None]).squeeze(1)
