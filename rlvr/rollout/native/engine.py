"""Continuous batching on the model that is trained, with shared prefixes and prompts encoded once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlvr.config.bounds import check_fields
from rlvr.models.policy import Policy
from rlvr.models.prefix_tree.attention import DetachedKV, TreeAttention
from rlvr.models.prefix_tree.layout import Node, build_layout, shared_prefix_length
from rlvr.rollout.base import OnFinished, RolloutEngine, Sampling
from rlvr.rollout.native.kv_cache import Slots
from rlvr.rollout.rng import noise
from rlvr.rollout.sampling import choose
from rlvr.rollout.stop import StopStrings
from rlvr.types import Group, Problem, Rollout


@dataclass(kw_only=True)
class NativeEngine(RolloutEngine):
    """Samples with the model that is trained, in the same process."""

    cache_tokens: int = 65_536
    """Capacity of the KV cache in tokens of prompts (without the shared prefix) and completions. As many rollouts are sampled
    at once as fit, at least one."""
    prefill_tokens: int = 16_384
    """Prompt tokens of a prefill pass."""

    def __post_init__(self) -> None:
        check_fields(self, "cache_tokens", "prefill_tokens", at_least=1)
        self._policy: Policy | None = None
        self._shared_prefix: tuple[np.ndarray, DetachedKV] | None = None  # its tokens and their KV cache
        self._stop: StopStrings | None = None

    def sync(self, policy: Policy) -> None:
        self._policy = policy
        self._shared_prefix = None

    @torch.inference_mode()
    def sample(self, problems: Sequence[Problem], sampling: Sampling, *, on_finished: OnFinished | None = None) -> list[Group]:
        policy = self._policy
        assert policy is not None, "sync() comes before sample()"
        prompts = [policy.encode(problem.prompt) for problem in problems]
        if not prompts:
            return []
        shared = shared_prefix_length(prompts)
        decoding = _Decoding(
            policy=policy,
            problems=problems,
            prompts=prompts,
            sampling=sampling,
            shared_prefix=self._encoded(policy, prompts[0][:shared]) if shared else None,
            shared=shared,
            stop=self._stop_strings(policy, sampling.stop),
            cache_tokens=self.cache_tokens,
            prefill_tokens=self.prefill_tokens,
        )
        rollouts: dict[int, Rollout] = {}
        for i, rollout in decoding.run():
            rollouts[i] = rollout
            if on_finished is not None:
                on_finished(problems[i // sampling.group_size], i % sampling.group_size, rollout)
        G = sampling.group_size
        return [
            Group(problem=problem, prompt_ids=prompt, rollouts=tuple(rollouts[p * G + g] for g in range(G)))
            for p, (problem, prompt) in enumerate(zip(problems, prompts, strict=True))
        ]

    def close(self) -> None:
        self._policy = self._shared_prefix = self._stop = None

    def _stop_strings(self, policy: Policy, strings: tuple[str, ...]) -> StopStrings:
        """Cached, since building it decodes the whole vocabulary."""
        if self._stop is None or self._stop.policy is not policy or self._stop.strings != strings:
            self._stop = StopStrings(policy, strings)
        return self._stop

    def _encoded(self, policy: Policy, ids: np.ndarray) -> DetachedKV:
        """KV of the shared prefix, reused if its tokens were the same in the last call since `sync`.

        They must be exactly the same: part of a longer prefix may differ in the last bit, and a resumed run would then
        not repeat the uninterrupted one.
        """
        if self._shared_prefix is None or not np.array_equal(self._shared_prefix[0], ids):
            layout = build_layout((Node(ids=ids, parent=None, start=0),), (0,), device=policy.model.device)
            attention = TreeAttention(layout, {}, keep=(0,))
            policy.hidden(layout.ids_N, layout.positions_N, attention)
            self._shared_prefix = ids, attention.kv[0]
        return self._shared_prefix[1]


@dataclass(kw_only=True)
class _Decoding:
    """The rollouts of a call while they are sampled, numbered i = problem x G + index in the group. b rows are active."""

    policy: Policy
    problems: Sequence[Problem]
    prompts: Sequence[np.ndarray]
    sampling: Sampling
    shared_prefix: DetachedKV | None
    shared: int
    """Tokens of the shared prefix."""
    stop: StopStrings
    cache_tokens: int
    prefill_tokens: int

    def __post_init__(self) -> None:
        prompts, sampling = self.prompts, self.sampling
        self._device = self.policy.model.device
        G, T, n = sampling.group_size, sampling.max_new_tokens, len(prompts) * sampling.group_size
        longest = max(map(len, prompts)) - self.shared
        self._rows = min(n, max(1, int(self.cache_tokens / (T + longest / G))))
        self._slots = Slots(
            rows=self._rows,
            tokens=T,
            prompts=min(len(prompts), self._rows + 1),  # one more: of a group that is partly finished and partly waiting
            prompt_tokens=longest,
            shared_prefix=self.shared_prefix,
            device=self._device,
        )
        self._waiting = deque(range(n))
        self._active_b = np.zeros(0, dtype=np.int64)  # the rollout of each row
        self._slot_of: dict[int, int] = {}  # problem to prompt slot
        self._prompt_logits: dict[int, Tensor] = {}  # of problems with waiting rollouts
        self._length = np.zeros(n, dtype=np.int64)
        self._ids = np.zeros((n, T), dtype=np.int64)
        computed_in = np.float64 if self.policy.model.dtype == torch.float64 else np.float32
        self._logprobs = np.zeros((n, T), dtype=computed_in)
        self._entropies = np.zeros((n, T), dtype=computed_in)
        self._uniforms = np.zeros((n, T if sampling.temperature > 0 else 0))

    def run(self) -> Iterator[tuple[int, Rollout]]:
        """Yields each rollout with its number i, as soon as it is finished."""
        logits_bV: Tensor | None = None
        while self._waiting or len(self._active_b):
            fresh = self.admit()
            logits_bV = fresh if logits_bV is None else logits_bV if fresh is None else torch.cat([logits_bV, fresh])
            assert logits_bV is not None
            ended_b = self._choose(logits_bV)
            for i in self._active_b[ended_b]:
                yield int(i), self._rollout(int(i))
            self.retire(ended_b)
            logits_bV = self._advance() if len(self._active_b) else None

    def admit(self) -> Tensor | None:
        """Admit waiting rollouts once a quarter of the rows is free (prompts are encoded in batches); returns their logits."""
        free = self._rows - len(self._active_b)
        entering = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))] if 4 * free >= self._rows else []
        if not entering:
            return None
        G = self.sampling.group_size
        self._encode(sorted({i // G for i in entering} - self._slot_of.keys()))
        if self.sampling.temperature > 0:
            for i in entering:
                self._uniforms[i] = noise(self.sampling, self.problems[i // G].id, i % G)
        self._active_b = np.concatenate([self._active_b, np.array(entering)])
        logits_bV = torch.stack([self._prompt_logits[i // G] for i in entering])
        still = {i // G for i in self._waiting}
        self._prompt_logits = {p: logits for p, logits in self._prompt_logits.items() if p in still}
        self._assign_rows()
        return logits_bV

    def _encode(self, problems: Sequence[int]) -> None:
        """Prefill: encode prompts, as many at once as `prefill_tokens` allows, each into a separate slot."""
        above = {0: self.shared_prefix} if self.shared_prefix is not None else {}
        roots = (Node(ids=self.prompts[0][: self.shared], parent=None, start=0),) if above else ()
        suffix = {p: self.prompts[p][self.shared :] for p in problems}
        waiting = deque(problems)
        while waiting:
            taken = [waiting.popleft()]
            while waiting and sum(len(suffix[p]) for p in [*taken, waiting[0]]) <= self.prefill_tokens:
                taken.append(waiting.popleft())
            leaves = tuple(Node(ids=suffix[p], parent=0 if roots else None, start=self.shared) for p in taken)
            nodes = range(len(roots), len(roots) + len(leaves))
            layout = build_layout((*roots, *leaves), nodes, device=self._device)
            attention = TreeAttention(layout, above, keep=nodes)
            hidden_N = self.policy.hidden(layout.ids_N, layout.positions_N, attention)
            logits = self.policy.logits(hidden_N[[layout.spans[i][1] - 1 for i in nodes]])
            for i, p, row in zip(nodes, taken, logits, strict=True):
                self._slot_of[p], self._prompt_logits[p] = len(self._slot_of), row
                self._slots.put_prompt(self._slot_of[p], attention.kv[i])

    def _choose(self, logits_bV: Tensor) -> np.ndarray:
        """Sample one token for every row; returns which rows are finished (bool)."""
        i, at, sampling = self._active_b, self._length[self._active_b], self.sampling
        uniforms = torch.from_numpy(self._uniforms[i, at]).to(self._device) if sampling.temperature > 0 else None
        choice = choose(logits_bV, uniforms, temperature=sampling.temperature)
        tokens = choice.tokens_b.cpu().numpy()
        self._ids[i, at] = tokens
        self._logprobs[i, at] = choice.logprobs_b.cpu().numpy()
        self._entropies[i, at] = choice.entropies_b.cpu().numpy()
        self._length[i] += 1
        ended = np.isin(tokens, self.policy.eos_ids) | (self._length[i] == sampling.max_new_tokens)
        for row in np.flatnonzero(self.stop.possible(tokens) & ~ended):
            ended[row] = self.stop.cut(self._ids[i[row], : self._length[i[row]]]) is not None
        return ended

    def _rollout(self, i: int) -> Rollout:
        n = self._length[i]
        ids = self._ids[i, :n]
        stopped = self.stop.cut(ids) if self.stop.possible(ids[-1:])[0] else None
        return Rollout(  # copies, which do not keep the whole batch in memory
            token_ids=ids.astype(np.int32),
            logprobs=self._logprobs[i, :n].copy(),
            entropies=self._entropies[i, :n].copy(),
            text=self.policy.decode(ids) if stopped is None else stopped,
            finish_reason="stop" if stopped is not None or ids[-1] in self.policy.eos_ids else "length",
            policy_version=self.policy.version,
        )

    def retire(self, ended_b: np.ndarray) -> None:
        """Remove finished rows, and prompts that no row needs any more; the last ones move into the gaps."""
        if not ended_b.any():
            return
        left = len(ended_b) - int(ended_b.sum())
        holes, movers = np.flatnonzero(ended_b[:left]), left + np.flatnonzero(~ended_b[left:])
        longest = int(self._length[self._active_b[movers]].max()) if len(movers) else 0
        self._slots.move_rows(holes, movers, length=longest)
        self._active_b[holes] = self._active_b[movers]
        self._active_b = self._active_b[:left]
        G = self.sampling.group_size
        needed = {int(i) // G for i in self._active_b} | self._prompt_logits.keys()
        for p in [p for p in self._slot_of if p not in needed]:
            hole, last = self._slot_of.pop(p), len(self._slot_of)
            for other, slot in self._slot_of.items():
                if slot == last:
                    self._slots.move_prompt(hole, last)
                    self._slot_of[other] = hole
        if left:
            self._assign_rows()

    def _assign_rows(self) -> None:
        G = self.sampling.group_size
        by_slot = sorted(self._slot_of, key=self._slot_of.__getitem__)
        lengths = [len(self.prompts[p]) - self.shared for p in by_slot]
        self._slots.assign_rows(np.array([self._slot_of[int(i) // G] for i in self._active_b]), lengths)

    def _advance(self) -> Tensor:
        """Forward the last token of every row; returns the logits of the next."""
        at = self._length[self._active_b] - 1
        tokens = torch.from_numpy(self._ids[self._active_b, at]).to(self._device)
        hidden_bW = self.policy.hidden(tokens, self._slots.next_token(at), self._slots)
        return self.policy.logits(hidden_bW)
