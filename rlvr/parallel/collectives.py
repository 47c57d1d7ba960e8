"""Collectives over the processes of a run, through accelerate; a single process gets back what it gives.

Every process has to call them, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, reduce
from torch import Tensor

T = TypeVar("T")


def is_main() -> bool:
    """Whether this is the process that writes files and prints. Not a collective."""
    return PartialState().is_main_process


def n_processes() -> int:
    """Not a collective."""
    return PartialState().num_processes


def share(items: Sequence[T]) -> Sequence[T]:
    """This process's part of a list that all processes hold. Not a collective.

    `gather` puts shares back process by process; the share of that list has other items but the same number of them, so a
    sum over processes is the same.
    """
    state = PartialState()
    return items[state.process_index :: state.num_processes]


def barrier() -> None:
    """Wait until all processes are here."""
    PartialState().wait_for_everyone()


def gather(items: list[T]) -> list[T]:
    """The items of all processes, process by process; they are pickled."""
    gathered: Any = gather_object(items)
    return gathered


def broadcast(value: T) -> T:
    """The main process's value; it is pickled, and what others give is ignored."""
    values: list[Any] = [value]
    return broadcast_object_list(values)[0]


def summed(tensor: Tensor) -> Tensor:
    """Elementwise sum over processes. The tensor lies on the device of this process."""
    total: Any = reduce(tensor, reduction="sum")
    return total
