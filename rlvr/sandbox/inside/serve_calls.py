"""Inside a world: the candidate's module, and the judge's calls into it one after the other.

Whatever this says is the candidate's own word, since the candidate runs in the same process: the judge compares it, and
believes nothing else.
"""

from __future__ import annotations

import marshal
import operator
import os
import sys
import types
from typing import Any

from rlvr.sandbox.inside import wire
from rlvr.sandbox.inside.channel import Channel
from rlvr.sandbox.inside.endings import ending_of

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
"""What is asked of an object by an operator, and not by a method's name: it may have none, or leave it to the other."""


def serve(channel: Channel, program: dict[str, Any]) -> None:
    """Load the program, then answer until the judge hangs up."""
    sys.setrecursionlimit(1000)
    objects = _Objects()
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    try:
        exec(compile(program["source"], "candidate.py", "exec"), module.__dict__)
        reply: dict[str, Any] = {"loaded": True}
    except BaseException as error:  # noqa: BLE001  whatever it raises is its own
        reply = _raised(error, ending_of(error))
    channel.write(reply)
    keep = objects.keep if program["objects"] else None
    while True:
        try:
            number, *order = marshal.loads(channel.read())
        except EOFError:
            os._exit(0)
        try:
            reply = _answer(module, objects, keep, order)
        except BaseException as error:  # noqa: BLE001
            reply = _raised(error, ending_of(error))
        try:
            data = wire.dumps({**reply, "to": number})
        except BaseException as error:  # noqa: BLE001  what the candidate returned defeats the encoder
            data = wire.dumps({**_raised(error, ending_of(error)), "to": number})
        channel.write(data, encode=bytes)


class _Objects:
    """What the judge holds references to, each object under one number."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._numbers: dict[int, int] = {}

    def keep(self, value: Any) -> int:
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.all)
            self.all.append(value)
        return self._numbers[id(value)]


def _answer(module: Any, objects: _Objects, keep: Any, order: list[Any]) -> dict[str, Any]:
    what, target, name, arguments, keywords, back = order
    if target is None and name not in vars(module):
        raise NameError(f"the program defines no {name}")
    owner = vars(module)[name] if target is None else objects.all[target]
    given = [_given(each, objects.all) for each in wire.decode(arguments)]
    named = {key: _given(each, objects.all) for key, each in wire.decode(keywords).items()}
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


def _given(value: Any, objects: list[Any]) -> Any:
    """References to the world's own objects, at any depth, as those objects."""
    if isinstance(value, wire.Reference):
        return objects[value.number]
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_given(each, objects) for each in value)
    if type(value) is dict:
        return {_given(key, objects): _given(each, objects) for key, each in value.items()}
    return value


def _raised(error: BaseException, ending: str | None) -> dict[str, Any]:
    """Names of its classes, the built-in ones among which the judge raises again."""
    try:
        text = str(error)[:500]
    except BaseException:  # noqa: BLE001  __str__ is the candidate's
        text = ""
    names = [kind.__name__[:100] for kind in type.mro(type(error)) if kind.__module__ == "builtins"]
    return {"raised": names, "class": str(type(error).__name__)[:100], "text": text, "ending": ending}
