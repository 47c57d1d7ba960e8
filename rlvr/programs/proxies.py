"""What stands in the tests' namespace for what the candidate defines: calls go to its world, plain data comes back."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from typing import Any

from rlvr.sandbox.inside.wire import Reference
from rlvr.sandbox.session import CandidateSession, Raised

Ask = Callable[..., Any]
"""`ask(what, target, name, arguments, keywords)`: `CandidateSession.ask`, with references made usable."""
_ENDS = ("StopIteration", "StopAsyncIteration")


class CandidateExit(BaseException):
    """The candidate raised something that is no `Exception`, `SystemExit` for instance, or gave what cannot be gone on with: no
    `Exception` here either, so that no test takes it for the one that it expects."""


def raised_here(error: Raised, classes: Mapping[str, type[Exception]], *, iterating: bool = False) -> BaseException:
    """The candidate's exception as the nearest that is known here, so that a test may expect it. `classes`: those of its own.

    `iterating`: what it raised may mean the end of an iteration; otherwise `all(map(f, ...))` would end there, and be true.
    """
    if error.kind in classes:
        found = classes[error.kind](error.text)
        found.__cause__ = error
        return found
    for name in error.names:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and (iterating or name not in _ENDS):
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
        return type(value) is RemoteObject and self.__ask("isinstance", None, self.__name, (value,)) is True


class RemoteObject:
    """An object that stays in the candidate's world. Equal to no plain data and neither less nor more; to another
    such object as the candidate says."""

    __slots__ = ("_rlvr_ask", "_rlvr_reference", "_rlvr_world")
    _rlvr_ask: Ask
    _rlvr_reference: Reference
    _rlvr_world: CandidateSession

    def __init__(self, ask: Ask, reference: Reference, world: CandidateSession) -> None:
        object.__setattr__(self, "_rlvr_ask", ask)
        object.__setattr__(self, "_rlvr_reference", reference)
        object.__setattr__(self, "_rlvr_world", world)

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

    def __bool__(self) -> bool:
        return _method("__bool__")(self) is True

    def __hash__(self) -> int:
        return hash(self._rlvr_reference.number)


def _method(name: str) -> Callable[..., Any]:
    def method(self: RemoteObject, *arguments: Any) -> Any:
        return self._rlvr_ask("call", self._rlvr_reference.number, name, arguments)

    return method


def _between_objects(name: str) -> Callable[..., Any]:
    """With plain data it is refused: `abs(x - 3.14) < 1e-6` would let the candidate say how far x is from what is expected."""

    def method(self: RemoteObject, other: Any) -> Any:
        return _method(name)(self, other) if type(other) is RemoteObject else NotImplemented

    return method


for _name in (
    *("__neg__", "__pos__", "__invert__", "__abs__", "__floordiv__", "__mod__", "__pow__", "__matmul__", "__and__", "__or__"),
    *("__len__", "__iter__", "__next__", "__getitem__", "__setitem__", "__delitem__", "__contains__", "__str__", "__repr__"),
    *("__xor__", "__add__", "__mul__", "__truediv__", "__enter__", "__exit__"),
):
    setattr(RemoteObject, _name, _method(_name))
for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__sub__"):
    setattr(RemoteObject, _name, _between_objects(_name))
