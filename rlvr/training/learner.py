"""Policy updates: one batch of scored rollouts in, updated weights out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
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

MEANS = ("policy/kl", "policy/clip_fraction", "rollout/logprob_mismatch")
"""Metrics that are means over the tokens that went through the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """The tokens of a pass and what a model says of them."""

    batch: MicroBatch
    logprobs_N: Tensor
    """Nats; carries the gradient."""
    entropies_N: Tensor | None
    """Entropy of the distribution each token was drawn from (nats), where asked for."""


class Learner:
    """Holds the optimizer; `update` is all that changes weights.

    Gradients are summed over passes and processes, with token weights that refer to the whole batch (`losses.loss_weights`),
    so that splitting a batch differently changes only rounding. Between updates the model is in evaluation mode.
    """

    def __init__(self, policy: Policy, algo: AlgoConfig, accelerator: Accelerator, reference: Policy | None) -> None:
        """reference: what the KL penalty is to; the policy itself stands for its model with the adapters off."""
        assert (reference is None) == (algo.beta == 0.0)
        self._policy = policy
        self._algo = algo
        self._accelerator = accelerator
        self._reference = reference
        self._batches = 0
        self._refreshed = False
        policy.model.to(accelerator.device)
        if reference is not None:
            reference.model.to(accelerator.device)

        def warmup(updates: int) -> float:
            return min(1.0, (updates + 1) / max(1, algo.warmup_steps))

        trained = list(self._trained().values())
        optimizer = torch.optim.AdamW(trained, lr=algo.learning_rate, weight_decay=algo.weight_decay)
        self._warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup)
        self._optimizer = accelerator.prepare(optimizer)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next update."""
        return float(self._warmup.get_last_lr()[0])

    def update(self, groups: Sequence[Group]) -> dict[str, float]:
        """Train on the rollouts that have a reward, `updates_per_batch` times; returns metrics over all processes.

        Rollouts without a gradient (advantage 0, no KL penalty, no entropy bonus) count in the averages of the loss but do not
        go through the model. A batch without any gradient leaves the weights unchanged, whatever the optimizer's momentum.
        """
        algo, policy = self._algo, self._policy
        counted = taking_part(groups, mask_truncated=algo.mask_truncated)
        tokens = sum(rollout.n_trained for _, rollout in counted)
        lag = sum(policy.version - rollout.policy_version for _, rollout in counted)
        n_rollouts, n_tokens, lag = map(int, self._sum([len(counted), tokens, lag]))
        entropies = algo.entropy_bonus > 0.0
        training = training_tree([each for each in counted if each[1].advantage != 0.0 or algo.beta > 0.0 or entropies])
        passes = schedule_passes(training.tree, budget=algo.micro_batch_tokens)
        reference = self._reference_logprobs(training, passes)
        old: dict[int, Tensor] = {}  # log-probabilities by pass
        loss_sum, grad_norm = 0.0, 0.0
        sums = torch.zeros(len(MEANS), dtype=torch.float64)
        policy.model.train(policy.model.is_activation_checkpointing)  # which works in training mode only
        for _ in range(algo.updates_per_batch if n_rollouts else 0):
            for k, scored in self._forward(policy, training, passes, entropies=entropies):
                old.setdefault(k, scored.logprobs_N.detach())  # these weights sampled, so the ratio is 1 and has the gradient
                loss_N, means_N = self._token_losses(scored, old[k], reference.get(k))
                weight_R = losses.loss_weights(
                    scored.batch.lengths_R,
                    aggregation=algo.aggregation,
                    n_rollouts=n_rollouts,
                    n_tokens=n_tokens,
                    max_length=algo.max_new_tokens,
                )
                loss = (loss_N * weight_R.to(loss_N.dtype)[scored.batch.rollout_N]).sum()
                self._accelerator.backward(loss)
                loss_sum += float(loss.detach())
                sums += torch.stack([each_N.sum() for each_N in means_N]).double().cpu()
            grad_norm = self._step()
        policy.model.eval()
        self._batches += 1
        if algo.reference_refresh and self._batches % algo.reference_refresh == 0:
            self._refresh()
        n_trained = sum(rollout.n_trained for rollout in training.rollouts.values()) * algo.updates_per_batch
        loss_sum, n_trained, *totals = self._sum([loss_sum, n_trained, *sums.tolist()])
        return {
            "policy/loss": loss_sum / algo.updates_per_batch,
            **{name: total / max(1, n_trained) for name, total in zip(MEANS, totals, strict=True)},
            "policy/grad_norm": grad_norm,
            "policy/staleness": lag / max(1, n_rollouts),
        }

    def _forward(
        self, policy: Policy, training: TrainingTree, passes: Sequence[Pass], *, entropies: bool
    ) -> Iterator[tuple[int, _Scored]]:
        """The passes that hold completions, by index. The caller runs its backward pass before it asks for the next one."""
        device = self._accelerator.device
        forward = TreeForward(policy.hidden, training.tree, device=device)
        for k, step in enumerate(passes):
            hidden, last = forward.hidden(step)
            batch = micro_batch(training, step, last, device=device)
            if batch is not None:
                logprobs_N, entropies_N = policy.logprobs_and_entropies(
                    hidden[batch.rows_N], batch.targets_N, temperature=self._algo.temperature, entropies=entropies
                )
                yield k, _Scored(batch=batch, logprobs_N=logprobs_N, entropies_N=entropies_N)
        forward.close()

    def _token_losses(self, scored: _Scored, old_N: Tensor, reference_N: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """The loss of each token, and the values whose means are MEANS.

        old_N: log-probabilities before the first update on this batch; reference_N: those of the reference.
        """
        algo, batch, logprobs_N = self._algo, scored.batch, scored.logprobs_N
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
        if scored.entropies_N is not None:
            loss_N = loss_N - algo.entropy_bonus * scored.entropies_N
        mismatch_N = (old_N - batch.sampling_logprobs_N).abs()
        return loss_N, [kl_N.detach(), clipped_N, mismatch_N]

    def _step(self) -> float:
        """One optimizer step with the clipped gradient of all processes; returns its norm before clipping.

        Errors: `RunStopped` where it is not finite.
        """
        parameters = list(self._trained().values())
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

    @torch.no_grad()
    def _reference_logprobs(self, training: TrainingTree, passes: Sequence[Pass]) -> dict[int, Tensor]:
        """Log-probabilities of the reference, by pass; empty without one."""
        if self._reference is None:
            return {}
        with adapters_off(self._policy.model) if self._reference is self._policy else nullcontext():
            return {k: scored.logprobs_N for k, scored in self._forward(self._reference, training, passes, entropies=False)}

    @torch.no_grad()
    def _refresh(self) -> None:
        """Sync the KL reference with the policy."""
        weights = dict(self._policy.model.named_parameters())
        for name, parameter in self._reference_weights().items():
            parameter.copy_(weights[name])
        self._refreshed = True

    def state(self) -> dict[str, Any]:
        """For exact resume by `load_state`: trained weights, the state of optimizer and learning rate, and the reference's
        weights once they differ from those it was loaded with."""
        scaler: Any = self._accelerator.scaler
        return {
            "weights": {name: parameter.detach() for name, parameter in self._trained().items()},
            "version": self._policy.version,
            "optimizer": self._optimizer.state_dict(),
            "warmup": self._warmup.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "batches": self._batches,
            "reference": {n: p.detach() for n, p in self._reference_weights().items()} if self._refreshed else None,
        }

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any]) -> None:
        """state: of a learner with the same model and options; learning rate and weight decay may differ."""
        for name, parameter in self._trained().items():
            parameter.copy_(state["weights"][name])
        self._policy.version = state["version"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._warmup.load_state_dict(state["warmup"])
        self._set_rate(self._algo.learning_rate, self._algo.weight_decay)
        scaler: Any = self._accelerator.scaler
        if scaler is not None and state["scaler"] is not None:
            scaler.load_state_dict(state["scaler"])
        self._batches = state["batches"]
        if self._reference is not None and state["reference"] is not None:
            for name, parameter in self._reference_weights().items():
                parameter.copy_(state["reference"][name])
            self._refreshed = True

    def _set_rate(self, rate: float, decay: float) -> None:
        """Go on with this learning rate and weight decay, at the same point of the warm-up."""
        now = rate * self._warmup.lr_lambdas[0](self._warmup.last_epoch)
        self._warmup.base_lrs = [rate for _ in self._warmup.base_lrs]
        self._warmup._last_lr = [now for _ in self._warmup.base_lrs]
        for group in self._optimizer.param_groups:
            group.update(initial_lr=rate, lr=now, weight_decay=decay)

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        """Trainable parameters by name, tied weights once."""
        return {name: each for name, each in self._policy.model.named_parameters() if each.requires_grad}

    def _reference_weights(self) -> dict[str, torch.nn.Parameter]:
        return {} if self._reference is None else dict(self._reference.model.named_parameters())

    def _sum(self, values: Sequence[float]) -> list[float]:
        """Over all processes."""
        return summed(torch.tensor(values, dtype=torch.float64).to(self._accelerator.device)).tolist()
