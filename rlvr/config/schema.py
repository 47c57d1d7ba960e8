"""The typed schema: every key of the configuration once, with meaning, unit and bounds (`rlvr train --help` prints this).

Keys of what is constructed by import path (`_target_`: verifiers, data sets, rollout engines, trackers) are the fields of the
named class and documented there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlvr.config.bounds import Bounds

MISSING = "???"
"""OmegaConf's mark of a value that a YAML file must give."""


def key(default: Any, meaning: str, **bounds: Any) -> Any:
    """A field with its documentation and, if any, its `Bounds`; lists and dicts are copied for every instance."""
    metadata = {"meaning": meaning, "bounds": Bounds(**bounds) if bounds else None}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(kw_only=True)
class ModelConfig:
    name: str | None = key(None, "name on the hub (Qwen/Qwen2.5-0.5B), or a label where path or package names the files")
    path: str | None = key(None, "folder with a Hugging Face checkpoint; nothing is downloaded")
    package: str | None = key(None, "Python package that holds the files; used when path is not set")
    gguf_file: str | None = key(None, "GGUF file in that folder, repository or package, dequantised on loading")
    revision: str = key("main", "branch, tag or commit on the hub")
    dtype: str = key(
        "float32", "type of the trained weights (see cluster.mixed_precision)", one_of=("float32", "bfloat16", "float16")
    )
    gradient_checkpointing: bool = key(False, "recompute activations in the backward pass: less memory, more time")
    chat: bool = key(False, "prompts go through the tokenizer's chat template; false for base models")
    lora_rank: int = key(
        0, "rank of low-rank adapters trained on frozen weights (LoRA)", at_least=0, why="0 trains all weights"
    )
    lora_alpha: float = key(32.0, "the output of an adapter is multiplied by lora_alpha / lora_rank", above=0)
    lora_targets: list[str] = key(
        [], "linear layers with an adapter, by name ([q_proj, v_proj]); empty: all but the output layer"
    )


@dataclass(kw_only=True)
class PromptConfig:
    instruction: str = key("", "text at the top; for chat models the system message")
    question: str = key(MISSING, "how a base model is asked; holds {question}")
    chat_question: str = key("{question}", "the user message of chat models; holds {question}")
    solution: str = key(MISSING, "how a few-shot example is answered; holds {reasoning}, {answer} or {continuation}")
    separator: str = key("\n\n", "between instruction, examples and question, for base models")
    prefill: str = key("", "how the assistant's response is made to begin; scored as part of the response")
    stop: list[str] = key(
        [], "strings that end a completion, for base models that do not stop; what is scored ends with the first"
    )
    few_shot: int = key(
        0, "few-shot examples before every question: the first training problems, which are then not trained on", at_least=0
    )


@dataclass(kw_only=True)
class RuleConfig:
    weight: Any = key(
        MISSING,
        "what a full score adds to the reward; negative for a penalty, 0 to report only; or by step, in constant pieces "
        "{0: 0.1, 4000: 0.05} or straight lines {linear: {0: 0.1, 4000: 0.05}}",
    )
    verifier: dict[str, Any] | None = key(None, "_target_: the verifier's import path; the other keys are its fields")
    parts: dict[str, Any] | None = key(None, "sub-rules (weight and verifier each) whose weighted mean is the score")
    requires: list[str] = key([], "rules that need the full score for this one to count")
    datasets: list[str] = key(
        [], "data sets of a mixture whose problems it scores; empty: all problems whose ground truth it can use"
    )
    allows: dict[str, str] = key({}, "known weaknesses: attacks of the audit that it does not stop, each with the reason")


@dataclass(kw_only=True)
class AlgoConfig:
    problems: int = key(16, "problems a step (over all processes)", at_least=1)
    group_size: int = key(8, "rollouts a problem, G", at_least=2, why="a group of one has nothing to compare with")
    learning_rate: float = key(1e-6, "AdamW's, after warm-up", above=0)
    warmup_steps: int = key(5, "optimizer updates over which the learning rate rises linearly from 0", at_least=0)
    weight_decay: float = key(0.0, "AdamW's", at_least=0)
    max_grad_norm: float = key(1.0, "gradients are clipped to this norm", above=0)
    ratio: str = key(
        "token", "probability ratio to the sampling policy: per token, or per sequence (GSPO)", one_of=("token", "sequence")
    )
    surrogate: str = key(
        "clip", "clip (PPO: no gradient past it) or cispo (the clipped ratio is a constant weight)", one_of=("clip", "cispo")
    )
    clip_low: float = key(0.2, "the probability ratio is clipped at 1 - clip_low; 1 for no lower bound", at_least=0, at_most=1)
    clip_high: float = key(0.2, "and at 1 + clip_high", at_least=0)
    beta: float = key(0.0, "weight of the KL divergence to the reference: the untrained model; 0 loads none", at_least=0)
    kl: str = key(
        "k3", "estimator of that divergence for a token; k1 as a penalty has no effect on average", one_of=("k1", "k2", "k3")
    )
    reference_refresh: int = key(
        0, "sync the KL reference with the policy every N steps", at_least=0, why="0 keeps the untrained model"
    )
    entropy_bonus: float = key(
        0.0, "entropy bonus coefficient: loss -= coefficient x mean token entropy (nats, at algo.temperature)", at_least=0
    )
    aggregation: str = key(
        "sequence_mean", "tokens to loss, as in GRPO, DAPO and Dr. GRPO", one_of=("sequence_mean", "token_mean", "max_length")
    )
    scaling: str = key(
        "group", "divide advantages by the deviation of the group, of the batch, or none", one_of=("group", "batch", "none")
    )
    deviation: str = key(
        "population", "that deviation: population (divides by n) or sample (by n - 1)", one_of=("population", "sample")
    )
    mask_truncated: bool = key(
        False, "leave rollouts that hit the token limit out of the loss; they stay in their group's mean"
    )
    resample: int = key(
        0, "times a step samples more problems until enough groups have differing rewards (dynamic sampling)", at_least=0
    )
    curriculum: bool = key(False, "sample problems that always or never pass less often, by their pass rates so far")
    train_problems: int | None = key(
        None, "train on the first N problems only, repeated within a step if few; 1: one-shot RLVR; null: on all", at_least=1
    )
    updates_per_batch: int = key(1, "optimizer updates on each batch of rollouts", at_least=1)
    micro_batch_tokens: int = key(
        16384, "tokens of prompts and completions per training pass: bounds memory, does not change the gradient", at_least=1
    )
    temperature: float = key(1.0, "sampling temperature; also that of the log-probabilities in the loss", above=0)
    max_prompt_tokens: int = key(1024, "a longer prompt stops the run before training; prompts are never cut", at_least=1)
    max_new_tokens: int = key(256, "length limit of a completion, in tokens", at_least=1)


@dataclass(kw_only=True)
class EvalConfig:
    problems: int = key(200, "held-out problems, answered greedily before and after training; 0: none", at_least=0)
    every: int = key(10, "steps between evaluations during training; 0: none", at_least=0)
    forced_prefix: str | None = key(
        "<think>",
        "also evaluate the untrained model with its response made to begin so: what elicitation alone gives; null: not",
    )
    samples: int = key(0, "completions sampled of each problem in addition, for pass@k and maj@k; 0: none", at_least=0)
    temperature: float = key(1.0, "sampling temperature of these samples", above=0)
    ks: list[int] = key([], "the k of pass@k and maj@k; empty: 1, 2, 4, ... and eval.samples")
    rules: str | None = key(
        None,
        "evaluation-only pack, or several joined with +, scored alongside the training rules with weight 0; accuracy, format, "
        "pass@k and maj@k are then its own",
    )


@dataclass(kw_only=True)
class EarlyStopConfig:
    min_entropy: float | None = key(None, "nats: stop where policy/entropy stays below; null: never", above=0)
    max_degenerate: float | None = key(
        None, "share: stop where group/degenerate stays above; null: never", at_least=0, below=1, why="no share is above 1"
    )
    min_length: float | None = key(None, "tokens: stop where rollout/length stays below; null: never", above=0)
    max_truncated: float | None = key(
        None, "share: stop where rollout/truncated stays above; null: never", at_least=0, below=1, why="no share is above 1"
    )
    patience: int = key(10, "steps in a row for which it must stay there", at_least=1)


@dataclass(kw_only=True)
class VerifyConfig:
    workers: int | None = key(
        None, "most worker processes for rules that can hang; null: one per usable processor core", at_least=1
    )
    deadline_s: float = key(
        2.0, "seconds of processor time for a verdict in such a process; past it the score is 0, `timeout`", above=0
    )
    memory_mb: int = key(
        1024, "megabytes for a verdict, on top of what the process already holds; past it the score is 0, `memory`", at_least=1
    )
    retries: int = key(
        1, "times a rollout with a verdict of `error` (our failure, not the model's) is scored again", at_least=0
    )
    max_error_share: float = key(
        0.1, "share of a step's rollouts that may still be errors before the run stops", at_least=0, at_most=1
    )
    allow_weak_isolation: bool = key(
        False, "run programs of the model where the machine cannot isolate them fully; every verdict then says so"
    )
    redis_url: str | None = key(
        None, "redis://HOST:PORT/DATABASE from which workers (rlvr worker) take work; null: score on this machine"
    )
    redis_patience_s: float = key(
        60.0, "seconds without an answer from Redis or any worker, after which verdicts are errors", above=0
    )
    redis_in_flight: int = key(
        256, "verdicts requested at a time; set it well above the processes of all workers together", at_least=1
    )
    redis_redeliver_s: float = key(
        60.0, "seconds after which the queue redelivers an unfinished batch of a worker, if the client has not before", above=0
    )


@dataclass(kw_only=True)
class AuditConfig:
    problems: int = key(50, "problems to attack, spread over the data set", at_least=1)
    max_gain: float = key(
        0.0, "share on which an attack may gain before the audit fails, except as rules allow", at_least=0, at_most=1
    )
    attacks: list[str] = key(
        [
            "rlvr.analysis.audit.attacks.answers",
            "rlvr.analysis.audit.attacks.form",
            "rlvr.analysis.audit.attacks.programs",
            "rlvr.analysis.audit.attacks.escapes",
        ],
        "import paths of attacks: modules or classes",
    )
    show: int = key(
        5, "how many reference solutions without the full score, and ground truths that cannot be scored, to list", at_least=0
    )


@dataclass(kw_only=True)
class ClusterConfig:
    mixed_precision: str = key("no", "autocast precision", one_of=("no", "bf16", "fp16"))
    cpu: bool = key(False, "use the CPU even where there is a GPU")


@dataclass(kw_only=True)
class CheckpointConfig:
    every: int = key(
        10, "steps between checkpoints, which resume=RUN goes on from; one is also written at the end and on Ctrl-C", at_least=1
    )
    keep: int = key(2, "latest checkpoints to keep; the one with the best evaluation is kept in addition", at_least=1)


@dataclass(kw_only=True)
class Config:
    seed: int = key(
        0,
        "of sampling and of the order of problems; the same seed repeats a run bit for bit on one machine",
        at_least=0,
        below=2**32,
    )
    steps: int = key(40, "training steps", at_least=0)
    name: str = key("grpo", "name of the run: the last part of its folder's name, and its name in W&B")
    resume: str | None = key(None, "folder of a run to resume; other overrides change its configuration")
    rules_from: list[str] = key([], "import prefixes, in addition to rlvr., that verifiers of a pack may come from")
    model: ModelConfig = field(default_factory=ModelConfig, metadata={"meaning": "what is trained"})
    dataset: dict[str, Any] = key({}, "_target_: the import path of the data set; the other keys are its fields")
    prompt: PromptConfig = field(default_factory=PromptConfig, metadata={"meaning": "how problems become prompts"})
    rules: dict[str, RuleConfig] = key({}, "the rule pack: rule name to rule")
    algo: AlgoConfig = field(default_factory=AlgoConfig, metadata={"meaning": "GRPO and its options"})
    rollout: dict[str, Any] = key({}, "_target_: the import path of the rollout engine; the other keys are its fields")
    verify: VerifyConfig = field(default_factory=VerifyConfig, metadata={"meaning": "where and how slow rules are scored"})
    eval: EvalConfig = field(default_factory=EvalConfig, metadata={"meaning": "evaluation on held-out problems"})
    early_stop: EarlyStopConfig = field(
        default_factory=EarlyStopConfig, metadata={"meaning": "ending a run whose policy has collapsed"}
    )
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig, metadata={"meaning": "what resume=RUN needs"})
    audit: AuditConfig = field(default_factory=AuditConfig, metadata={"meaning": "rlvr audit"})
    cluster: ClusterConfig = field(default_factory=ClusterConfig, metadata={"meaning": "devices and precision"})
    tracking: dict[str, Any] = key(
        {}, "_target_: the import path of the tracker, in addition to metrics.jsonl; the other keys are its fields"
    )
