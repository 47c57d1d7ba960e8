"""One query on a fresh SQLite database in memory: a single statement that only reads, bounded in time and size.

SQLite's own authorizer decides what a statement may do, while it is compiled; the text is not searched for keywords.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rlvr.text import one_line
from rlvr.verifiers.base import Refused

MAX_SQL_CHARS = 20_000
"""Longest query that is run."""
MAX_VALUE_BYTES = 1_000_000
"""Longest text or blob, in the database or made by a query."""
MAX_RESULT_BYTES = 10_000_000
"""Largest result, all values together."""
MAX_IMAGE_BYTES = 32 << 20
"""Largest database."""
_STEPS = 2_000  # instructions of SQLite's virtual machine between two checks of the clock: well under a millisecond

Cell = None | int | float | str | bytes

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: MAX_VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 4 * MAX_SQL_CHARS + 1,  # in bytes
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 100_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 100,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 500,  # matching time grows with the product of pattern and text
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 10,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}

# Functions determined by their arguments (sqlite.org/lang_corefunc.html and related pages). All others depend on chance, the
# clock, the connection or the build of SQLite, or reach outside of it.
_CORE = """abs char coalesce concat concat_ws format glob hex if ifnull iif instr length like likelihood likely lower ltrim max
min nullif octet_length printf quote replace round rtrim sign soundex substr substring trim typeof unhex unicode unistr
unistr_quote unlikely upper zeroblob"""
_GROUPS = """avg count group_concat median percentile percentile_cont percentile_disc string_agg sum total
cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number"""
_MATHS = """acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2 mod pi pow power
radians sin sinh sqrt tan tanh trunc"""
_TIMES = {"date": 0, "time": 0, "datetime": 0, "julianday": 0, "unixepoch": 0, "strftime": 1}
"""Date functions, and the index of their time argument."""
_CLOCK = frozenset({"now", "subsec", "subsecond", "localtime", "utc"})
"""Arguments with which a date function reads the clock or the machine's time zone."""
_CHANCE = ("current_date", "current_time", "current_timestamp", "random", "randomblob")
"""Refused when they are called, too: for the default value of a column SQLite does not ask the authorizer."""
FUNCTIONS = frozenset([*_CORE.split(), *_GROUPS.split(), *_MATHS.split(), *_TIMES, "->", "->>"])
"""All functions that a query may call, in addition to those whose name begins with `json`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The result of a query."""

    columns: int
    rows: Sequence[tuple[Cell, ...]]


class _Guard:
    """Authorizer and clock of a connection; remembers why it stopped."""

    def __init__(self, seconds: float) -> None:
        self._until = time.thread_time() + seconds
        self._seconds = seconds
        self._times: sqlite3.Connection | None = None
        self.stopped: Refused | None = None

    def close(self) -> None:
        if self._times:
            self._times.close()

    def stop(self, reason: str, detail: str) -> int:
        self.stopped = self.stopped or Refused(reason, detail)
        return sqlite3.SQLITE_DENY

    def overdue(self) -> bool:
        if time.thread_time() > self._until:
            self.stop("timeout", f"not done after {self._seconds:.2g} s of processor time")
        return self.stopped is not None

    def query(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        """The authorizer of a query."""
        if self.overdue():
            return sqlite3.SQLITE_DENY
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return self._call(second)
        # To set up a virtual table such as pragma_table_list or dbstat, SQLite asks whether it may update sqlite_master.
        own = str(first).lower().startswith("sqlite_")
        if own and action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_UPDATE):
            return self.stop("sql_error", "only tables of the database can be read, nothing of SQLite itself")
        if action == sqlite3.SQLITE_READ:
            return sqlite3.SQLITE_OK
        return self.stop("not_read_only", f"only SELECT is allowed; this would touch {first or 'the database'}")

    def script(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        """The authorizer of a script that makes a database: it may change that database only."""
        if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH):
            return self.stop("not_allowed", f"a script may not attach or detach files ({first})")
        if action == sqlite3.SQLITE_PRAGMA:  # dumps set a few; the database is the same without them
            return sqlite3.SQLITE_IGNORE
        return self._call(second) if action == sqlite3.SQLITE_FUNCTION else sqlite3.SQLITE_OK

    def _call(self, function: str | None) -> int:
        name = str(function).lower()
        return sqlite3.SQLITE_OK if name in FUNCTIONS or name.startswith("json") else self.chance(name)

    def chance(self, name: str, *_: Cell) -> int:
        return self.stop("not_deterministic", f"{name}() is refused: its value is not decided by its arguments")

    def time(self, name: str, at: int, *arguments: Cell) -> Cell:
        """A date function, unless it would read the clock. Computed on a second connection, where it is not replaced."""
        if len(arguments) <= at or any(_plain(each) in _CLOCK for each in arguments):
            self.stop("not_deterministic", f"{name}() is refused where it reads the clock or the time zone")
            raise ValueError(name)
        self._times = self._times or sqlite3.connect(":memory:")
        places = ", ".join("?" * len(arguments))
        return self._times.execute(f"SELECT {name}({places})", arguments).fetchone()[0]


def build(script: str, *, seconds: float) -> bytes:
    """The database that a script of statements makes, in SQLite's file format. Errors: `Refused`, `MemoryError`."""
    guard = _Guard(seconds)
    connection = _connect(guard)
    try:
        connection.set_authorizer(guard.script)
        connection.executescript(script)
        connection.set_authorizer(None)
        if not connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]:
            raise Refused("sql_error", "the script makes no table")
        image = connection.serialize()
        if guard.overdue():  # or it called a forbidden function
            raise sqlite3.OperationalError
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise guard.stopped or Refused("sql_error", _message(error)) from error
    finally:
        connection.close()
        guard.close()
    if len(image) > MAX_IMAGE_BYTES:
        raise Refused("too_large", f"a database of {len(image)} bytes, at most {MAX_IMAGE_BYTES} are used")
    return image


def run(image: bytes, sql: str, *, seconds: float, max_rows: int, backwards: bool = False) -> Table:
    """The result of a query on a copy of a database. Errors: `Refused`, `MemoryError`.

    `backwards`: tables are scanned in the other direction, which shows what the query leaves open.
    """
    if len(sql) > MAX_SQL_CHARS:
        raise Refused("too_large", f"{len(sql)} characters, at most {MAX_SQL_CHARS} are run")
    guard = _Guard(seconds)
    connection = _connect(guard)
    try:
        connection.deserialize(image)
        connection.execute("PRAGMA query_only = 1")
        connection.execute(f"PRAGMA reverse_unordered_selects = {int(backwards)}")
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")  # their first use writes to sqlite_master
        for which, value in _LIMITS.items():
            connection.setlimit(which, value)
        connection.set_authorizer(guard.query)
        table = _fetch(connection.execute(sql), max_rows)
        if guard.overdue():  # during the last instruction, after which the clock was not checked
            raise sqlite3.OperationalError
        return table
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:  # ValueError: a lone surrogate, or NUL in some versions
        raise guard.stopped or Refused(_reason(error), _message(error)) from error
    finally:
        connection.close()
        guard.close()


def _connect(guard: _Guard) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")  # a cast makes text of any bytes
    connection.execute("PRAGMA temp_store = MEMORY")  # or a large sort would fill the disk
    for name, at in _TIMES.items():
        connection.create_function(name, -1, partial(guard.time, name, at), deterministic=True)
    for name in _CHANCE:
        connection.create_function(name, -1, partial(guard.chance, name))
    connection.set_progress_handler(guard.overdue, _STEPS)
    return connection


def _plain(argument: Cell) -> str:
    text = argument.decode("utf-8", "replace") if isinstance(argument, bytes) else str(argument)
    return text.partition("\0")[0].strip().lower()  # C strings end there


def _fetch(cursor: sqlite3.Cursor, max_rows: int) -> Table:
    if cursor.description is None:
        raise Refused("sql_error", "no query: it gives no columns")
    rows, size = [], 0
    for row in cursor:
        size += sum(len(each) if isinstance(each, str | bytes) else 8 for each in row)
        if len(rows) == max_rows:
            raise Refused("too_many_rows", f"more than {max_rows} rows")
        if size > MAX_RESULT_BYTES:
            raise Refused("too_large", f"a result of more than {MAX_RESULT_BYTES} bytes")
        rows.append(row)
    return Table(columns=len(cursor.description), rows=rows)


def _reason(error: Exception) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_TOOBIG:
        return "too_large"
    return "several_statements" if "one statement at a time" in str(error) else "sql_error"


def _message(error: Exception) -> str:
    return one_line(error)[:200] or type(error).__name__
