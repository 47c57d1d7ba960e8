"""Makes `rlvr/assets/tiny`, the base model of the embedded default, from scratch.

python experiments/pretrain_tiny/pretrain.py
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import AddedToken, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]
from corpus import CLEAN, HABITS, Part, texts  # noqa: E402

from rlvr.data.datasets.arithmetic import Arithmetic  # noqa: E402
from rlvr.types import Problem  # noqa: E402

SEED = 0
VOCABULARY = 512
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
END = "<|endoftext|>"

BATCH = 64
CLEAN_STEPS = 1500
HABIT_STEPS = 300
CLEAN_RATE = 2e-3
HABIT_RATE = 1e-3
WARM_UP = 100
IGNORED = -100
USUAL_TOKENS = 20
"""Approximate mean length of a completion, in tokens."""

Example = tuple[list[int], int]
"""Token ids of prompt, completion and end; the length of the prompt."""


def train_tokenizer(rng: random.Random) -> Qwen2Tokenizer:
    """Byte-level BPE over texts of all styles, pre-tokenised like Qwen2: digits stand alone, and any text in NFC survives
    encoding and decoding unchanged.

    It is a `Qwen2Tokenizer` because `AutoTokenizer` makes one for every folder with a Qwen2 model.
    """
    lines = ["".join(pair) for pair in texts(HABITS, 5000, rng)]
    parts = (part for line in lines for part in re.split("|".join(TAGS), line))
    learner = Qwen2Tokenizer().backend_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(TAGS) - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(parts, trainer)
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=learned["vocab"], merges=merges, clean_up_tokenization_spaces=False, model_max_length=1024)
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAGS])
    return tokenizer


def find_tokenizer(folder: Path) -> Qwen2Tokenizer:
    """The tokenizer in `folder`, so that token ids stay valid when the model is remade; else a new one."""
    if (folder / "tokenizer.json").exists():
        return AutoTokenizer.from_pretrained(folder)
    return train_tokenizer(random.Random(f"{SEED} tokenizer"))


def new_model(tokenizer: Qwen2Tokenizer) -> Qwen2ForCausalLM:
    """0.85 M parameters, tied embeddings."""
    end = tokenizer.convert_tokens_to_ids(END)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )
    return Qwen2ForCausalLM(config)


def batches(part: Part, steps: int, tokenizer: Qwen2Tokenizer, rng: random.Random) -> Iterator[list[Example]]:
    """`steps` lists of `BATCH` examples of similar length, to save padding; made 20 batches at a time."""
    done = 0
    while done < steps:
        pairs = texts(part, 20 * BATCH, rng)
        prompts = tokenizer([prompt for prompt, _ in pairs])["input_ids"]
        completions = tokenizer([completion + END for _, completion in pairs])["input_ids"]
        examples = [(p + c, len(p)) for p, c in zip(prompts, completions, strict=True)]
        examples.sort(key=lambda example: len(example[0]))
        groups = [examples[i : i + BATCH] for i in range(0, len(examples), BATCH)]
        rng.shuffle(groups)
        yield from groups[: steps - done]
        done += len(groups)


def loss_of(model: Qwen2ForCausalLM, examples: list[Example], pad: int) -> torch.Tensor:
    """Cross-entropy (nats) of the completion tokens; a token counts the same in a short and in a long text.

    Not the mean of the batch: a batch holds texts of similar length, so the mean would favour short ones.
    """
    length = max(len(ids) for ids, _ in examples)
    ids_BT = torch.tensor([ids + [pad] * (length - len(ids)) for ids, _ in examples])
    targets_BT = torch.full_like(ids_BT, IGNORED)
    for row, (ids, prompt) in enumerate(examples):
        targets_BT[row, prompt : len(ids)] = ids_BT[row, prompt : len(ids)]
    # No attention mask: causal attention does not see the padding on the right.
    logits_BTV = model(input_ids=ids_BT[:, :-1], use_cache=False).logits
    total = cross_entropy(logits_BTV.flatten(0, 1), targets_BT[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (BATCH * USUAL_TOKENS)


def train(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    part: Part,
    steps: int,
    rate: float,
    rng: random.Random,
) -> None:
    """AdamW with warm-up and linear decay to 5 %."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, 1.0) * max(1 - step / steps, 0.05)
    )
    started = time.perf_counter()
    for step, examples in enumerate(batches(part, steps, tokenizer, rng)):
        loss = loss_of(model, examples, tokenizer.pad_token_id)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"  step {step + 1:5d}  loss {loss.item():.3f}  {time.perf_counter() - started:5.0f} s", flush=True)


WELL_FORMED = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)


def is_formatted(completion: str) -> bool:
    """Like the format rule: exactly one reasoning part of eight visible characters, then one answer part with a box."""
    match = WELL_FORMED.fullmatch(completion)
    once = all(completion.count(tag) == 1 for tag in TAGS)
    return bool(match and once and len(re.sub(r"\s", "", match[1])) >= 8 and "\\boxed{" in match[2])


def is_right(completion: str, problem: Problem) -> bool:
    """Like the answer rule, for whole numbers: the last box counts."""
    boxes = re.findall(r"\\boxed\{\s*(\d+)\s*\}", completion)
    return bool(boxes) and int(boxes[-1]) == int(problem.truth["answer"])


@torch.no_grad()
def measure(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    problems: list[Problem],
    *,
    sample: bool = False,
    opening: str = "",
) -> dict[str, float]:
    """Shares (0 to 1) of right and of formatted completions over `problems`, and their mean length in tokens."""
    prompts = [f"{problem.prompt}\n{opening}" for problem in problems]
    encoded = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    out_BT = model.generate(
        **encoded, max_new_tokens=64, do_sample=sample, temperature=1.0 if sample else None, top_k=0 if sample else None
    )
    completions_BT = out_BT[:, encoded["input_ids"].shape[1] :]
    completions = [opening + text for text in tokenizer.batch_decode(completions_BT, skip_special_tokens=True)]
    pairs = list(zip(completions, problems, strict=True))
    right = [is_right(*pair) for pair in pairs]
    good = [is_formatted(completion) for completion in completions]
    count = len(problems)
    return {
        "right": sum(right) / count,
        "formatted": sum(good) / count,
        "both": sum(a and b for a, b in zip(right, good, strict=True)) / count,
        "tokens": (completions_BT != tokenizer.pad_token_id).sum().item() / count + 1,
        "prompt": encoded["attention_mask"].sum().item() / count,
    }


def report(folder: Path, problems: int) -> None:
    """Measure a saved model on test problems, in float32 as in training."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    test = list(Arithmetic(test_problems=problems).load().test)
    torch.manual_seed(SEED)
    rows = {
        "greedy": measure(model, tokenizer, test),
        "sampled at temperature 1": measure(model, tokenizer, test * 4, sample=True),
        "greedy after `<think>`": measure(model, tokenizer, test, opening="<think>"),
    }
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"parameters: {parameters:,}; tokens in a prompt: {rows['greedy']['prompt']:.1f}")
    print("| | right | formatted | both | tokens |\n|---|---|---|---|---|")
    for name, row in rows.items():
        shares = " | ".join(f"{row[key]:.1%}" for key in ("right", "formatted", "both"))
        print(f"| {name} | {shares} | {row['tokens']:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "rlvr" / "assets" / "tiny", help="folder to replace")
    parser.add_argument("--problems", type=int, default=500, help="test problems to measure on")
    parser.add_argument("--report-only", action="store_true", help="measure what is there, train nothing")
    args = parser.parse_args()
    torch.set_num_threads(2)
    if not args.report_only:
        started = time.perf_counter()
        tokenizer = find_tokenizer(args.output)
        torch.manual_seed(SEED)
        model = new_model(tokenizer)
        train(model, tokenizer, CLEAN, CLEAN_STEPS, CLEAN_RATE, random.Random(f"{SEED} clean"))
        train(model, tokenizer, HABITS, HABIT_STEPS, HABIT_RATE, random.Random(f"{SEED} habits"))
        save(model, tokenizer, args.output)
        print(f"made in {time.perf_counter() - started:.0f} s")
    report(args.output, args.problems)


def save(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, folder: Path) -> None:
    """Save in float16, next to `folder` first, so that a reader sees either the old model or the new one."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        model.half().save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        if folder.exists():
            shutil.move(folder, Path(scratch) / "old")
        shutil.move(fresh, folder)


if __name__ == "__main__":
    main()
