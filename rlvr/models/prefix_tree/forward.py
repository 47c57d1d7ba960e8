"""Forward passes over a prefix tree, one after the other, with gradients through what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr.models.prefix_tree.attention import Attending, DetachedKV, TreeAttention
from rlvr.models.prefix_tree.layout import Pass, Tree, build_layout

Network = Callable[[Tensor, Tensor, Attending], Tensor]
"""Tokens [N], positions [N] and the attention to use; returns the last hidden states [N, W] (`Policy.hidden`)."""


@dataclass(slots=True, kw_only=True)
class _Open:
    """A node that is an ancestor of later passes."""

    node: int
    kv: DetachedKV
    last: Tensor
    """Hidden state of its last token, [1, W], in the graph of its pass."""
    last_detached: Tensor
    """The same, detached, for later passes."""


class TreeForward:
    """Runs passes in the order of `schedule_passes`; nodes that later passes descend from stay open until those are done.

    Keys, values and the last hidden state of an open node are detached from their graph: each later pass adds to their
    gradients, which are then back-propagated through the node, once. This gives the gradient of the whole tree with the
    memory of one pass and the nodes above it. Under `torch.no_grad` nothing is back-propagated.
    """

    def __init__(self, network: Network, tree: Tree, *, device: torch.device) -> None:
        self._network, self._tree, self._device = network, tree, device
        self._open: list[_Open] = []

    def hidden(self, step: Pass) -> tuple[Tensor, dict[int, int]]:
        """Last hidden states of the pass's N tokens and, after them, of the last tokens of its a ancestors: [N + a, W]; and
        the row of the last token of every node, ancestors included.

        The caller must run its backward pass before it asks for the next pass.
        """
        self._close(step.ancestors)
        layout = build_layout(self._tree, step.nodes, device=self._device)
        above = {each.node: each.kv for each in self._open}
        attention = TreeAttention(layout, above, keep=step.nodes if step.keeps else ())
        hidden_N = self._network(layout.ids_N, layout.positions_N, attention)
        rows = {i: b - 1 for i, (_, b) in layout.spans.items()}
        rows |= {each.node: len(hidden_N) + k for k, each in enumerate(self._open)}
        hidden = torch.cat([hidden_N, *(each.last_detached for each in self._open)])
        for i, kv in attention.kv.items():
            last = hidden_N[rows[i]][None]
            last_detached = last.detach().requires_grad_() if last.requires_grad else last
            self._open.append(_Open(node=i, kv=kv, last=last, last_detached=last_detached))
        return hidden, rows

    def close(self) -> None:
        """Close all nodes; call it after the last pass."""
        self._close(())

    def _close(self, ancestors: tuple[int, ...]) -> None:
        """Close finished nodes: back-propagate the gradients gathered at their KV.

        ancestors: of the next pass; they stay open.
        """
        while self._open and self._open[-1].node not in ancestors:
            node = self._open.pop()
            pairs = [(node.last, node.last_detached)]
            for layer, origin in node.kv.origin.items():
                pairs += zip(origin, node.kv.detached[layer], strict=True)
            gradients = [(origin, detached.grad) for origin, detached in pairs if detached.grad is not None]
            if gradients:
                torch.autograd.backward([origin for origin, _ in gradients], [grad for _, grad in gradients])
