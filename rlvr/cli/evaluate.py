"""`rlvr evaluate model=... dataset=... rules=...`: measure a model on held-out problems.

    rlvr evaluate model=qwen0.5b dataset=math500 rules=math eval.problems=500
    rlvr evaluate model.path=RUN/model eval.samples=16 eval.ks=[1,8,16]      pass@k and maj@k, in addition to greedy accuracy
    rlvr evaluate rules=gsm8k eval.rules=math                                accuracy by different rules
    rlvr evaluate -m model.path=RUN/model,OTHER/model                        one after another

Takes the keys of `rlvr train` (`rlvr train --help`). `hydra.run.dir=FOLDER` is where the results go: config.yaml,
metrics.jsonl, rollouts/ (step 0, split eval; rollout 0 of a problem is the greedy one) and summary.json, as for a run.
Exit status: 0; 1 when scoring failed; 2 when the arguments are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlvr.cli.hydra_app import Job, run_hydra
from rlvr.cli.train_help import key_lines
from rlvr.config.overrides import overrides_in
from rlvr.config.schema import EvalConfig
from rlvr.errors import ConfigError

if TYPE_CHECKING:
    from rlvr.evaluation.metrics import Evaluation


def help_text() -> str:
    """The docstring, and the keys of `eval`."""
    return "\n".join([(__doc__ or "").rstrip(), "", "Keys of eval:", *key_lines(EvalConfig, "eval.")])


def run(arguments: Sequence[str]) -> int:
    """Returns the exit status. Errors: `ConfigError`, `RunStopped`."""
    arguments = list(arguments)
    overrides = overrides_in(arguments)
    if not any(argument.startswith("name=") for argument in overrides):
        at = arguments.index(overrides[0]) if overrides else len(arguments)
        arguments.insert(at, "name=evaluate")  # Hydra's overrides must be adjacent
    return run_hydra(_evaluate, arguments)


def _evaluate(job: Job) -> Evaluation:
    if not job.plan.config.eval.problems:
        raise ConfigError("eval.problems=0: must be at least 1")

    # Imports torch and transformers, so only after the configuration has been checked.
    from rlvr.runs.evaluate import run_evaluation

    repeat = job.config_yaml.replace("rlvr train", "rlvr evaluate", 1)
    return run_evaluation(job.plan, folder=job.folder, config_yaml=repeat)
