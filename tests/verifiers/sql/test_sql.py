"""SqlResult: which queries are right, the reasons of the others, and what no query can do."""

from __future__ import annotations

import json
import pickle
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled import sampled

from rlvr import Problem, Verdict, load_rules
from rlvr.cli.main import main
from rlvr.errors import ConfigError
from rlvr.scoring.local.supervisor import Supervisor
from rlvr.verifiers.base import Refused
from rlvr.verifiers.sql.sqlite import build, run
from rlvr.verifiers.sql.verifier import SqlResult, outer_order

SCHEMA = """
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, city TEXT, pay REAL, born TEXT);
INSERT INTO person VALUES (1, 'Ann', 'Rome', 10.5, '1990-02-03'), (2, 'Ben', 'Oslo', 20.25, '1985-07-01'),
                          (3, 'Cid', 'Rome', 30.0, '2001-12-31'), (4, 'Dan', NULL, 10.5, '1990-11-30');
CREATE VIEW romans AS SELECT * FROM person WHERE city = 'Rome';
"""
OTHER = """
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, city TEXT, pay REAL, born TEXT);
INSERT INTO person VALUES (1, 'Eva', 'Rome', 1.0, '1970-01-01'), (2, 'Fay', 'Lima', 2.0, '1971-01-01');
CREATE VIEW romans AS SELECT * FROM person WHERE city = 'Rome';
"""
NAMES = {"schema": SCHEMA, "query": "SELECT name FROM person WHERE city = 'Rome'"}
IMAGE = build(SCHEMA, seconds=5)


def problem(truth: Mapping[str, Any]) -> Problem:
    return Problem(id="p", prompt="q", truth=truth)


def judge(sql: str, truth: Mapping[str, Any] = NAMES, **options: Any) -> Verdict:
    """The verdict of `__call__`, as in a worker; the ground truth must be sound."""
    verifier = SqlResult(**options)
    assert verifier.check_truth(problem(truth).truth) is None
    response = f"```sql\n{sql}\n```"
    verdict = verifier(response, problem(truth))
    assert verdict.span is not None
    assert response[slice(*verdict.span)] == sql.strip().rstrip("; \t\r\n")
    return verdict


def reason(sql: str, truth: Mapping[str, Any] = NAMES, **options: Any) -> str:
    verdict = judge(sql, truth, **options)
    assert verdict.outcome == "scored"
    assert verdict.score == float(verdict.reason == "correct")
    return verdict.reason


def query(sql: str, **more: Any) -> dict[str, Any]:
    return {"schema": SCHEMA, "query": sql, **more}


def rows(*expected: list[Any], **more: Any) -> dict[str, Any]:
    return {"schema": SCHEMA, "rows": list(expected), **more}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM person WHERE city = 'Rome'",
        "select name from romans",
        "SELECT p.name AS who FROM person p WHERE p.city LIKE 'rome' ORDER BY who DESC",
        "WITH r AS (SELECT * FROM person WHERE city = 'Rome') SELECT name FROM r",
        "SELECT name FROM person WHERE id IN (1, 3);",
        "SELECT name FROM person WHERE id IN (1, 3);  ;\n;",
        "-- those in Rome\nSELECT name FROM person WHERE city = 'Rome' -- ;",
        "VALUES ('Cid'), ('Ann')",
        'SELECT value FROM json_each(\'["Cid", "Ann"]\')',
        "SELECT name FROM person WHERE strftime('%Y', born) IN ('1990', '2001') AND city IS NOT NULL",
        "SELECT name FROM person WHERE date(born, '+1 day') IN ('1990-02-04', '2002-01-01')",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 2 FROM n WHERE i < 3) SELECT name FROM n JOIN person ON id = i",
    ],
)
def test_right(sql: str) -> None:
    assert reason(sql) == "correct"


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT name FROM person", "wrong"),
        ("SELECT name FROM person WHERE 0", "wrong"),
        ("SELECT name FROM romans UNION ALL SELECT name FROM romans", "wrong"),
        ("SELECT upper(name) FROM romans", "wrong"),
        ("SELECT CAST(name AS BLOB) FROM romans", "wrong"),
        ("SELECT name || ' ' FROM romans", "wrong"),
        ("SELECT id, name FROM romans", "wrong_columns"),
        ("EXPLAIN SELECT name FROM romans", "wrong_columns"),
        ("SELECT nam FROM romans", "sql_error"),
        ("SELECT name FROM nowhere", "sql_error"),
        ("SELCT name", "sql_error"),
        ("SELECT name FROM romans WHERE id = ?", "sql_error"),
        ("-- nothing but a comment", "sql_error"),
        ("SELECT '\ud800'", "sql_error"),
        ("SELECT name FROM romans\0", "sql_error"),
        ("SELECT name FROM romans; SELECT name FROM romans", "several_statements"),
        ("SELECT 1; DROP TABLE person", "several_statements"),
    ],
)
def test_not_right(sql: str, why: str) -> None:
    assert reason(sql) == why


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("SELECT name FROM romans", "correct"),
        ("<think>SELECT 1</think>SELECT name FROM romans", "correct"),
        ("```sql\nSELECT 1\n```\nor rather\n```SQL\nSELECT name FROM romans\n```\nwhich does it", "correct"),
        ("```sql\nSELECT name FROM romans\n```\nor\n```sql\nSELECT 1\n```", "wrong"),
        ("So: <answer>SELECT name FROM romans</answer>", "correct"),
        ("So: <answer>\n```sql\nSELECT name FROM romans\n```\n</answer>", "correct"),
        ("<think>```sql\nSELECT name FROM romans\n```</think>", "no_answer"),
        ("<think>```sql\nSELECT name FROM romans\n```", "no_answer"),
        ("", "no_answer"),
        (" ; ", "no_answer"),
        ("I cannot say.", "sql_error"),
        ("Here:\nSELECT name FROM romans", "sql_error"),
        ("```sql\nSELECT name FROM romans", "sql_error"),
        ("SELECT 1 --" + "x" * 20_000, "too_large"),
    ],
)
def test_where_the_query_is(response: str, why: str) -> None:
    assert SqlResult()(response, problem(NAMES)).reason == why


@pytest.mark.parametrize(
    ("response", "written"),
    [
        ("<think>SELECT 0</think>\n SELECT 1 ;\n", "SELECT 1"),
        ("<think>a</think>So:\r\n```sql\r\n\r\nSELECT\r\n 1;\r\n```\r\n", "SELECT\r\n 1"),
        ("- So:\n  ```sql\n  SELECT\n    1\n  ```", "SELECT\n    1"),
        ("So: <answer>\n```sql\nSELECT 1\n```\n</answer>", "SELECT 1"),
        ("<answer> SELECT 1; </answer>", "SELECT 1"),
        ("```sql\nSELECT 1", "```sql\nSELECT 1"),
        (" ; ", None),
    ],
)
def test_the_span_is_the_query_as_written(response: str, written: str | None) -> None:
    verdict = SqlResult()(response, problem(NAMES))
    assert (verdict.span and response[slice(*verdict.span)]) == written
    if verdict.span:
        assert verdict.span[0] == SqlResult().scored_part(response, problem(NAMES))[1]


def test_the_order_of_places_can_be_declared() -> None:
    response = "<answer>SELECT name FROM romans</answer>\n```sql\nSELECT 1\n```"
    assert SqlResult(extract=("tag", "fenced"))(response, problem(NAMES)).score == 1.0
    assert SqlResult(extract="fenced")(response, problem(NAMES)).reason == "wrong"
    assert SqlResult(extract="fenced")("SELECT name FROM romans", problem(NAMES)).reason == "no_answer"


def test_string_literals_are_not_normalised() -> None:
    """A minus sign, full-width digits and a superscript inside a string stay as they are."""
    truth = {"schema": "CREATE TABLE t(a); INSERT INTO t VALUES ('10\u00b2 \u2212 \uff15')", "query": "SELECT a FROM t"}
    assert reason("SELECT '10\u00b2 \u2212 \uff15'", truth) == "correct"
    assert reason("SELECT '10^2 - 5'", truth) == "wrong"


@pytest.mark.parametrize(
    ("sql", "right"),
    [
        ("SELECT 1, 2.5, NULL, 'a'", True),
        ("SELECT 1.0, 2.5, NULL, 'a'", True),
        ("SELECT 1, 5 / 2.0, NULL, 'a'", True),
        ("SELECT 1, 2.5 + 1e-12, NULL, 'a'", True),
        ("SELECT 1, 2.5 + 1e-6, NULL, 'a'", False),
        ("SELECT 1 + 1e-12, 2.5, NULL, 'a'", False),  # a whole number is expected: exactly
        ("SELECT '1', 2.5, NULL, 'a'", False),
        ("SELECT 1, '2.5', NULL, 'a'", False),
        ("SELECT 1, 2.5, '', 'a'", False),
        ("SELECT 1, 2.5, 0, 'a'", False),
        ("SELECT 1, 2.5, NULL, 'A'", False),
        ("SELECT 1, 2.5, NULL, x'61'", False),
        ("SELECT 2.5, 1, NULL, 'a'", False),
        ("SELECT NULL, NULL, NULL, NULL", False),
        ("SELECT 1, 9e999, NULL, 'a'", False),
    ],
)
def test_values(sql: str, right: bool) -> None:
    assert reason(sql, rows([1, 2.5, None, "a"])) == ("correct" if right else "wrong")


def test_infinity_and_huge_numbers() -> None:
    assert reason("SELECT 9e999", query("SELECT 1e999")) == "correct"
    assert reason("SELECT 5.0", query("SELECT 1e999")) == "wrong"
    assert reason("SELECT -9e999", query("SELECT 1e999")) == "wrong"
    assert reason("SELECT 9223372036854775807", query("SELECT 9223372036854775806")) == "wrong"
    assert reason("SELECT 1e-30", query("SELECT 2e-30")) == "wrong"  # relative: small is not equal to small


def test_a_tolerance_can_be_declared() -> None:
    assert reason("SELECT 3.14", rows([3.14159])) == "wrong"
    assert reason("SELECT 3.14", rows([3.14159]), tolerance=0.001) == "correct"
    assert reason("SELECT 3.10", rows([3.14159]), tolerance=0.001) == "wrong"
    assert reason("SELECT 3.0", rows([3]), tolerance=0.001) == "correct"
    assert reason("SELECT 3.001", rows([3]), tolerance=0.001) == "wrong"
    assert reason("SELECT 3.1415899999", rows([3.14159]), tolerance=0.0) == "wrong"


def test_a_tolerance_does_not_chain() -> None:
    """Values that are each close to the next are not all the same value."""
    truth = rows([1.0], [1.01], [1.02], [1.03])
    assert reason("VALUES (1.0), (1.0), (1.0), (1.0)", truth, tolerance=0.011) == "wrong"


def test_rows_that_differ_only_in_rounding_match_in_any_order() -> None:
    truth = rows([0.3, "b"], [0.30000000000000004, "a"])
    assert reason("VALUES (0.30000000000000004, 'b'), (0.3, 'a')", truth) == "correct"
    assert reason("VALUES (0.3, 'a'), (0.3, 'a')", truth) == "wrong"


def test_duplicates_count() -> None:
    truth = query("SELECT pay FROM person")
    assert reason("SELECT DISTINCT pay FROM person", truth) == "wrong"
    assert reason("VALUES (10.5), (20.25), (30.0), (10.5)", truth) == "correct"
    assert reason("VALUES (10.5), (20.25), (30.0), (30.0)", truth) == "wrong"


@pytest.mark.parametrize(
    ("truth", "sql", "why"),
    [
        (query("SELECT name FROM person ORDER BY name DESC"), "SELECT name FROM person ORDER BY id DESC", "correct"),
        (query("SELECT name FROM person ORDER BY name DESC"), "SELECT name FROM person ORDER BY id", "wrong"),
        (query("SELECT name FROM person ORDER BY name DESC", ordered=False), "SELECT name FROM person ORDER BY id", "correct"),
        (query("SELECT name FROM person"), "SELECT name FROM person ORDER BY id DESC", "correct"),
        (query("SELECT name FROM (SELECT * FROM person ORDER BY id)"), "SELECT name FROM person ORDER BY id DESC", "correct"),
        (rows(["Ann"], ["Cid"], ordered=True), "SELECT name FROM romans ORDER BY name", "correct"),
        (rows(["Ann"], ["Cid"], ordered=True), "SELECT name FROM romans ORDER BY name DESC", "wrong"),
        (rows(["Ann"], ["Cid"]), "SELECT name FROM romans ORDER BY name DESC", "correct"),
    ],
)
def test_order(truth: dict[str, Any], sql: str, why: str) -> None:
    verdict = judge(sql, truth)
    assert verdict.reason == why
    assert why == "correct" or verdict.detail.endswith("the right rows in the wrong order")


@pytest.mark.parametrize(
    "end",
    ["", ";", " -- the least first", "\n/* limit */ LIMIT 4", " -- of four\n LIMIT 4;", ", length(name) LIMIT 9 OFFSET 0"],
)
def test_only_tied_rows_may_come_in_any_order(end: str) -> None:
    truth = query(f"SELECT name, pay FROM person ORDER BY pay{end}")  # Ann and Dan have the same
    assert reason("SELECT name, pay FROM person ORDER BY pay, name", truth) == "correct"
    assert reason("SELECT name, pay FROM person ORDER BY pay, name DESC", truth) == "correct"
    assert reason("SELECT name, pay FROM person ORDER BY pay DESC", truth) == "wrong"
    assert reason("SELECT name, pay FROM person ORDER BY name", truth) == "wrong"


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("select a from t order\n by a limit 3", True),
        ("SELECT a FROM t UNION SELECT b FROM u ORDER /* by */ BY 1", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x ORDER BY 1", True),
        ("SELECT a FROM t", False),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a)", False),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", False),
        ("SELECT 'order by' FROM t -- ORDER BY a", False),
        ('SELECT "order by", [order by], `order by` FROM t /* ORDER BY a */', False),
        ("SELECT 'it''s (' FROM t ORDER BY ')'", True),
        ("SELECT order_by FROM reorder", False),
    ],
)
def test_the_outermost_order_by(sql: str, ordered: bool) -> None:
    assert (outer_order(sql) is not None) == ordered


def test_a_constant_is_right_on_one_database_and_caught_on_two() -> None:
    """The pitfall of a single database, stated in the docstring: one result alone does not tell."""
    cheat = "VALUES ('Ann'), ('Cid')"
    assert reason(cheat) == "correct"
    two = {"databases": [SCHEMA, OTHER], "query": NAMES["query"]}
    verdict = judge(cheat, two)
    assert (verdict.score, verdict.reason) == (0.0, "wrong")
    assert verdict.detail.startswith("database 2 of 2: ")
    assert reason("SELECT name FROM person WHERE id % 2", two) == "correct"  # right on both by chance: a third would tell
    assert reason("SELECT name FROM person WHERE id IN (1, 3) AND pay > 1", two) == "wrong"
    assert reason("SELECT name FROM romans", two) == "correct"


READING = "SELECT name FROM romans"
ATTACKS = {
    "drop": ("DROP TABLE person", "not_read_only"),
    "delete": ("DELETE FROM person", "not_read_only"),
    "delete behind with": ("WITH r AS (SELECT 1) DELETE FROM person WHERE id IN r", "not_read_only"),
    "update returning": ("UPDATE person SET name = 'x' RETURNING name", "not_read_only"),
    "insert": ("INSERT INTO person(name) VALUES ('x')", "not_read_only"),
    "insert through the view": ("INSERT INTO romans(name) VALUES ('x')", "not_read_only"),
    "create": ("CREATE TABLE x AS SELECT 1", "not_read_only"),
    "create temporary": ("CREATE TEMP TABLE x(a)", "not_read_only"),
    "create trigger": ("CREATE TEMP TRIGGER x AFTER INSERT ON person BEGIN SELECT 1; END", "not_read_only"),
    "virtual table": ("CREATE VIRTUAL TABLE x USING fts5(a)", "not_read_only"),
    "pragma": ("PRAGMA query_only = 0", "not_read_only"),
    "pragma that reads": ("PRAGMA table_info(person)", "not_read_only"),
    "pragma as a table": ("SELECT name FROM pragma_table_info('person')", "sql_error"),
    "pragma as a table, counted": ("SELECT count(*) FROM pragma_database_list", "sql_error"),
    "transaction": ("BEGIN EXCLUSIVE", "not_read_only"),
    "savepoint": ("SAVEPOINT x", "not_read_only"),
    "analyze": ("ANALYZE", "not_read_only"),
    "vacuum": ("VACUUM", "not_read_only"),
    "the catalogue": ("SELECT sql FROM sqlite_master", "sql_error"),
    "the catalogue, in capitals": ("SELECT count(*) FROM SQLITE_SCHEMA", "sql_error"),
    "statements of the connection": ("SELECT sql FROM sqlite_stmt", "sql_error"),
    "pages": ("SELECT * FROM dbstat", "sql_error"),
    "the data as pages": ("SELECT data FROM sqlite_dbpage", "sql_error"),
    "load_extension": ("SELECT load_extension('/srv/made.so')", "not_deterministic"),
    "readfile": ("SELECT readfile('/etc/passwd')", "sql_error"),
    "writefile": ("SELECT writefile('/srv/made', 'x')", "sql_error"),
    "fts3_tokenizer": ("SELECT fts3_tokenizer('x')", "not_deterministic"),
    "random": ("SELECT name FROM person ORDER BY random()", "not_deterministic"),
    "randomblob": ("SELECT hex(randomblob(8))", "not_deterministic"),
    "current_timestamp": ("SELECT CURRENT_TIMESTAMP", "not_deterministic"),
    "now": ("SELECT date('now')", "not_deterministic"),
    "now, put together": ("SELECT datetime('N' || 'ow')", "not_deterministic"),
    "now, as a blob": ("SELECT julianday(CAST('now' AS BLOB))", "not_deterministic"),
    "now, with an end": ("SELECT time('now' || char(0) || 'x')", "not_deterministic"),
    "now, left out": ("SELECT strftime('%s')", "not_deterministic"),
    "now, left out of date": ("SELECT date()", "not_deterministic"),
    "time zone": ("SELECT datetime(born, 'localtime') FROM person", "not_deterministic"),
    "version": ("SELECT sqlite_version()", "not_deterministic"),
    "changes": ("SELECT total_changes()", "not_deterministic"),
    "zeroblob": ("SELECT zeroblob(1000000000)", "too_large"),
    "hex of a blob": ("SELECT hex(zeroblob(900000))", "too_large"),
    "replace": ("SELECT replace(hex(zeroblob(1000)), '0', hex(zeroblob(1000)))", "too_large"),
    "group_concat": ("SELECT group_concat(hex(zeroblob(400000))) FROM person a, person b", "too_large"),
    "many large values": ("SELECT hex(zeroblob(400000)) FROM person a, person b, person c", "too_large"),
    "endless recursion": ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", "too_many_rows"),
    "cartesian": (f"SELECT 1 FROM {', '.join(f'person p{at}' for at in range(20))}", "too_many_rows"),
    "deep brackets": (f"SELECT {'(' * 2000}1{')' * 2000}", "sql_error"),
    "deep nesting": (f"{'SELECT * FROM (' * 500}SELECT 1{')' * 500}", "sql_error"),
    "long sum": (f"SELECT {'1+' * 1000}1", "sql_error"),
    "deep minus": (f"SELECT {'- ' * 1000}1", "sql_error"),
    "long union": (" UNION ALL ".join(["SELECT 1"] * 500), "sql_error"),
    "many columns": (f"SELECT {', '.join(['1'] * 500)}", "sql_error"),
    "many joins": (f"SELECT 1 FROM {', '.join(f'person p{at}' for at in range(70))}", "sql_error"),
    "hard pattern": (f"SELECT name FROM person WHERE name LIKE '{'%a' * 400}'", "sql_error"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_nothing_at_once_and_the_next_query_is_scored_right(name: str) -> None:
    sql, why = ATTACKS[name]
    start = time.thread_time()
    assert reason(sql) == why
    assert time.thread_time() - start < 0.5
    assert reason(READING) == "correct"


@pytest.mark.parametrize("verb", ["ATTACH '{}' AS x", "VACUUM INTO '{}'", "ATTACH 'file:{}?mode=rwc' AS x"])
def test_no_file_is_written(verb: str, tmp_path: Path) -> None:
    for sql in (verb.format(tmp_path / "made"), "SELECT name FROM romans; " + verb.format(tmp_path / "made")):
        assert reason(sql) in ("not_read_only", "several_statements")
    script = f"CREATE TABLE t(a); {verb.format(tmp_path / 'made')}; INSERT INTO t VALUES (1)"
    assert "not_allowed" in str(SqlResult().check_truth({"schema": script, "query": "SELECT a FROM t"}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        f"SELECT count(*) FROM {', '.join(f'person p{at}' for at in range(20))}",
        f"SELECT p0.id FROM {', '.join(f'person p{at}' for at in range(14))} ORDER BY p1.name || p2.name",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n WHERE i > 1",
        "SELECT sum(length(date(a.born, '+' || (a.id * b.id) || ' days'))) FROM person a, person b, " + "person c, " * 0
        + ", ".join(f"person d{at}" for at in range(12)),
    ],
)  # fmt: skip
def test_a_query_that_does_not_end_is_stopped_at_its_limit(sql: str) -> None:
    start = time.thread_time()
    assert reason(sql, time_s=0.2) == "timeout"
    assert time.thread_time() - start < 0.6
    assert reason(READING) == "correct"


def test_the_time_limit_is_for_all_databases_together() -> None:
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT max(i) FROM n"
    start = time.thread_time()
    run(IMAGE, count.format(300_000), seconds=10, max_rows=10)
    once = time.thread_time() - start
    truth = {"databases": [SCHEMA] * 6, "query": "SELECT 300000"}
    assert reason(count.format(300_000), truth, time_s=20 * once) == "correct"
    assert reason(count.format(300_000), truth, time_s=2.5 * once) == "timeout"


def test_one_long_instruction_exceeds_the_limit_too() -> None:
    """SQLite checks the clock only between instructions; in a worker the deadline holds as well."""
    sql = "SELECT printf('%.*c', 60000000, 'x') IS NULL, name FROM romans"
    with pytest.raises(Refused, match="processor time") as caught:
        run(IMAGE, sql, seconds=0.05, max_rows=10)
    assert caught.value.reason == "timeout"


def test_results_are_bounded() -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"
    truth = query(numbers.format(50))
    assert reason(numbers.format(50), truth, max_rows=50) == "correct"
    assert reason(numbers.format(51), truth, max_rows=50) == "too_many_rows"
    assert reason(numbers.format(49), truth, max_rows=50) == "wrong"


@pytest.fixture(scope="module")
def workers() -> Any:
    with Supervisor(workers=1, deadline_s=2.0, memory_mb=256) as supervisor:
        yield supervisor


@pytest.mark.parametrize(
    ("sql", "why"),
    sampled([
        # Each of these doubles what is compiled, before the first instruction runs and anything can look at the clock.
        ("WITH c0(x) AS (SELECT 1)" + "".join(f", c{n}(x) AS (SELECT p.x FROM c{n - 1} p, c{n - 1} q)" for n in range(1, 40))
         + " SELECT x FROM c39", {"memory", "timeout"}),
        ("SELECT printf('%.*c', 2000000000, 'x')", {"timeout"}),
        ("WITH RECURSIVE n(i, t) AS (SELECT 1, hex(zeroblob(200000)) UNION ALL SELECT i + 1, t || '' FROM n) "
         "SELECT i FROM n ORDER BY t", {"memory", "timeout"}),
        (f"SELECT count(DISTINCT p0.name || {' || '.join(f'p{at}.id' for at in range(12))}) FROM "
         + ", ".join(f"person p{at}" for at in range(12)), {"memory", "timeout"}),
    ]),
)  # fmt: skip
def test_what_only_a_worker_process_stops(workers: Supervisor, sql: str, why: set[str]) -> None:
    verdict = workers.score(SqlResult(), f"```sql\n{sql}\n```", problem(NAMES))
    assert (verdict.outcome, verdict.score) == ("scored", 0.0)
    assert verdict.reason in why
    assert workers.score(SqlResult(), READING, problem(NAMES)).score == 1.0


def test_only_what_needs_no_query_is_scored_inline() -> None:
    verifier = SqlResult()
    assert verifier.quick(READING, problem(NAMES)) is None
    for response in ("", "<think>SELECT 1</think>", "SELECT 1 --" + "x" * 20_000):
        assert verifier.quick(response, problem(NAMES)) == verifier(response, problem(NAMES))
    unscorable = verifier.quick("", problem({"schema": "nonsense", "query": "SELECT 1"}))
    assert unscorable is not None
    assert unscorable.outcome == "unscorable"


def test_the_same_query_with_other_text_around_it_is_the_same() -> None:
    verifier = SqlResult()
    responses = (READING, f"Well:\n```sql\n{READING};\n```\nDone.")
    assert len({verifier.scored_part(response, problem(NAMES))[0] for response in responses}) == 1
    assert verifier.scored_part(READING, problem(NAMES)) != verifier.scored_part(f"{READING} --", problem(NAMES))


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        ({}, "one of 'schema' and 'databases'"),
        ({"schema": SCHEMA}, "one of 'query' and 'rows'"),
        ({"schema": SCHEMA, "databases": [SCHEMA], "query": "SELECT 1"}, "one of 'schema' and 'databases'"),
        ({"schema": SCHEMA, "query": "SELECT 1", "rows": [[1]]}, "one of 'query' and 'rows'"),
        ({"databases": [SCHEMA], "rows": [[1]]}, "with 'databases' give a 'query'"),
        ({"databases": [], "query": "SELECT 1"}, "a list of scripts"),
        ({"databases": SCHEMA, "query": "SELECT 1"}, "a list of scripts"),
        ({"schema": 3, "query": "SELECT 1"}, "must be a script"),
        ({"schema": "", "query": "SELECT 1"}, "the script makes no table"),
        ({"schema": "CREATE TABLE t(a", "query": "SELECT 1"}, "schema: sql_error: incomplete input"),
        ({"databases": [SCHEMA, "nonsense"], "query": "SELECT 1"}, "database 2: sql_error"),
        ({"databases": [SCHEMA, "CREATE TABLE t(a)"], "query": "SELECT name FROM person"}, "query on database 2: sql_error"),
        ({"schema": "CREATE TABLE t(a); INSERT INTO t VALUES (random())", "query": "SELECT a FROM t"}, "not_deterministic"),
        ({"schema": "CREATE TABLE t(a DEFAULT CURRENT_TIMESTAMP, b); INSERT INTO t(b) VALUES (1)", "query": "SELECT 1"},
         "current_timestamp"),
        ({"schema": "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                    "INSERT INTO t SELECT i FROM n", "query": "SELECT 1"}, "timeout"),
        (query(3), "query=3"),
        (query("SELECT nam FROM person"), "no such column: nam"),
        (query("DELETE FROM person"), "not_read_only"),
        (query("SELECT date('now')"), "not_deterministic"),
        (query("SELECT 1; SELECT 2"), "several_statements"),
        (query("SELECT name FROM person WHERE 0"), "no row is expected"),
        (query("SELECT name FROM person LIMIT 1"), "depends on the order in which tables are read"),
        (query("SELECT name FROM person ORDER BY pay LIMIT 1"), "depends on the order in which tables are read"),
        (query("SELECT name FROM person ORDER BY pay LIMIT 1", ordered=False), "depends on the order in which tables are read"),
        (query("SELECT group_concat(name) FROM person"), "depends on the order in which tables are read"),
        (query("SELECT name FROM person", ordered=True), "ordered=true: its query has no ORDER BY"),
        (query("SELECT name FROM person", ordered="yes"), "ordered='yes'"),
        (query("SELECT a.id FROM person a, person b, person c, person d, person e, person f, person g"), "too_many_rows"),
        (rows(), "no row is expected"),
        (rows([]), "list of lists"),
        ({"schema": SCHEMA, "rows": "Ann"}, "list of lists"),
        (rows([1], [1, 2]), "differ in length"),
        (rows([True]), "True"),
        (rows([[1]]), "no value of SQLite"),
        (rows([2**63]), "no value of SQLite"),
        (rows([float("nan")]), "no plain data"),
    ],
)  # fmt: skip
def test_a_truth_that_cannot_be_checked_is_refused_with_the_reason_and_never_scored(truth: dict[str, Any], says: str) -> None:
    found = SqlResult().check_truth(problem(truth).truth)
    assert found is not None
    assert says in found
    verdict = SqlResult()(READING, problem(truth))
    assert (verdict.outcome, verdict.detail) == ("unscorable", found)


def test_dumps_of_databases_are_accepted() -> None:
    dump = "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n" + SCHEMA + "CREATE INDEX i ON person(name);\nCOMMIT;\n"
    assert reason(READING, {"schema": dump, "query": NAMES["query"]}) == "correct"
    assert reason(READING, {"schema": "\n".join(_dump(SCHEMA)), "query": NAMES["query"]}) == "correct"


def _dump(script: str) -> list[str]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    lines = list(connection.iterdump())
    connection.close()
    return lines


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extract": "boxed"}, "extract=boxed: must be one of fenced, tag, whole"),
        ({"extract": ()}, "extract=[]"),
        ({"tag": "<a>"}, "tag='<a>'"),
        ({"time_s": 0}, "time_s=0"),
        ({"setup_s": float("inf")}, "setup_s=inf"),
        ({"max_rows": 0}, "max_rows=0"),
        ({"tolerance": -0.1}, "tolerance=-0.1"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is compared below
        SqlResult(**options)
    assert message in str(caught.value)


def test_bad_options_of_the_pack_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"rules\.sql\.verifier\.max_rows=0: must be at least 1"):
        load_rules("sql", ["rules.sql.verifier.max_rows=0"])


CELLS = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([0.5, 1.0, 2.25, -0.0]), st.sampled_from(["", "a", "1", "A"]))
TABLES = st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[CELLS] * width), min_size=1, max_size=6))


def literal(value: Any) -> str:
    return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else repr(value)


def values(table: list[tuple[Any, ...]]) -> str:
    return "VALUES " + ", ".join(f"({', '.join(map(literal, row))})" for row in table)


def schema(table: list[tuple[Any, ...]]) -> str:
    columns = ", ".join(f"c{at}" for at in range(len(table[0])))
    return f"CREATE TABLE t({columns}); INSERT INTO t {values(table)}"


@given(TABLES, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_the_order_of_rows_does_not_count(table: list[tuple[Any, ...]], rng: Any) -> None:
    shuffled = list(table)
    rng.shuffle(shuffled)
    truth = {"schema": schema(table), "query": "SELECT * FROM t"}
    assert reason(values(shuffled), truth) == "correct"
    assert reason("SELECT * FROM t", truth) == "correct"


@given(TABLES, st.data())
@settings(deadline=None, max_examples=60)
def test_a_row_added_removed_or_repeated_is_wrong(table: list[tuple[Any, ...]], data: st.DataObject) -> None:
    truth = {"schema": schema(table), "query": "SELECT * FROM t"}
    row = data.draw(st.sampled_from(table))
    assert reason(values([*table, row]), truth) == "wrong"
    other = data.draw(st.tuples(*[CELLS] * len(row)))
    fewer = list(table)
    fewer.remove(row)
    assert reason(values([*fewer, other]), truth) == ("correct" if other == row else "wrong")
    assert reason(values(fewer) if fewer else "SELECT * FROM t WHERE 0", truth) == "wrong"


@given(TABLES, st.data())
@settings(deadline=None, max_examples=60)
def test_if_the_order_counts_any_other_order_is_wrong(table: list[tuple[Any, ...]], data: st.DataObject) -> None:
    truth = {"schema": SCHEMA, "rows": [list(row) for row in table], "ordered": True}
    other = data.draw(st.permutations(table))
    assert reason(values(table), truth) == "correct"
    assert reason(values(other), truth) == ("correct" if other == table else "wrong")


@given(st.text(st.characters(exclude_categories=[]), max_size=200) | st.lists(st.sampled_from(
    ["SELECT", "*", "FROM", "person", "WHERE", "(", ")", "'", "1", ";", "--", ",", "name", "UNION", "\0", "```", "date('now')"]
)).map(" ".join))  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_any_text_is_scored_and_the_same_twice(text: str) -> None:
    verifier = SqlResult()
    verdict = verifier(text, problem(NAMES))
    assert verdict.outcome == "scored"
    assert verdict == verifier(text, problem(NAMES))


def test_in_a_pack_through_a_worker_and_pickled() -> None:
    pack = load_rules("sql")
    asked = problem(NAMES)
    assert pack.check_truth(asked) is None
    assert pack.judge(f"```sql\n{READING}\n```", asked).reward == 1.0
    assert pack.judge("```sql\nSELECT 1\n```", asked).reward == 0.0
    assert pickle.loads(pickle.dumps(SqlResult(time_s=0.5))) == SqlResult(time_s=0.5)


def test_the_audit_of_a_file_of_truths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["SELECT name FROM romans", "SELECT count(*) FROM person", "SELECT city, count(*) FROM person GROUP BY city"]
    lines = [
        {
            "prompt": f"Question {at}?",
            "truth": {"databases": [SCHEMA, OTHER], "query": sql},
            "completion": f"<think>The table person has what is asked for.</think>\n```sql\n{sql}\n```",
        }
        for at, sql in enumerate([*asked, "SELECT sum(pay) FROM person", "SELECT name FROM person ORDER BY pay DESC LIMIT 1"])
    ]
    file = tmp_path / "sql.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["audit", "rules=sql", "dataset=jsonl", f"dataset.path={file}", f"dataset.eval_path={_copy(file)}"]) == 0
    shown = capsys.readouterr().out
    assert "all 10 can be scored" in shown
    assert "10 of 10 get the full score" in shown


def _copy(file: Path) -> Path:
    copy = file.with_name("eval.jsonl")
    copy.write_text(file.read_text())
    return copy
