"""Policy updates: one batch of scored rollouts in, updated weights out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from rlvr.config.schema import AlgoConfig
from rlvr.errors import RunStopped
from rlvr.models.lora import adapters_off
from rlvr.models.policy import Policy
from rlvr.models.prefix_tree.forward import TreeForward
from rlvr.models.prefix_tree.layout import Pass, schedule_passes
from rlvr.parallel.collectives import n_processes, summed
from rlvr.training import losses
from rlvr.training.batch import MicroBatch, TrainingTree, micro_batch, taking_part, training_tree
from rlvr.training.kl import kl_estimate
from rlvr.types import Group

METRICS = ("policy/loss", "policy/kl", "policy/clip_fraction", "rollout/logprob_mismatch")


class Learner:
    """Holds the optimizer; `update` is all that changes weights.

    Gradients are summed over passes and processes, with token weights that refer to the whole batch (`losses.loss_weight`),
    so that splitting a batch differently changes only rounding.
    """

    def __init__(self, policy: Policy, algo: AlgoConfig, accelerator: Accelerator, reference: Policy | None) -> None:
        """reference: what the KL penalty is to; the policy itself stands for its model with the adapters off."""
        assert (reference is None) == (algo.beta == 0.0)
        self._policy, self._algo, self._accelerator, self._reference = policy, algo, accelerator, reference
        for each in (policy, reference):
            if each is not None:
                each.model.to(accelerator.device)
        self._batches, self._refreshed = 0, False
        trained = [parameter for _, parameter in self._trained()]
        optimizer = torch.optim.AdamW(trained, lr=algo.learning_rate, weight_decay=algo.weight_decay)
        self._warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, (n + 1) / max(1, algo.warmup_steps)))
        self._optimizer = accelerator.prepare(optimizer)

    def state(self) -> dict[str, Any]:
        """For exact resume by `load_state`: trained weights, the state of optimizer and learning rate, and the reference's
        weights once they differ from those it was loaded with."""
        scaler: Any = self._accelerator.scaler
        return {
            "weights": {name: parameter.detach() for name, parameter in self._trained()},
            "optimizer": self._optimizer.state_dict(),
            "warmup": self._warmup.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "batches": self._batches,
            "reference": {n: p.detach() for n, p in self._reference_weights()} if self._refreshed else None,
        }

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any]) -> None:
        """state: of a learner with the same model and options."""
        for name, parameter in self._trained():
            parameter.copy_(state["weights"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._warmup.load_state_dict(state["warmup"])
        rate, decay = self._algo.learning_rate, self._algo.weight_decay  # may be changed on resume
        factor = self._warmup.lr_lambdas[0](self._warmup.last_epoch)
        self._warmup.base_lrs = [rate for _ in self._warmup.base_lrs]
        for group in self._optimizer.param_groups:
            group.update(initial_lr=rate, lr=rate * factor, weight_decay=decay)
        self._warmup._last_lr = [rate * factor for _ in self._warmup.base_lrs]
        scaler: Any = self._accelerator.scaler
        if scaler is not None and state["scaler"] is not None:
            scaler.load_state_dict(state["scaler"])
        self._batches = state["batches"]
        if self._reference is not None and state["reference"] is not None:
            for name, parameter in self._reference_weights():
                parameter.copy_(state["reference"][name])
            self._reference.version += 1
            self._refreshed = True
        self._policy.version += 1

    def _trained(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Trainable parameters by name, tied weights once."""
        return [(name, parameter) for name, parameter in self._policy.model.named_parameters() if parameter.requires_grad]

    def _reference_weights(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [] if self._reference is None else list(self._reference.model.named_parameters())

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next update."""
        return float(self._warmup.get_last_lr()[0])

    def update(self, groups: Sequence[Group]) -> dict[str, float]:
        """Train on the rollouts that have a reward, `updates_per_batch` times; returns metrics over all processes.

        Rollouts without a gradient (advantage 0, no KL penalty, no entropy bonus) count in the averages of the loss but do not
        go through the model. A batch without any gradient leaves the weights unchanged, whatever the optimizer's momentum.
        """
        algo = self._algo
        entropies = algo.entropy_bonus > 0.0
        counted = taking_part(groups, mask_truncated=algo.mask_truncated)
        n_rollouts, n_tokens = self._sum([len(counted), sum(len(rollout.token_ids) for _, rollout in counted)])
        training = training_tree([each for each in counted if each[1].advantage != 0.0 or algo.beta or entropies])
        passes = schedule_passes(training.tree, budget=algo.micro_batch_tokens)
        reference = [None] * len(passes) if self._reference is None else self._logprobs(self._reference, training, passes)
        old: list[Tensor | None] = [None] * len(passes)
        sums, grad_norm = torch.zeros(len(METRICS), dtype=torch.float64), 0.0
        self._policy.model.train(self._policy.model.is_activation_checkpointing)  # works in training mode only
        for _ in range(algo.updates_per_batch if n_rollouts else 0):
            for k, batch, logprobs_N, entropies_N in self._forward(self._policy, training, passes, entropies=entropies):
                if old[k] is None:  # these weights sampled, so the ratio is 1 and carries the gradient
                    old[k] = logprobs_N.detach()
                loss, parts = self._loss(batch, logprobs_N, entropies_N, old[k], reference[k], int(n_rollouts), int(n_tokens))
                self._accelerator.backward(loss)
                sums += parts
            grad_norm = self._step()
        self._policy.model.eval()
        self._batches += 1
        if algo.reference_refresh and self._batches % algo.reference_refresh == 0:
            self._refresh()
        n_trained = sum(len(rollout.token_ids) for rollout in training.rollouts.values()) * algo.updates_per_batch
        *totals, n_trained = self._sum([*sums.tolist(), n_trained])
        loss_sum, *token_sums = totals
        means = [loss_sum / algo.updates_per_batch, *(value / max(1, n_trained) for value in token_sums)]
        return {**dict(zip(METRICS, means, strict=True)), "policy/grad_norm": grad_norm}

    def _forward(
        self, policy: Policy, training: TrainingTree, passes: Sequence[Pass], *, entropies: bool
    ) -> Iterator[tuple[int, MicroBatch, Tensor, Tensor | None]]:
        """The passes that hold completions: index, micro-batch, the log-probability of every completion token, and with
        `entropies` the entropy of the distribution it was drawn from."""
        device = self._accelerator.device
        forward = TreeForward(policy.hidden, training.tree, device=device)
        for k, step in enumerate(passes):
            hidden, last = forward.hidden(step)
            batch = micro_batch(training, step, last, device=device)
            if batch is not None:
                logprobs_N, entropies_N = policy.logprobs_and_entropies(
                    hidden[batch.rows_N], batch.targets_N, temperature=self._algo.temperature, entropies=entropies
                )
                yield k, batch, logprobs_N, entropies_N
        forward.close()

    @torch.no_grad()
    def _logprobs(self, policy: Policy, training: TrainingTree, passes: Sequence[Pass]) -> list[Tensor | None]:
        with adapters_off(policy.model) if policy is self._policy else nullcontext():
            found = {k: logprobs_N for k, _, logprobs_N, _ in self._forward(policy, training, passes, entropies=False)}
        return [found.get(k) for k in range(len(passes))]

    @torch.no_grad()
    def _refresh(self) -> None:
        """Sync the KL reference with the policy."""
        weights = dict(self._policy.model.named_parameters())
        for name, parameter in self._reference_weights():
            parameter.copy_(weights[name])
        assert self._reference is not None
        self._reference.version += 1
        self._refreshed = True

    def _loss(
        self,
        batch: MicroBatch,
        logprobs_N: Tensor,
        entropies_N: Tensor | None,
        old_N: Tensor | None,
        reference_N: Tensor | None,
        n_rollouts: int,
        n_tokens: int,
    ) -> tuple[Tensor, Tensor]:
        """The micro-batch's part of the loss, and of the sums behind METRICS."""
        algo = self._algo
        assert old_N is not None
        loss_N, clipped_N = losses.policy_loss(
            logprobs_N,
            old_N,
            advantages_R=batch.advantages_R.to(logprobs_N.dtype),
            rollout_N=batch.rollout_N,
            ratio=algo.ratio,
            surrogate=algo.surrogate,
            clip_low=algo.clip_low,
            clip_high=algo.clip_high,
        )
        kl_N = torch.zeros_like(loss_N)
        if reference_N is not None:
            kl_N = kl_estimate(logprobs_N, reference_N, estimator=algo.kl)
            loss_N = loss_N + algo.beta * kl_N
        if entropies_N is not None:
            loss_N = loss_N - algo.entropy_bonus * entropies_N
        weights = [
            losses.loss_weight(
                length=length,
                aggregation=algo.aggregation,
                n_rollouts=n_rollouts,
                n_tokens=n_tokens,
                max_length=algo.max_new_tokens,
            )
            for length in batch.lengths_R.tolist()
        ]
        weight_R = torch.tensor(weights, dtype=loss_N.dtype, device=loss_N.device)
        loss = (loss_N * weight_R[batch.rollout_N]).sum()
        mismatch_N = (old_N - batch.sampling_logprobs_N).abs()  # of the first update; later weights did not sample
        token_sums = [each.detach().sum() for each in (kl_N, clipped_N, mismatch_N)]
        return loss, torch.stack([loss.detach(), *token_sums]).double().cpu()

    def _step(self) -> float:
        """One optimizer step with the clipped gradient of all processes; returns its norm before clipping.

        Errors: `RunStopped` where it is not finite.
        """
        parameters = [parameter for _, parameter in self._trained()]
        if n_processes() > 1:
            for parameter in parameters:
                parameter.grad = summed(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
        if all(parameter.grad is None for parameter in parameters):  # nothing went through the model in any process
            return 0.0
        scaler: Any = self._accelerator.scaler  # in fp16: it skips steps whose gradient overflowed
        clipped: Any = self._accelerator.clip_grad_norm_(parameters, self._algo.max_grad_norm)
        norm = float(clipped)
        if scaler is None and not math.isfinite(norm):
            raise RunStopped(f"the gradient is {norm}; try a lower algo.learning_rate")
        if norm == 0.0 and scaler is not None:
            scaler.update()  # it has unscaled the gradient, and must not do so twice
        elif norm != 0.0:
            self._optimizer.step()
            self._warmup.step()
            self._policy.version += 1
        self._optimizer.zero_grad()
        return norm

    def _sum(self, values: Sequence[float]) -> list[float]:
        """Over all processes."""
        return summed(torch.tensor(values, dtype=torch.float64).to(self._accelerator.device)).tolist()
