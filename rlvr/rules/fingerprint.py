"""The identity of the rules that scored a rollout: the resolved pack, the code of its verifiers, and one hash over both.

The hash covers each rule's name, the weight in force (so it changes with a schedule), its verifier with all options, parts,
`requires` and `datasets`; the source of every module under rlvr and `rules_from` that a verifier imports, directly or through
others; and the modules that add verdicts up to a reward. It does not cover the order of the rules and `allows`, which no
reward depends on, the limits of `verify` (they are in config.yaml) and the versions of libraries (in summary.json). It is the
same on every machine.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import decode_source, find_spec
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from rlvr.errors import ConfigError
from rlvr.rules.options import verifier_node
from rlvr.rules.pack import RulePack
from rlvr.rules.rule import Rule
from rlvr.verifiers.base import Verifier

_NAMED_IMPORT = re.compile(r"""(?:import_module|run_module)\(\s*["']([\w.]+)["']""")
"""Also in the text of a program that a module starts."""
_DOTTED = re.compile(r"\w+(?:\.\w+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The rules of a step, as they are stored with its rollouts."""

    rules: Mapping[str, Mapping[str, Any]]
    """Plain values by rule name, in the pack's order, as `rlvr.config.instantiate.rule_config` takes them."""
    code: Mapping[str, str]
    """Hash of the source by module name."""
    answers: tuple[str, ...]
    """Names of the rules that score the answer; see `Verifier.judges`."""

    @property
    def weights(self) -> dict[str, float]:
        return {name: rule["weight"] for name, rule in self.rules.items()}

    @property
    def hash(self) -> str:
        """16 hexadecimal digits."""
        return _hash(json.dumps([sorted(self.rules.items()), sorted(self.code.items())]).encode())

    def text(self) -> str:
        """As JSON; the same bytes for the same rules."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def read(cls, text: str) -> Fingerprint:
        """The inverse of `text`."""
        fields = json.loads(text)
        return cls(rules=fields["rules"], code=fields["code"], answers=tuple(fields["answers"]))


def fingerprint(pack: RulePack, rules_from: Sequence[str] = ()) -> Fingerprint:
    """The fingerprint of a pack whose verifiers come from rlvr and from modules under `rules_from`.

    Sources are read once per process: editing them under a running experiment changes nothing.
    Errors: `ConfigError` for a verifier whose options are no plain values, or whose source cannot be found.
    """
    rules = {name: _rule(rule, f"rules.{name}") for name, rule in pack.rules.items()}
    roots = tuple(root.removesuffix(".") for root in ("rlvr", *rules_from))
    verifiers = [verifier for rule in pack.rules.values() for verifier in rule.verifiers()]
    modules = {module for verifier in verifiers for module in _modules_of(verifier, roots)}
    code = {module: _code(module) for module in sorted({*modules, Rule.__module__, RulePack.__module__})}
    return Fingerprint(rules=rules, code=code, answers=pack.named("answer"))


def _rule(rule: Rule, key: str) -> dict[str, Any]:
    scored_by = (
        {"parts": {part.name: _rule(part, f"{key}.parts.{part.name}") for part in rule.parts}}
        if rule.verifier is None
        else {"verifier": _verifier(rule.verifier, f"{key}.verifier")}
    )
    return {"weight": float(rule.weight), **scored_by, "requires": list(rule.requires), "datasets": list(rule.datasets)}


def _verifier(verifier: Verifier, key: str) -> dict[str, Any]:
    node = verifier_node(verifier)
    try:
        return json.loads(json.dumps(node, default=_plain))
    except (PydanticSerializationError, TypeError, ValueError) as error:
        raise ConfigError(f"{key}: options of {node['_target_']} cannot be written as JSON: {error}") from error


def _plain(value: Any) -> Any:
    """Plain values of what JSON cannot write; sets in an order that is the same in every process."""
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else to_jsonable_python(value)


def _modules_of(verifier: Verifier, roots: tuple[str, ...]) -> set[str]:
    """The verifier's module, those that its options name (the import path of a simulator), and all that these import."""
    module = type(verifier).__module__
    options = json.dumps(_verifier(verifier, module))
    named = {_longest_module(path) for path in _DOTTED.findall(options) if _under(path, roots)}
    if _spec(module) is None:
        raise ConfigError(f"{module}.{type(verifier).__qualname__}: the source of its module cannot be found")
    found: set[str] = set()
    for start in (module, *filter(None, named)):
        found |= _closure(start, (*roots, module))
    return found


@lru_cache(maxsize=1024)
def _closure(start: str, roots: tuple[str, ...]) -> frozenset[str]:
    """Names of the modules under `roots` that importing or running `start` can bring in, itself included."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        module = waiting.pop()
        if module not in found and _under(module, roots) and _code(module):
            found.add(module)
            waiting += _imported(module)
    return frozenset(found)


def _under(name: str, roots: Iterable[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


@lru_cache(maxsize=4096)
def _spec(module: str) -> ModuleSpec | None:
    """The spec of a module, or None if there is none. Imports the packages above it, and nothing else."""
    parent = module.rpartition(".")[0]
    if parent and not _is_package(parent):
        return None
    try:
        return find_spec(module)
    except (ImportError, ValueError):  # ValueError: a module without a spec, as a script run as __main__ is
        return None


def _is_package(module: str) -> bool:
    spec = _spec(module)
    return spec is not None and spec.submodule_search_locations is not None


def _longest_module(path: str) -> str | None:
    """The longest module in a dotted path, which may end in a class."""
    names = path.split(".")
    found = [".".join(names[:n]) for n in range(1, len(names) + 1)]
    return next((module for module in reversed(found) if _spec(module) is not None), None)


@lru_cache(maxsize=4096)
def _source(module: str) -> str:
    """Source text of a module, with `\\n` for line ends; empty if there is none."""
    spec = _spec(module)
    if spec is None:
        return ""
    if get_source := getattr(spec.loader, "get_source", None):  # not every loader has one
        return get_source(module) or ""
    return decode_source(Path(spec.origin).read_bytes()) if spec.origin and spec.origin.endswith(".py") else ""


@lru_cache(maxsize=4096)
def _code(module: str) -> str:
    """Hash of a module's source, or of its file if it is compiled; empty if there is neither (a namespace)."""
    spec = _spec(module)
    if source := _source(module):
        return _hash(source.encode())
    return _hash(Path(spec.origin).read_bytes()) if spec and spec.origin and Path(spec.origin).is_file() else ""


@lru_cache(maxsize=4096)
def _imported(module: str) -> tuple[str, ...]:
    """Names of modules in the import statements of a module, at any depth, and in calls that import by name."""
    source = _source(module)
    found: list[str] = _NAMED_IMPORT.findall(source)
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            found += [_home(base, alias.name) for alias in node.names]
    return tuple(found)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that can run, without imports for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from (each for other in node.orelse for each in (other, *_statements(other)))
        else:
            yield node
            yield from _statements(node)


def _base(module: str, node: ast.ImportFrom) -> str:
    """The absolute name of the module that an import statement of `module` imports from."""
    if not node.level:
        return node.module or ""
    package = module if _is_package(module) else module.rpartition(".")[0]
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *filter(None, [node.module])])


def _home(base: str, name: str) -> str:
    """The module in which `from base import name` finds it: the submodule, the one a package re-exports it from, or `base`."""
    if not _is_package(base):
        return base
    if _spec(f"{base}.{name}") is not None:
        return f"{base}.{name}"
    for node in ast.parse(_source(base)).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return _home(_base(base, node), alias.name)
    return base


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
