"""The passes of a tree, one after the other, with gradients that flow back through what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.models.prefix_tree.attention import Attending, DetachedKV, TreeAttention
from rlvr.models.prefix_tree.layout import Pass, Tree, build_layout

Network = Callable[[Tensor, Tensor, Attending], Tensor]
"""Tokens [N], positions [N] and the attention to use; returns the last hidden states [N, width] (`Policy.hidden`)."""


@dataclass(slots=True, kw_only=True)
class _Open:
    """A node that later passes go on from."""

    node: int
    kept: DetachedKV
    last: Tensor
    """Hidden state of its last token, [1, width], in the graph of its pass."""
    last_seen: Tensor
    """The same as later passes see it."""


class TreeForward:
    """Runs passes in the order of `plan`; a pass that others go on from is kept until the last of them is done.

    Keys, values and the last hidden state of a kept node are cut off from their graph: each later pass adds to their
    gradients, and when all have, those are sent back through the node, once. The result is the gradient of the whole
    tree at the memory of the nodes above a pass and the pass itself. Without gradients (`torch.no_grad`) nothing is sent.
    """

    def __init__(self, network: Network, tree: Tree, *, device: torch.device) -> None:
        self._network, self._tree, self._device = network, tree, device
        self._open: list[_Open] = []

    def hidden(self, step: Pass) -> tuple[Tensor, dict[int, int]]:
        """Last hidden states of the pass's tokens, and after them those of its ancestors' last tokens: [N + a, width];
        and the row of the last token of every node, of the pass or above it.

        The caller goes backward through what it makes of them before it asks for the next pass.
        """
        self._close(step.ancestors)
        layout = build_layout(self._tree, step.nodes, device=self._device)
        above = {each.node: each.kept for each in self._open}
        attention = TreeAttention(layout, above, keep=step.nodes if step.keeps else ())
        hidden_N = self._network(layout.ids_N, layout.positions_N, attention)
        rows = {i: b - 1 for i, (_, b) in layout.spans.items()}
        rows |= {each.node: len(hidden_N) + k for k, each in enumerate(self._open)}
        seen = torch.cat([hidden_N, *(each.last_seen for each in self._open)])
        for i, kept in attention.kept.items():
            last = hidden_N[rows[i]][None]
            last_seen = last.detach().requires_grad_() if last.requires_grad else last
            self._open.append(_Open(node=i, kept=kept, last=last, last_seen=last_seen))
        return seen, rows

    def close(self) -> None:
        """Send the gradients that have gathered at the kept nodes back through them."""
        self._close(())

    def _close(self, ancestors: tuple[int, ...]) -> None:
        """Down to those nodes that the next pass goes on from."""
        while self._open and self._open[-1].node not in ancestors:
            node = self._open.pop()
            pairs = [(node.last, node.last_seen)]
            for layer, origin in node.kept.origin.items():
                pairs += zip(origin, node.kept.seen[layer], strict=True)
            pairs = [(there, here.grad) for there, here in pairs if here.grad is not None]
            if pairs:
                torch.autograd.backward([there for there, _ in pairs], [grad for _, grad in pairs])
