"""What tests use of a candidate, read from their text: how they are run never depends on how the candidate behaves."""

from __future__ import annotations

import ast
import builtins
import collections
import sys
from collections.abc import Iterator, Sequence
from typing import TypeGuard

_BUILT_IN = (str, bytes, int, float, complex, list, tuple, dict, set, frozenset, range, collections.deque, collections.Counter)
_ATTRIBUTES = {name for kind in _BUILT_IN for name in dir(kind)}
"""Attributes of plain data: a test that uses one of these need not mean an object."""


def imports_and_names(trees: Sequence[ast.Module], given: Sequence[str]) -> tuple[list[ast.stmt], list[str]]:
    """Imports of standard modules that the tests use but do not import; other names that they use but do not define."""
    used = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    defined = {name for tree in trees for name in _defined(tree)}
    called = {
        node.func.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    free = {name for name in used - defined - set(given) if not hasattr(builtins, name)}
    modules = sorted((free & sys.stdlib_module_names) - called)  # a module cannot be called: bisect(...) is the candidate's
    imports: list[ast.stmt] = [ast.fix_missing_locations(ast.Import(names=[ast.alias(name=name)])) for name in modules]
    return imports, sorted(free - set(modules))


def _defined(tree: ast.Module) -> set[str]:
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(each.asname or each.name).partition(".")[0] for each in node.names}
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
    return found


def tests_something(tree: ast.Module, names: Sequence[str]) -> bool:
    """Whether the tests use anything that a candidate could define, also by way of the setup: `root` after `root = Node(1)`."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return bool(used & set(names)) or not used <= set(dir(builtins))


def exceptions(trees: Sequence[ast.Module], names: Sequence[str]) -> tuple[str, ...]:
    """Classes of the candidate that the tests expect to be raised."""
    handlers = [node.type for node in _walk(trees) if isinstance(node, ast.ExceptHandler) and node.type]
    return tuple(sorted({each for kind in handlers for each in _names_in(kind)} & set(names)))


def functions_passed(trees: Sequence[ast.Module], names: Sequence[str]) -> str | None:
    """An argument that is a function of the tests, which cannot be sent to the candidate; None where there is none."""
    ours = {node.name for node in _walk(trees) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for call in _calls(trees, names):
        for given in _arguments(call):
            if isinstance(given, ast.Lambda) or (isinstance(given, ast.Name) and given.id in ours):
                return ast.unparse(given)
    return None


def objects(trees: Sequence[ast.Module], names: Sequence[str]) -> bool:
    """Whether the tests make or look into objects of the candidate's classes: they use an attribute that plain data does not
    have (any attribute, where one of `names` is capitalized like a class), do more with what such a class returns than compare
    it with plain data, call what a call returned, ask for its class, or pass what one function returned to another."""
    made = set(_made(trees, names))
    classes = {name for name in names if name[:1].isupper()}
    if classes and "candidate" in names:
        classes.add("candidate")
    compared = [side for node in _walk(trees) if isinstance(node, ast.Compare) for side in _compared_with_plain(node, names)]
    if any(call not in compared for call in _calls(trees, sorted(classes))):
        return True
    for node in _walk(trees):
        if isinstance(node, ast.Attribute):
            looked_into = _is_made(_root(node.value), made | set(names), names)
            if looked_into and (classes or node.attr not in _ATTRIBUTES):
                return True
        elif isinstance(node, ast.Call):
            classes_asked = node.args[1:] if _is_call(node, {"isinstance"}) else []
            if _is_made(node.func, made, names) or set(names) & {name for kind in classes_asked for name in _names_in(kind)}:
                return True
    for call in _calls(trees, names):
        assert isinstance(call.func, ast.Name)
        others = set(names) - {call.func.id}
        for given in _arguments(call):
            inner = list(ast.walk(given))
            if any(_is_call(each, others) or (isinstance(each, ast.Name) and each.id in made) for each in inner):
                return True
    return False


def in_place(trees: Sequence[ast.Module], names: Sequence[str]) -> bool:
    """Whether the tests call for the effect on an argument: a call whose value is not used, or only compared with None; or a
    variable that is passed to the candidate and compared with plain data later."""
    given = {each.id for call in _calls(trees, names) for each in _arguments(call) if isinstance(each, ast.Name)}
    for node in _walk(trees):
        if isinstance(node, ast.Expr) and _is_call(node.value, names):
            return True
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            plain = [side for side in sides if not any(isinstance(each, ast.Name) for each in ast.walk(side))]
            if len(plain) == len(sides) - 1:
                (other,) = (side for side in sides if side not in plain)
                if isinstance(other, ast.Name) and other.id in given:
                    return True
                if _is_call(other, names) and all(isinstance(each, ast.Constant) and each.value is None for each in plain):
                    return True
    return False


def _compared_with_plain(node: ast.Compare, names: Sequence[str]) -> list[ast.expr]:
    sides = [node.left, *node.comparators]
    made = [side for side in sides if any(_is_call(each, names) for each in ast.walk(side))]
    return made if len(made) == 1 else []


def _walk(trees: Sequence[ast.Module]) -> Iterator[ast.AST]:
    for tree in trees:
        yield from ast.walk(tree)


def _names_in(node: ast.AST) -> list[str]:
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]


def _is_call(node: ast.AST, names: Sequence[str] | set[str]) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _calls(trees: Sequence[ast.Module], names: Sequence[str]) -> Iterator[ast.Call]:
    return (node for node in _walk(trees) if _is_call(node, names))


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(each.value for each in call.keywords)]


def _root(node: ast.AST) -> ast.AST:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node


def _is_made(node: ast.AST, made: set[str], names: Sequence[str]) -> bool:
    return _is_call(node, names) or (isinstance(node, ast.Name) and node.id in made)


def _made(trees: Sequence[ast.Module], names: Sequence[str]) -> Iterator[str]:
    """Variables that hold what the candidate returned, or parts of it."""
    for node in _walk(trees):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value and _is_call(_root(node.value), names):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from _names_in(target)
        elif isinstance(node, ast.For | ast.comprehension) and _is_call(_root(node.iter), names):
            yield from _names_in(node.target)
        elif isinstance(node, ast.withitem) and node.optional_vars and _is_call(_root(node.context_expr), names):
            yield from _names_in(node.optional_vars)
