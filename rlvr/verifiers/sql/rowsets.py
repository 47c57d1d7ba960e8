"""Whether two results of a query are the same: as sets of rows in which duplicates count, or in order."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.verifiers.sql.sqlite import Cell, Table

Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A result to compare with."""

    columns: int
    """How many; 0 where nothing is known of them, as there are no rows."""
    rows: tuple[Row, ...]
    """Real numbers within the tolerance of one another, in one column, are one number."""
    blocks: tuple[int, ...]
    """Where stretches of rows end, within each of which the order is free."""
    reals: tuple[tuple[float, ...], ...]
    """By column: the real numbers in it, ascending."""

    def difference(self, given: Table, tolerance: float) -> tuple[str, str] | None:
        """Reason and detail why a result is not this one; None if it is."""
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
        parts += [f"not expected: {_shown(row)}" for row in list(surplus)[:1]]
        parts += [f"missing: {_shown(row)}" for row in list(missing)[:1]]
        return "; ".join(parts)


def expected(table: Table, *, ordered: bool, tolerance: float, backwards: Table | None = None) -> Expected | str:
    """What to compare with, or why it cannot be told.

    `backwards` is another result of the same query, in which all that it leaves open is decided the other way. Where the two
    differ in order (ties of an ORDER BY), the order is free; where they differ in rows (a LIMIT among ties), none is right.
    """
    reals = tuple(_reals([row[at] for row in table.rows], tolerance) for at in range(table.columns))
    rows = _snapped(table.rows, reals, tolerance)
    other = rows if backwards is None else _snapped(backwards.rows, reals, tolerance)
    if Counter(rows) != Counter(other):
        return "its result depends on the order in which tables are read (a LIMIT among ties, say)"
    blocks = _blocks(rows, other) if ordered else (len(rows),)
    return Expected(columns=table.columns, rows=rows, blocks=blocks, reals=reals)


def _blocks(rows: Sequence[Row], other: Sequence[Row]) -> tuple[int, ...]:
    """The ends of the shortest stretches that hold the same rows in both."""
    ends, balance, unequal = [], Counter[Row](), 0
    for at, (row, its) in enumerate(zip(rows, other, strict=True)):
        for each, step in ((row, 1), (its, -1)):
            unequal += (balance[each] == 0) - (balance[each] == -step)
            balance[each] += step
        if not unequal:
            ends.append(at + 1)
    return tuple(ends)


def _reals(column: Sequence[Cell], tolerance: float) -> tuple[float, ...]:
    """The finite real numbers of a column, ascending, without those within the tolerance of one that is there."""
    kept: list[float] = []
    for value in sorted({each for each in column if isinstance(each, float) and math.isfinite(each)}):
        if not kept or not _close(value, kept[-1], tolerance):
            kept.append(value)
    return tuple(kept)


def _snapped(rows: Sequence[Row], reals: Sequence[Sequence[float]], tolerance: float) -> tuple[Row, ...]:
    """Rows in which a number within the tolerance of an expected real number of its column has become that number.

    After this, rows are equal as Python has it: 1 and 1.0 are, 1 and "1" are not, nor text and blob, and NULL equals NULL.
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


def _shown(row: Row) -> str:
    text = repr(row)
    return text if len(text) <= 80 else f"{text[:77]}..."
