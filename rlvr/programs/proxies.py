"""Proxies in the tests' namespace for what the candidate defines: calls go to the sandbox, plain data comes back."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from typing import Any

from rlvr.sandbox.inside.wire import Reference
from rlvr.sandbox.session import CandidateSession, Raised

Ask = Callable[..., Any]
"""`ask(what, target, name, arguments, keywords)`: `CandidateSession.ask`, with references replaced by proxies."""
_STOPS = ("StopIteration", "StopAsyncIteration")


class CandidateExit(BaseException):
    """The candidate raised something that is no `Exception` (`SystemExit`), or returned a value that cannot be used. Not an
    `Exception` here either: no test must catch it as one that it expects."""


def raised_here(error: Raised, classes: Mapping[str, type[Exception]], *, iterating: bool = False) -> BaseException:
    """The candidate's exception as the nearest built-in one, so that a test may expect it. `classes`: stand-ins for its own.

    `iterating`: it may mean the end of an iteration. Otherwise it must not: `all(map(f, ...))` would end there, and be true.
    """
    found = _nearest(error, classes, iterating=iterating)
    found.__cause__ = error
    return found


def _nearest(error: Raised, classes: Mapping[str, type[Exception]], *, iterating: bool) -> BaseException:
    if error.kind in classes:
        return classes[error.kind](error.text)
    for name in error.names:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and (iterating or name not in _STOPS):
            try:
                return kind(error.text)
            except TypeError:  # UnicodeDecodeError and its like take more than a text
                continue
    return CandidateExit(f"{error.kind}: {error.text}")


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
    """An object that stays in the candidate's process. It is never equal to plain data, nor less or more; between two
    such objects the candidate's methods decide."""

    __slots__ = ("_rlvr_ask", "_rlvr_reference", "_rlvr_session")
    _rlvr_ask: Ask
    _rlvr_reference: Reference
    _rlvr_session: CandidateSession

    def __init__(self, ask: Ask, reference: Reference, session: CandidateSession) -> None:
        object.__setattr__(self, "_rlvr_ask", ask)
        object.__setattr__(self, "_rlvr_reference", reference)
        object.__setattr__(self, "_rlvr_session", session)

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
    """Refused with plain data: `abs(x - 3.14) < 1e-6` would let the candidate say how far x is from the expected value."""

    def method(self: RemoteObject, other: Any) -> Any:
        return _method(name)(self, other) if type(other) is RemoteObject else NotImplemented

    return method


_UNARY = "__neg__ __pos__ __invert__ __abs__"
_BINARY = "__add__ __mul__ __truediv__ __floordiv__ __mod__ __pow__ __matmul__ __and__ __or__ __xor__"
_CONTAINER = "__len__ __iter__ __next__ __getitem__ __setitem__ __delitem__ __contains__"
_OTHER = "__str__ __repr__ __enter__ __exit__"
for _name in " ".join((_UNARY, _BINARY, _CONTAINER, _OTHER)).split():
    setattr(RemoteObject, _name, _method(_name))
for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__sub__"):
    setattr(RemoteObject, _name, _between_objects(_name))
