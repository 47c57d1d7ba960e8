"""Compares two results of a query: as multisets of rows, or in order."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.text import clip
from rlvr.verifiers.sql.sqlite import Cell, Table

Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """An expected result."""

    columns: int
    """Number of columns; 0: unknown, because there are no rows."""
    rows: tuple[Row, ...]
    """Real numbers of one column that lie within the tolerance of each other are the same number."""
    blocks: tuple[int, ...]
    """Ends of the blocks of rows within which the order is free."""
    reals: tuple[tuple[float, ...], ...]
    """By column: its real numbers, ascending."""

    def difference(self, given: Table, tolerance: float) -> tuple[str, str] | None:
        """Reason and detail of how a result differs; None if it does not."""
        if self.columns and given.columns != self.columns:
            return "wrong_columns", f"{given.columns} columns, {self.columns} expected"
        rows = _snapped(given.rows, self.reals, tolerance)
        start = 0
        for end in self.blocks:
            if Counter(rows[start:end]) != Counter(self.rows[start:end]):
                break
            start = end
        else:
            if len(rows) == len(self.rows):
                return None
        return "wrong", self._explain(rows)

    def _explain(self, rows: Sequence[Row]) -> str:
        surplus, missing = Counter(rows) - Counter(self.rows), Counter(self.rows) - Counter(rows)
        if not surplus and not missing:
            return "the right rows in the wrong order"
        parts = [f"{len(rows)} rows, {len(self.rows)} expected"]
        parts += [f"not expected: {clip(repr(row), 80)}" for row in list(surplus)[:1]]
        parts += [f"missing: {clip(repr(row), 80)}" for row in list(missing)[:1]]
        return "; ".join(parts)


def expected(table: Table, *, ordered: bool, tolerance: float, backwards: Table | None = None) -> Expected | str:
    """The result to compare with, or why the query has no single result.

    `backwards` is a second result of the same query, in which whatever the query leaves open is decided the other way. Where
    the two differ in order (ties of an ORDER BY), the order is free; if they differ in rows (a LIMIT among ties), there is
    no single result.
    """
    reals = tuple(_reals([row[at] for row in table.rows], tolerance) for at in range(table.columns))
    rows = _snapped(table.rows, reals, tolerance)
    other = rows if backwards is None else _snapped(backwards.rows, reals, tolerance)
    if Counter(rows) != Counter(other):
        return "its result depends on the order in which tables are read (a LIMIT among ties, say)"
    blocks = _blocks(rows, other) if ordered else (len(rows),)
    return Expected(columns=table.columns, rows=rows, blocks=blocks, reals=reals)


def _blocks(rows: Sequence[Row], other: Sequence[Row]) -> tuple[int, ...]:
    """The ends of the shortest blocks that contain the same rows in both."""
    ends, balance, unequal = [], Counter[Row](), 0
    for at, (row, its) in enumerate(zip(rows, other, strict=True)):
        for each, step in ((row, 1), (its, -1)):
            unequal += (balance[each] == 0) - (balance[each] == -step)
            balance[each] += step
        if not unequal:
            ends.append(at + 1)
    return tuple(ends)


def _reals(column: Sequence[Cell], tolerance: float) -> tuple[float, ...]:
    """The finite real numbers of a column, ascending, without those within the tolerance of an earlier one."""
    kept: list[float] = []
    for value in sorted({each for each in column if isinstance(each, float) and math.isfinite(each)}):
        if not kept or not _close(value, kept[-1], tolerance):
            kept.append(value)
    return tuple(kept)


def _snapped(rows: Sequence[Row], reals: Sequence[Sequence[float]], tolerance: float) -> tuple[Row, ...]:
    """The rows, with each number within the tolerance of an expected real number of its column replaced by that number.

    Rows then compare as in Python: 1 and 1.0 are equal, 1 and "1" are not, nor are text and blob, and NULL equals NULL.
    """
    if not any(reals):
        return tuple(map(tuple, rows))
    return tuple(tuple(_snap(cell, near, tolerance) for cell, near in zip(row, reals, strict=True)) for row in rows)


def _snap(cell: Cell, reals: Sequence[float], tolerance: float) -> Cell:
    if not reals or not isinstance(cell, int | float):
        return cell
    at = bisect_left(reals, cell)
    nearest = min(reals[max(at - 1, 0) : at + 1], key=lambda real: abs(real - cell))
    return nearest if _close(cell, nearest, tolerance) else cell


def _close(value: float, real: float, tolerance: float) -> bool:
    return value == real or (math.isfinite(value) and abs(value - real) <= tolerance * abs(real))
