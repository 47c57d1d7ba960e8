"""One batch of judged rollouts in, updated weights out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from rlvr import grpo
from rlvr.batch import MicroBatch, judged, micro_batches
from rlvr.config import AlgoConfig
from rlvr.policy import Policy, token_logprobs
from rlvr.types import Group, RunStopped

METRICS = ("policy/loss", "policy/entropy", "policy/kl", "policy/clip_fraction", "rollout/logprob_mismatch")


class Learner:
    """Holds the optimizer; `update` is the only thing that changes weights.

    Gradients are summed over micro-batches and processes with token weights that count the whole batch (`grpo.loss_weight`),
    so how a batch is split changes nothing but rounding.
    """

    def __init__(self, policy: Policy, algo: AlgoConfig, accelerator: Accelerator, reference: Policy | None) -> None:
        assert (reference is None) == (algo.beta == 0.0)
        self._policy, self._algo, self._accelerator = policy, algo, accelerator
        optimizer = torch.optim.AdamW(policy.model.parameters(), lr=algo.learning_rate, weight_decay=algo.weight_decay)
        warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, (n + 1) / max(1, algo.warmup_steps)))
        self._model, self._optimizer = accelerator.prepare(policy.model, optimizer)
        self._warmup = warmup
        self._reference = None if reference is None else reference.model.to(accelerator.device).requires_grad_(False)

    @property
    def learning_rate(self) -> float:
        """Of the next update."""
        return float(self._warmup.get_last_lr()[0])

    def update(self, groups: Sequence[Group]) -> dict[str, float]:
        """Train on the rollouts that have a reward, `updates_per_batch` times; returns metrics over all processes.

        A batch that teaches nothing (no gradient at all) leaves the weights as they are, whatever the optimizer's momentum.
        """
        algo, device = self._algo, self._accelerator.device
        batches = micro_batches(groups, size=algo.micro_batch, pad_id=self._policy.pad_id, device=device)
        lengths = [len(rollout.token_ids) for _, rollout in judged(groups)]
        n_rollouts, n_tokens = self._sum(torch.tensor([len(lengths), sum(lengths)])).tolist()
        self._model.train()  # gradient checkpointing works in training mode only
        fixed: list[dict[str, Tensor]] = [{} for _ in batches]
        if algo.updates_per_batch > 1:
            fixed = [{"old": self._no_grad_logprobs(self._model, batch)} for batch in batches]
        for batch, tensors in zip(batches, fixed, strict=True):
            if self._reference is not None:
                tensors["reference"] = self._no_grad_logprobs(self._reference, batch)
        sums, grad_norm = torch.zeros(len(METRICS), dtype=torch.float64), 0.0
        for _ in range(algo.updates_per_batch if n_rollouts else 0):
            with self._local_gradients():
                for batch, tensors in zip(batches, fixed, strict=True):
                    loss, parts = self._loss(batch, n_rollouts=n_rollouts, n_tokens=n_tokens, **tensors)
                    self._accelerator.backward(loss)
                    sums += parts
            grad_norm = self._step()
        self._model.eval()
        loss_sum, *token_sums = self._sum(sums).tolist()
        per_token = [value / max(1, n_tokens * algo.updates_per_batch) for value in token_sums]
        return {
            **dict(zip(METRICS, [loss_sum / algo.updates_per_batch, *per_token], strict=True)),
            "policy/grad_norm": grad_norm,
        }

    def _loss(
        self,
        batch: MicroBatch,
        *,
        n_rollouts: int,
        n_tokens: int,
        old: Tensor | None = None,
        reference: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """This micro-batch's part of the loss, and of the sums behind METRICS."""
        algo, mask_BT = self._algo, batch.completion_mask_BT
        logprobs_BT, entropy_BT = token_logprobs(self._model, batch, temperature=algo.temperature)
        # On-policy: the policy that sampled is the policy that is trained, so the ratio is 1 and carries the gradient.
        old_BT = logprobs_BT.detach() if old is None else old
        loss_BT, clipped_BT = grpo.policy_loss(
            logprobs_BT,
            old_BT,
            batch.advantages_B.to(logprobs_BT.dtype),
            clip_low=algo.clip_low,
            clip_high=algo.clip_high,
        )
        kl_BT = torch.zeros_like(loss_BT) if reference is None else grpo.kl_k3(logprobs_BT, reference)
        if reference is not None:
            loss_BT = loss_BT + algo.beta * kl_BT
        weight_B = torch.tensor(
            [
                grpo.loss_weight(
                    length=length,
                    aggregation=algo.aggregation,
                    n_rollouts=n_rollouts,
                    n_tokens=n_tokens,
                    max_length=algo.max_new_tokens,
                )
                for length in batch.lengths_B.tolist()
            ],
            dtype=loss_BT.dtype,
            device=loss_BT.device,
        )
        loss = (loss_BT * mask_BT * weight_B[:, None]).sum()
        mismatch_BT = (logprobs_BT.detach() - batch.sampling_logprobs_BT).abs()
        summed = [(each.detach() * mask_BT).sum() for each in (entropy_BT, kl_BT, clipped_BT, mismatch_BT)]
        return loss, torch.stack([loss.detach(), *summed]).double().cpu()

    @torch.no_grad()
    def _no_grad_logprobs(self, model: torch.nn.Module, batch: MicroBatch) -> Tensor:
        return token_logprobs(model, batch, temperature=self._algo.temperature)[0]

    @contextmanager
    def _local_gradients(self) -> Iterator[None]:
        """Backward passes keep to this process: processes may hold unequal numbers of micro-batches, `_step` adds them up."""
        with self._accelerator.no_sync(self._model):
            yield

    def _step(self) -> float:
        if self._accelerator.num_processes > 1:
            for parameter in self._policy.model.parameters():
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = self._sum(gradient)
        scaler: Any = self._accelerator.scaler  # of fp16 only: it leaves out steps whose gradient overflowed
        clipped: Any = self._accelerator.clip_grad_norm_(self._model.parameters(), self._algo.max_grad_norm)
        norm = float(clipped)
        if scaler is None and not math.isfinite(norm):
            raise RunStopped(f"the gradient is {norm}; try a lower algo.learning_rate")
        if norm == 0.0 and scaler is not None:
            scaler.update()  # it has been told of the gradient, and must not be told twice
        elif norm != 0.0:
            self._optimizer.step()
            self._warmup.step()
        self._optimizer.zero_grad()
        return norm

    def _sum(self, tensor: Tensor) -> Tensor:
        """Over all processes."""
        reduced: Any = self._accelerator.reduce(tensor.to(self._accelerator.device), reduction="sum")
        return reduced
