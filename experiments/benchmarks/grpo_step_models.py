"""The input of both sides of `grpo_step`: a model with a tokenizer in a folder, and rendered problems with their tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from grpo_step_cases import Case, Shape
from tokenizers import pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from rlvr.config.compose import compose
from rlvr.data.datasets.gsm8k import GSM8K
from rlvr.data.prompts import Prompts
from rlvr.types import Problem

PAD, END = "<|pad|>", "<|end|>"
CONTEXT = 8192
"""Maximum length of the models, in tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The problems of a case, in the order in which the steps take them."""

    ids: tuple[str, ...]
    prompts: tuple[str, ...]
    lengths: tuple[int, ...]
    """Tokens of each prompt."""
    shared: int
    """Tokens of the shared prefix of all prompts."""

    @classmethod
    def read(cls, path: Path) -> Workload:
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in json.loads(path.read_text()).items()})


def train_tokenizer(texts: Iterable[str], shape: Shape) -> Qwen2Tokenizer:
    """Byte-level BPE of `shape.bpe` tokens, padded to `shape.vocabulary` with tokens that occur in no text.

    The end token lies outside the model's vocabulary: neither side can sample it or has to suppress it, so every completion
    has the same length. It is a `Qwen2Tokenizer` because `AutoTokenizer` makes one for every Qwen2 model.
    """
    learner = Qwen2Tokenizer().backend_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=shape.bpe - 1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    vocabulary: dict[str, int] = {**learned["vocab"], PAD: len(learned["vocab"])}
    for number in range(len(vocabulary), shape.vocabulary):
        vocabulary[f"<filler{number}>"] = number
    vocabulary[END] = shape.vocabulary
    return Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[tuple(pair) for pair in learned["merges"]],
        unk_token=PAD,
        pad_token=PAD,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )


def save_model(shape: Shape, tokenizer: Qwen2Tokenizer, folder: Path, *, seed: int = 0) -> None:
    """Save random float32 weights, as transformers initialises them, and the tokenizer."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == shape.parameters
    assert tokenizer.eos_token_id == shape.vocabulary
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _filler(problems: Sequence[Problem], tokenizer: Qwen2Tokenizer, tokens: int) -> str:
    """The first `tokens` tokens of the problems' texts."""
    if not tokens:
        return ""
    text = "\n".join(f"{problem.prompt} {problem.metadata['solution']}" for problem in problems)
    ids = tokenizer(text)["input_ids"]
    if len(ids) < tokens:
        raise ValueError(f"prefix={tokens}: the problems have {len(ids)} tokens")
    return str(tokenizer.decode(ids[:tokens]))


def workload(case: Case, problems: Sequence[Problem], tokenizer: Qwen2Tokenizer, *, steps: int) -> Workload:
    """Distinct problems for `steps` steps, rendered with `prompt=gsm8k`; the shared prefix is made of the first problems."""
    template = compose(["prompt=gsm8k"]).prompt
    needed = case.problems * steps
    examples, before = tuple(problems[: case.few_shot]), problems[: len(problems) // 2]
    chosen = problems[max(case.few_shot, len(problems) - needed) :][:needed]
    if len(chosen) < needed:
        raise ValueError(
            f"{case.name}: {needed} problems are needed in addition to {case.few_shot} examples, not {len(problems)}"
        )
    prompts = Prompts(template=template, examples=examples)
    prefix = _filler(before, tokenizer, case.prefix or 0)
    rendered = [prefix + prompts.render(problem).prompt for problem in chosen]
    ids = tokenizer(rendered)["input_ids"]
    return Workload(
        ids=tuple(problem.id for problem in chosen),
        prompts=tuple(rendered),
        lengths=tuple(map(len, ids)),
        shared=common_prefix(ids),
    )


def common_prefix(ids: Sequence[Sequence[int]]) -> int:
    """Length of the common prefix of all texts, in tokens."""
    first, last = min(ids), max(ids)
    return next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def prepare(case: Case, *, data: Path, models: Path, folder: Path, steps: int) -> None:
    """Write `workload.json` and a link `model` to `folder`; make the model in `models` if it does not exist yet.

    data: the folder of GSM8K. steps: those of a process, warm-up included.
    """
    problems = GSM8K(path=str(data)).load().train
    shape = case.shape
    model = models / f"{shape.layers}x{shape.hidden}_{shape.vocabulary}_{shape.bpe}"
    if model.is_dir():
        tokenizer = Qwen2Tokenizer.from_pretrained(model)
    else:
        tokenizer = train_tokenizer((f"{each.prompt}\n{each.metadata['solution']}" for each in problems), shape)
        save_model(shape, tokenizer, model)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model").symlink_to(model)
    (folder / "workload.json").write_text(json.dumps(asdict(workload(case, problems, tokenizer, steps=steps))))
