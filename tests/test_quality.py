"""Linters, the type checker, the import layers and the shape of the code, as part of the test commands."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from conftest import ROOT

LONG = {
    "rlvr/programs/exam.py": "one candidate and its tests: the session, and scripts and calls on it",
    "rlvr/analysis/audit/attacks/escapes.py": "programs as text, a class an attack: a list to be read in one place",
    "rlvr/analysis/audit/attacks/programs.py": "programs as text, a class an attack: a list to be read in one place",
}
"""Files and functions (`path:name`) that are longer than others, and why."""


@cache
def parsed() -> dict[str, tuple[str, ast.Module]]:
    """Text and syntax tree of every Python file, by path; tests included."""
    paths = sorted(path for folder in ("rlvr", "experiments", "tests") for path in (ROOT / folder).rglob("*.py"))
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in [*paths, ROOT / "train.py"]}
    return {path: (text, ast.parse(text)) for path, text in texts.items()}


def sources() -> list[tuple[str, str, ast.Module]]:
    """The same without tests."""
    return [(path, text, tree) for path, (text, tree) in parsed().items() if not path.startswith("tests/")]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        pytest.param(["pyright", "--pythonpath", sys.executable], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_clean(command: list[str]) -> None:
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_imports_go_down_only(capsys: pytest.CaptureFixture[str]) -> None:
    """The layers of pyproject.toml."""
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_no_circle_of_modules() -> None:
    """Imports inside functions and those for type checkers counted. Errors: `CycleError` with the circle."""
    graph = grimp.build_graph("rlvr", cache_dir=None)
    TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()


def test_processes_meet_in_one_package() -> None:
    """What is collective is imported in rlvr/parallel alone; elsewhere `accelerate` is a type, and what one process does."""
    elsewhere = [
        f"{path}:{node.lineno}"
        for path, (_, tree) in parsed().items()
        if path.startswith("rlvr/") and not path.startswith("rlvr/parallel/")
        for node in ast.walk(tree)
        for name in _modules(node)
        if name.startswith(("accelerate.", "torch.distributed"))
    ]
    assert not elsewhere, "\n".join(elsewhere)


def _modules(node: ast.AST) -> list[str]:
    """Names that an import statement brings in, with their modules."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""] + [f"{node.module}.{alias.name}" for alias in node.names if alias.name != "Accelerator"]
    return []


def test_files_and_functions_are_short_or_say_why() -> None:
    """At most 300 lines a file and 60 a function. What is longer is one idea, and `LONG` says which."""
    long: dict[str, int] = {}
    for path, text, tree in sources():
        if text.count("\n") > 300:
            long[path] = text.count("\n")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > 60:
                    long[f"{path}:{node.name}"] = length
    unexplained = [f"{lines} lines: {name}" for name, lines in long.items() if name not in LONG]
    assert not unexplained, "\n".join(["shorten these, or say in LONG why not:", *unexplained])
    assert [name for name in LONG if name not in long] == [], "no longer long"


def test_every_file_says_what_it_is() -> None:
    silent = [path for path, text, tree in sources() if text.strip() and not ast.get_docstring(tree)]
    assert not silent, "\n".join(silent)


def test_statements_are_plain() -> None:
    """No starred literals, which only steer the formatter, and no two walrus operators in a statement."""
    odd = [
        f"{path}:{node.lineno}: {complaint}"
        for path, (_, tree) in parsed().items()
        for node in ast.walk(tree)
        if (complaint := _complaint(node))
    ]
    assert not odd, "\n".join(odd)


def _complaint(node: ast.AST) -> str | None:
    if isinstance(node, ast.Starred) and isinstance(node.value, ast.Tuple | ast.List | ast.Set):
        return "a starred literal"
    if isinstance(node, ast.stmt) and sum(isinstance(each, ast.NamedExpr) for each in _own(node)) > 1:
        return "several walrus operators"
    return None


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What belongs to a statement itself, not to the statements in it."""
    for each in ast.iter_child_nodes(node):
        if not isinstance(each, ast.stmt):
            yield each
            yield from _own(each)
