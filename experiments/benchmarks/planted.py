"""Programs with one planted fault: a reference solution changed in one place, chosen by a seed."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Collection, Iterator

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_SUMS: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add}

KINDS = ("comparison", "constant", "operator", "return", "condition")
Change = tuple[str, Callable[[], object]]
"""The kind of fault, and the call that makes it in the syntax tree."""


def planted(source: str, seed: int, *, kinds: Collection[str] = KINDS) -> tuple[str, str]:
    """The program with one fault, and the kind of fault. Errors: `ValueError` if the program has no place for one."""
    tree = ast.parse(source)
    before = ast.unparse(tree)
    places = [number for number, (kind, _) in enumerate(_changes(tree)) if kind in kinds]
    for number in random.Random(seed).sample(places, len(places)):
        changed = copy.deepcopy(tree)
        kind, change = list(_changes(changed))[number]
        change()
        text = ast.unparse(ast.fix_missing_locations(changed))
        if text != before:
            return text, kind
    raise ValueError(f"no fault can be planted in {source[:60]!r}")


def _changes(tree: ast.Module) -> Iterator[Change]:
    """All possible faults, in the order of `ast.walk`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for at, operator in enumerate(node.ops):
                if type(operator) in _COMPARISONS:
                    yield "comparison", lambda n=node, k=at, o=operator: n.ops.__setitem__(k, _COMPARISONS[type(o)]())
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield "constant", lambda n=node: setattr(n, "value", n.value + 1)
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _SUMS:
            yield "operator", lambda n=node: setattr(n, "op", _SUMS[type(n.op)]())
        elif isinstance(node, ast.Return) and node.value is not None:
            yield "return", lambda n=node: setattr(n, "value", None)
        elif isinstance(node, ast.If | ast.While | ast.IfExp):
            yield "condition", lambda n=node: setattr(n, "test", ast.UnaryOp(op=ast.Not(), operand=n.test))
