"""TRL's side of `grpo_step`: its `GRPOTrainer`, with its parts timed from outside.

Settings that differ from TRL's defaults, and why:
- `bf16`, `gradient_checkpointing` off: TRL enables both by default. We compute in float32 here, and recomputing
  activations only costs time where they fit in memory.
- `per_device_train_batch_size`: the fastest that fits (`Case.trl_batch`); gradient accumulation covers the rest of the
  batch. All rollouts of a step are generated together.
- `beta=0`, `loss_type="grpo"`, constant learning rate without decay or warm-up: as ours.
- `shuffle_dataset` off: the problems come in the order of our steps.
- no logging, saving, evaluation, progress bar.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from grpo_step_child import Job, Measured, Memory, Step, now
from grpo_step_models import Workload
from grpo_step_ours import LEARNING_RATE, config_of, in_order, problems_of
from grpo_step_reward import text_hash
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class Timed(GRPOTrainer):
    """The trainer, with generation and rewards timed."""

    device_name: str
    rollout = verify = 0.0
    prompt_tokens = completion_tokens = degenerate = 0

    def _generate(self, prompts: list[Any]) -> Any:
        start = now(self.device_name)
        found = super()._generate(prompts)
        self.rollout = now(self.device_name) - start
        self.prompt_tokens, self.completion_tokens = sum(map(len, found[0])), sum(map(len, found[1]))
        return found

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        start = now(self.device_name)
        rewards_B1 = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self.verify = now(self.device_name) - start
        rewards_PG = rewards_B1.view(-1, self.num_generations)
        self.degenerate = int((rewards_PG.amax(dim=1) == rewards_PG.amin(dim=1)).sum())
        return rewards_B1


class Clock(TrainerCallback):
    """Records every step, from the end of the previous one."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.trainer: Timed | None = None
        self.steps: list[Step] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._last = now(self._device)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer, end = self.trainer, now(self._device)
        assert trainer is not None
        total, self._last = end - self._last, end
        self.steps.append(
            Step(
                total=total,
                rollout=trainer.rollout,
                verify=trainer.verify,
                train=total - trainer.rollout - trainer.verify,
                prompt_tokens=trainer.prompt_tokens,
                completion_tokens=trainer.completion_tokens,
                degenerate=trainer.degenerate,
            )
        )


def settings(job: Job, output: Path) -> GRPOConfig:
    """See the module's docstring."""
    case = job.case
    return GRPOConfig(
        output_dir=str(output),
        max_steps=job.steps + 1,
        per_device_train_batch_size=case.trl_batch,
        gradient_accumulation_steps=case.rollouts // case.trl_batch,
        num_generations=case.group_size,
        max_completion_length=case.new_tokens,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        beta=0.0,
        loss_type="grpo",
        temperature=1.0,
        bf16=case.precision == "bf16",
        gradient_checkpointing=False,
        use_cpu=job.device == "cpu",
        use_vllm=False,
        shuffle_dataset=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )


def measure(job: Job) -> Measured:
    """Warm up for one step, then measure `job.steps`."""
    workload, memory = Workload.read(job.folder / "workload.json"), Memory(job.device)
    ours = config_of(job, max(workload.lengths))
    prompts = [{"prompt": problem.prompt} for problem in in_order(problems_of(workload), job.case, ours.seed)]
    tokenizer = AutoTokenizer.from_pretrained(job.folder / "model")
    model = AutoModelForCausalLM.from_pretrained(job.folder / "model", dtype=torch.float32).to(job.device)
    loaded, clock = memory.loaded(model), Clock(job.device)
    trainer = Timed(
        model=model,
        reward_funcs=text_hash,
        args=settings(job, job.folder / "trl"),
        train_dataset=Dataset.from_list(prompts),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.device_name, clock.trainer = job.device, trainer
    trainer.train()
    return Measured(side="trl", steps=tuple(clock.steps[1:]), loaded_bytes=loaded, peak_bytes=memory.peak())
