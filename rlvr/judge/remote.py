"""What stands in the tests' namespace for what the candidate defines: calls go to its world, plain data comes back."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from rlvr.sandbox.inside.wire import Reference
from rlvr.sandbox.world import Raised

Ask = Callable[..., Any]
"""`ask(what, target, name, arguments, keywords)`: `World.ask` on whichever world is open, with references made usable."""


class CandidateExit(Exception):
    """The candidate raised something that is no `Exception`, `SystemExit` for instance."""


def raised_here(error: Raised) -> Exception:
    """The candidate's exception as the nearest built-in one, so that a test may expect it."""
    for name in error.names:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                found = kind(error.text)
            except TypeError:  # UnicodeDecodeError and its like take more than a text
                continue
            found.__cause__ = error
            return found
    found = CandidateExit(f"{error.kind}: {error.text}")
    found.__cause__ = error
    return found


class RemoteName:
    """A function or a class of the candidate's module."""

    __slots__ = ("__ask", "__name")

    def __init__(self, ask: Ask, name: str) -> None:
        self.__ask, self.__name = ask, name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.__ask("call", None, self.__name, arguments, keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__ask("get", None, self.__name), name)

    def __instancecheck__(self, value: Any) -> bool:
        return type(value) is RemoteObject and value._rlvr_reference.kind == self.__name


class RemoteObject:
    """An object that stays in the candidate's world. Equal to no plain data; with another such object, as the candidate says."""

    __slots__ = ("_rlvr_ask", "_rlvr_reference")
    _rlvr_ask: Ask
    _rlvr_reference: Reference

    def __init__(self, ask: Ask, reference: Reference) -> None:
        object.__setattr__(self, "_rlvr_ask", ask)
        object.__setattr__(self, "_rlvr_reference", reference)

    def __getattr__(self, name: str) -> Any:
        return self._rlvr_ask("get", self._rlvr_reference.number, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._rlvr_ask("set", self._rlvr_reference.number, name, (value,))

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._rlvr_ask("call", self._rlvr_reference.number, None, arguments, keywords)

    def __eq__(self, other: object) -> bool:
        if type(other) is not RemoteObject:
            return False
        return self._rlvr_reference.number == other._rlvr_reference.number or _method("__eq__")(self, other) is True

    def __hash__(self) -> int:
        return hash(self._rlvr_reference.number)


def _method(name: str) -> Callable[..., Any]:
    def method(self: RemoteObject, *arguments: Any) -> Any:
        return self._rlvr_ask("call", self._rlvr_reference.number, name, arguments)

    return method


for _name in (
    *("__len__", "__iter__", "__next__", "__getitem__", "__setitem__", "__delitem__", "__contains__", "__str__", "__repr__"),
    *("__lt__", "__le__", "__gt__", "__ge__", "__add__", "__sub__", "__mul__", "__truediv__", "__bool__", "__enter__", "__exit__"),
):
    if _name != "__bool__":  # what has none is true, and asking would fail
        setattr(RemoteObject, _name, _method(_name))
