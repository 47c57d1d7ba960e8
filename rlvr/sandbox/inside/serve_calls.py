"""Load the candidate's module and answer calls into it, one after the other.

The candidate runs in the same process and can forge any reply: the judging process only compares the values with those that it
expects, and trusts nothing else.
"""

from __future__ import annotations

import marshal
import operator
import os
import sys
import types
from typing import Any

from rlvr.sandbox.inside import wire
from rlvr.sandbox.inside.channel import Channel, limit_reported

_OPERATIONS: dict[str, Any] = {
    "__len__": len,
    "__iter__": iter,
    "__next__": next,
    "__str__": str,
    "__repr__": repr,
    "__bool__": bool,
}
_OPERATIONS |= {
    name: getattr(operator, name) for name in dir(operator) if name.startswith("__") and callable(getattr(operator, name))
}
"""Methods that are called through the operator: an object may lack the method, or leave it to the other operand."""


def serve(channel: Channel, program: dict[str, Any]) -> None:
    """Load the program, then answer until the judging process hangs up."""
    sys.setrecursionlimit(1000)
    objects = _Objects()
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    try:
        exec(compile(program["source"], "candidate.py", "exec"), module.__dict__)
        reply: dict[str, Any] = {"loaded": True}
    except BaseException as error:  # noqa: BLE001  whatever it raises is its own
        reply = _raised(error, limit_reported(error))
    channel.write(reply)
    keep = objects.keep if program["objects"] else None
    while True:
        try:
            number, *order = marshal.loads(channel.read())
        except EOFError:
            os._exit(0)
        try:
            reply = _perform(module, objects, keep, order)
        except BaseException as error:  # noqa: BLE001
            reply = _raised(error, limit_reported(error))
        try:
            data = wire.dumps({**reply, "to": number})
        except BaseException as error:  # noqa: BLE001  what the candidate returned defeats the encoder
            data = wire.dumps({**_raised(error, limit_reported(error)), "to": number})
        channel.write(data, encode=bytes)


class _Objects:
    """Objects that the judging process holds references to, by number."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._numbers: dict[int, int] = {}

    def keep(self, value: Any) -> int:
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.all)
            self.all.append(value)
        return self._numbers[id(value)]


def _perform(module: Any, objects: _Objects, keep: Any, order: list[Any]) -> dict[str, Any]:
    what, target, name, arguments, keywords, back = order
    if target is None and name not in vars(module):
        raise NameError(f"the program defines no {name}")
    owner = vars(module)[name] if target is None else objects.all[target]
    given = [_resolved(each, objects.all) for each in wire.decode(arguments)]
    named = {key: _resolved(each, objects.all) for key, each in wire.decode(keywords).items()}
    if what == "call" and target is not None and name in _OPERATIONS:
        value = _OPERATIONS[name](owner, *given)
    elif what == "call":
        value = (owner if target is None or name is None else getattr(owner, name))(*given, **named)
    elif what == "get":
        value = owner if target is None else getattr(owner, name)
    elif what == "set":
        value = setattr(owner, name, given[0])
    elif what == "isinstance":
        value = isinstance(given[0], owner)
    else:
        raise ValueError(what)
    try:
        reply = {"value": wire.encode(value, keep)}
    except wire.NotPlain as error:
        reply = {"value": ["?", str(error)]}
    if back:
        reply["arguments"] = wire.encode(given, keep)
    return reply


def _resolved(value: Any, objects: list[Any]) -> Any:
    """`value` with references replaced by the objects that they stand for, at any depth."""
    if isinstance(value, wire.Reference):
        return objects[value.number]
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_resolved(each, objects) for each in value)
    if type(value) is dict:
        return {_resolved(key, objects): _resolved(each, objects) for key, each in value.items()}
    return value


def _raised(error: BaseException, ending: str | None) -> dict[str, Any]:
    """The reply for an exception, with the names of its built-in classes: the judging process raises the nearest one."""
    try:
        text = str(error)[:500]
    except BaseException:  # noqa: BLE001  __str__ is the candidate's
        text = ""
    names = [kind.__name__[:100] for kind in type.mro(type(error)) if kind.__module__ == "builtins"]
    return {"raised": names, "class": str(type(error).__name__)[:100], "text": text, "ending": ending}
