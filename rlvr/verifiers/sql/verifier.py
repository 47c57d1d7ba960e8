"""Verifier of SQL: whether a query returns the right rows."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from rlvr.answers.extract import Piece, passage
from rlvr.config.bounds import check_fields
from rlvr.types import Problem, Verdict
from rlvr.verifiers.base import Refused, Verifier, not_found, settle_places
from rlvr.verifiers.sql.rowsets import Expected, expected
from rlvr.verifiers.sql.sqlite import MAX_SQL_CHARS, Cell, Table, build, run

_PLACES = ("fenced", "tag", "whole")
_END = "; \t\r\n"
# Texts, names and comments are one token each, so that their content is not taken for SQL.
_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)|\w+|\S", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlResult(Verifier):
    """Does the query return the rows of the reference query, on every database of the ground truth?

    The ground truth is `{"schema": "CREATE TABLE ...; INSERT ...", "query": "SELECT ..."}`, with `databases` (a list of such
    scripts) instead of `schema` for several, or with `rows` ([[1, "a"], ...]) instead of `query`. A single database cannot
    tell a right query from one that prints the expected rows as constants or is right by chance: give several that differ.

    Each query runs on a fresh SQLite database in memory (`rlvr.verifiers.sql.sqlite`): a single statement, read-only, without
    random numbers and clock. Rows compare as a multiset; in order if the ground truth has `"ordered": true`, or has no such key
    and the reference query has an outermost ORDER BY. Rows that this leaves tied may come in any order. The names of columns
    do not count, their order does. 1 equals 1.0 and NULL equals NULL; "1" is not 1.

    A ground truth is refused if a script or its query fails, if its rows depend on the order in which tables are read, or if no
    database gives a row, so that any query without rows would be right.

    Reasons: `no_answer`, `several_statements`, `not_read_only`, `not_deterministic`, `sql_error`, `timeout`, `too_many_rows`,
    `too_large` (query, value or result), `wrong_columns`, `wrong`, `correct`. The comparison is that of execution accuracy on
    several databases (Zhong et al. 2020, arXiv:2010.02840).
    """

    judges: ClassVar = "answer"

    extract: str | tuple[str, ...] = _PLACES
    """Where the query is, after the reasoning: fenced (the last block "```sql"), tag, whole; tried in order."""
    tag: str = "answer"
    """Name of the tag for the place `tag`."""
    time_s: float = 1.0
    """CPU seconds for the query, all databases together. The sum with `setup_s` must stay below verify.deadline_s."""
    setup_s: float = 0.5
    """CPU seconds for making the databases and running the reference query; a ground truth that needs more is refused."""
    max_rows: int = 10_000
    """Most rows of a result."""
    tolerance: float = 1e-9
    """Relative tolerance for numbers compared with a real number of the expected result. Other numbers compare exactly."""

    def __post_init__(self) -> None:
        settle_places(self, _PLACES)
        check_fields(self, "time_s", "setup_s", above=0)
        check_fields(self, "max_rows", at_least=1)
        check_fields(self, "tolerance", at_least=0, below=0.5)
        if not hasattr(sqlite3.Connection, "deserialize"):
            raise ValueError("_target_=rlvr.verifiers.sql.verifier.SqlResult: this Python's SQLite cannot copy databases")

    def quick(self, completion: str, problem: Problem) -> Verdict | None:
        query = self._query(completion)
        return None if query and len(query.text) <= MAX_SQL_CHARS else self(completion, problem)

    def __call__(self, completion: str, problem: Problem) -> Verdict:
        truth = self.read_truth(problem.truth)
        if isinstance(truth, str):
            return Verdict.unscorable("bad_truth", truth)
        query = self._query(completion)
        if query is None:
            return not_found(self.extract)
        if len(query.text) > MAX_SQL_CHARS:
            detail = f"{len(query.text)} characters, at most {MAX_SQL_CHARS} are run"
            return Verdict.scored(0.0, "too_large", query.text[:200], detail, span=query.span)
        reason, detail = self._difference(query.text, truth)
        return Verdict.scored(float(reason == "correct"), reason, query.text[:200], detail, span=query.span)

    def _difference(self, sql: str, truth: Sequence[tuple[bytes, Expected]]) -> tuple[str, str]:
        """Reason and detail of the first database on which the query is not right; "correct" if there is none."""
        start = time.thread_time()
        for number, (image, rows) in enumerate(truth, start=1):
            where = f"database {number} of {len(truth)}: "
            left = max(self.time_s - (time.thread_time() - start), 0.0)
            try:
                given = run(image, sql, seconds=left, max_rows=self.max_rows)
            except Refused as error:
                return error.reason, f"{where}{error}"
            difference = rows.difference(given, self.tolerance)
            if difference:
                reason, detail = difference
                return reason, where + detail
        return "correct", f"right on {len(truth)} database{'' if len(truth) == 1 else 's'}"

    def _query(self, response: str) -> Piece | None:
        found = passage(response, self.extract, tag=self.tag, language="sql")
        if found is None:
            return None
        text = found.text.rstrip(_END)
        written = response[slice(*found.span)].rstrip(_END)
        return Piece(text, found.start, found.start + len(written)) if text else None

    def scored_part(self, completion: str, problem: Problem) -> tuple[object, int]:
        query = self._query(completion)
        return ((query.text, completion[slice(*query.span)]), query.start) if query else (None, 0)

    def applies(self, truth: Mapping[str, Any]) -> bool:
        return ("schema" in truth or "databases" in truth) and ("query" in truth or "rows" in truth)

    def read_truth(self, truth: Mapping[str, Any]) -> _Read:
        for one, other in (("schema", "databases"), ("query", "rows")):
            if (one in truth) == (other in truth):
                return f"the truth must have one of {one!r} and {other!r} (it has: {', '.join(truth) or 'none'})"
        if "databases" in truth and "rows" in truth:
            return "the truth's 'rows' are for one database; with 'databases' give a 'query'"
        own = {key: truth[key] for key in ("schema", "databases", "query", "rows", "ordered") if key in truth}
        try:
            text = json.dumps(own, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            return f"the truth is no plain data ({error})"
        return _read(text, self.setup_s, self.max_rows, self.tolerance)


_Read = tuple[tuple[bytes, Expected], ...] | str
"""Each database with its expected result, or what is wrong with the ground truth."""


# Cached: the rollouts of a problem are scored one after another, on the same databases.
@lru_cache(maxsize=8)
def _read(text: str, setup_s: float, max_rows: int, tolerance: float) -> _Read:
    truth, start = json.loads(text), time.thread_time()
    scripts = [truth["schema"]] if "schema" in truth else truth["databases"]
    if not isinstance(scripts, list) or not scripts or not all(isinstance(each, str) for each in scripts):
        return "the truth's 'schema' must be a script, its 'databases' a list of scripts"
    ordered = truth.get("ordered")
    if ordered is not None and not isinstance(ordered, bool):
        return f"the truth's ordered={ordered!r}: must be true or false"
    query = truth.get("query", "")
    if not isinstance(query, str):
        return f"the truth's query={query!r}: must be a text"
    if ordered and "query" in truth and outer_order(query) is None:
        return "the truth's ordered=true: its query has no ORDER BY, so any order of its rows is right"
    given = _table(truth["rows"]) if "rows" in truth else None
    if isinstance(given, str):
        return given
    found: list[tuple[bytes, Expected]] = []
    for number, script in enumerate(scripts, start=1):
        place = f"database {number}" if "databases" in truth else "schema"
        try:
            image = build(script, seconds=_left(setup_s, start))
            if given is None:
                place = f"query on {place}"
                tables = _both_ways(image, query, setup_s, start, max_rows)
            else:
                tables = (given, given)
        except Refused as error:
            return f"the truth's {place}: {error.reason}: {error}"
        in_order = outer_order(query) is not None if ordered is None else ordered
        made = expected(tables[0], ordered=in_order, tolerance=tolerance, backwards=tables[1])
        if isinstance(made, str):
            return f"the truth's {place}: {made}"
        found.append((image, made))
    if not any(each.rows for _, each in found):
        return "no row is expected, so that any query without rows would be right"
    return tuple(found)


def _left(setup_s: float, start: float) -> float:
    return max(setup_s - (time.thread_time() - start), 0.0)


def _table(rows: Any) -> Table | str:
    """The `rows` of a ground truth, or what is wrong with them."""
    if not isinstance(rows, Sequence) or not all(isinstance(row, list) and row for row in rows):
        return f"the truth's rows={str(rows)[:40]!r}: must be a list of lists of values"
    if len({len(row) for row in rows}) > 1:
        return "the truth's 'rows' differ in length"
    wrong = [cell for row in rows for cell in row if not _is_cell(cell)]
    if wrong:
        return f"the truth's rows hold {str(wrong[0])[:40]!r}, which is no value of SQLite (null, number, text)"
    return Table(columns=len(rows[0]) if rows else 0, rows=[tuple(row) for row in rows])


def _is_cell(value: Cell) -> bool:
    if isinstance(value, bool):
        return False
    return value is None or isinstance(value, str | float) or (isinstance(value, int) and -(2**63) <= value < 2**63)


def outer_order(query: str) -> int | None:
    """Where the terms of a query's outermost ORDER BY (not one in brackets) end; None without one."""
    depth, before, found, end = 0, "", False, 0
    for match in _TOKEN.finditer(query):
        token = match[0].lower()
        if token.startswith(("--", "/*")):
            continue
        if not depth and token in ("limit", ";"):
            break
        found = found or (not depth and (before, token) == ("order", "by"))
        depth += (token == "(") - (token == ")")
        before, end = token, match.end()
    return end if found else None


def _both_ways(image: bytes, query: str, setup_s: float, start: float, max_rows: int) -> tuple[Table, Table]:
    """Two results of a query that differ in whatever it leaves open.

    For the second one tables are scanned backwards; rows that its ORDER BY leaves tied are sorted ascending, then descending.
    """
    first = run(image, query, seconds=_left(setup_s, start), max_rows=max_rows)
    queries, end = [query, query], outer_order(query)
    if end is not None:
        for at, way in enumerate(("ASC", "DESC")):
            terms = "".join(f", {column} {way}" for column in range(1, first.columns + 1))
            queries[at] = f"{query[:end]}{terms} {query[end:]}"
        first = run(image, queries[0], seconds=_left(setup_s, start), max_rows=max_rows)
    return first, run(image, queries[1], seconds=_left(setup_s, start), max_rows=max_rows, backwards=True)
