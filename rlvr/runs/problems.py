"""Which problems a run or an evaluation asks: checked against the rules, then rendered for the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlvr.config.schema import Config, PromptConfig
from rlvr.data.curriculum import enough
from rlvr.data.prompts import Prompts
from rlvr.errors import ConfigError
from rlvr.rules.lint import scorable
from rlvr.rules.pack import Judge, RulePack
from rlvr.runs.plan import Plan
from rlvr.types import Problem

if TYPE_CHECKING:
    from rlvr.models.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The problems to ask, as the data set has them."""

    examples: tuple[Problem, ...]
    """Few-shot examples for the prompt."""
    train: Sequence[Problem]
    held_out: Sequence[Problem]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """The problems to train and evaluate on, rendered for the model."""

    train: Sequence[Problem]
    held_out: Sequence[Problem]
    warnings: tuple[str, ...]


def choose(plan: Plan, *, judge: Judge, training: bool) -> Chosen:
    """Load the data and check that the rules can score it; done before the model is loaded, which may take minutes.

    training: whether training problems are needed for more than few-shot examples.
    Errors: `ConfigError`.
    """
    config, splits, warnings = plan.config, plan.source.load(), list[str]()
    examples, train = choose_examples(config.prompt, splits.train, plan.pack, judge=judge)
    held_out: Sequence[Problem] = splits.test[: config.eval.problems]
    for pack in filter(None, (plan.pack, plan.eval_rules)):
        held_out, warning = scorable(held_out, pack, plan.source.on_unscorable)
        warnings += [f"held-out problems: {warning}"] if warning else []
    if training:
        train, warning = scorable(train, plan.pack, plan.source.on_unscorable)
        warnings += [f"training problems: {warning}"] if warning else []
        train = _training_problems(train, config)
    elif not held_out:
        raise ConfigError("dataset: it has no held-out problem that the rules can score")
    return Chosen(examples=examples, train=train, held_out=held_out, warnings=tuple(warnings))


def _training_problems(train: Sequence[Problem], config: Config) -> Sequence[Problem]:
    """As many as `algo.train_problems`. Errors: `ConfigError` for too few of them, or for an id that occurs twice."""
    algo = config.algo
    if algo.train_problems is not None and train:
        train = enough(train[: algo.train_problems], algo.problems)
    if len(train) < algo.problems:
        hint = "" if train else "; it is for evaluation: train on a different one, or on a part of it (dataset.train_share)"
        raise ConfigError(f"algo.problems={algo.problems}: the data set has {len(train)} training problems{hint}")
    twice = [name for name, count in Counter(problem.id for problem in train).items() if count > 1]
    if twice:
        raise ConfigError(f"dataset: {len(twice)} ids of training problems occur more than once ({twice[0]})")
    return train


def render(chosen: Chosen, plan: Plan, policy: Policy, *, judge: Judge, training: bool) -> Problems:
    """Render the prompts as the model gets them; without `training` only those of held-out problems.

    Errors: `ConfigError` for a prompt that is too long, or where `model.chat` is set and the model has no chat template.
    """
    config = plan.config
    prompts = Prompts(template=config.prompt, examples=chosen.examples, chat_tokenizer=_chat_tokenizer(policy, config))
    both = (*chosen.train, *chosen.held_out)
    solved = next((p for p in both if p.metadata.get("solution") or p.metadata.get("completion")), None)
    mismatch = full_score_gap(prompts, solved, plan.pack, judge=judge) if solved else None
    warnings = list(chosen.warnings)
    if mismatch:
        warnings.append(
            f"a reference solution, written as the prompt asks, does not get the full score: {mismatch}; see prompt"
        )
    train = [prompts.render(problem) for problem in chosen.train] if training else []
    held_out = [prompts.render(problem) for problem in chosen.held_out]
    asked = both if training else chosen.held_out
    _check_lengths(asked, [*train, *held_out], policy, config, (config.eval.forced_prefix or "") if training else "")
    return Problems(train=train, held_out=held_out, warnings=tuple(warnings))


def _chat_tokenizer(policy: Policy, config: Config) -> Any:
    if not config.model.chat:
        return None
    if not policy.tokenizer.chat_template:
        raise ConfigError("model.chat=true: the tokenizer has no chat template; set model.chat=false")
    return policy.tokenizer


def _check_lengths(asked: Sequence[Problem], rendered: Sequence[Problem], policy: Policy, config: Config, prefix: str) -> None:
    """prefix: text that evaluation appends to a prompt. Errors: `ConfigError`."""
    algo = config.algo
    # The rest of the prompt is the same for all problems, so the longest question gives the longest prompt.
    lengths = map(len, policy.tokenizer([problem.prompt for problem in asked])["input_ids"])
    _, longest = max(zip(lengths, rendered, strict=True), key=lambda pair: pair[0])
    n_tokens = len(policy.encode(longest.prompt + prefix))
    if n_tokens > algo.max_prompt_tokens:
        raise ConfigError(f"algo.max_prompt_tokens={algo.max_prompt_tokens}: the prompt of {longest.id} has {n_tokens} tokens")
    if n_tokens + algo.max_new_tokens > policy.context:
        raise ConfigError(
            f"algo.max_new_tokens={algo.max_new_tokens}: with a prompt of {n_tokens} tokens ({longest.id}) that is more than "
            f"the {policy.context} tokens the model takes"
        )


def choose_examples(
    template: PromptConfig, train: Sequence[Problem], pack: RulePack, *, judge: Judge
) -> tuple[tuple[Problem, ...], Sequence[Problem]]:
    """The first `few_shot` training problems that have a reference solution, and the training problems without them.

    Errors: `ConfigError` when there are too few, or when one, written as the prompt asks, does not get the full score.
    """
    examples = tuple(problem for problem in train if problem.metadata.get("solution"))[: template.few_shot]
    if len(examples) < template.few_shot:
        raise ConfigError(f"prompt.few_shot={template.few_shot}: only {len(examples)} training problems have a solution")
    for example in examples:
        prompts = Prompts(template=template)  # checks the text shown in the prompt, even where the data set has a completion
        reason = full_score_gap(prompts, example, pack, prompts.unopened(prompts.solution(example)), judge=judge)
        if reason:
            raise ConfigError(
                f"prompt.few_shot={template.few_shot}: example {example.id}, written as the prompt asks, does not get "
                f"the full score: {reason}; choose the prompt that goes with the rules (prompt=r1, boxed, gsm8k, code)"
            )
    chosen = {example.id for example in examples}
    return examples, [problem for problem in train if problem.id not in chosen]


def full_score_gap(
    prompts: Prompts, problem: Problem, pack: RulePack, completion: str | None = None, *, judge: Judge
) -> str | None:
    """Why the reference completion, or the one given, does not get the full score from the pack; None if it does.

    judge: `RulePack.judge` with the caller's backend.
    """
    completion = prompts.completion(problem) if completion is None else completion
    for name, verdict in judge(completion, prompts.render(problem)).verdicts.items():
        if pack.rules[name].weight > 0 and verdict.score != 1.0:
            return f"rule {name} gives it {verdict.score} ({verdict.reason}: {verdict.detail})"
    return None
