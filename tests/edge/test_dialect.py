"""Reading SQL: where statements end, what is translated for SQLite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialect import plan_for_sqlite, split_statements

TRIGGER = """CREATE TEMP TRIGGER t AFTER INSERT ON a
BEGIN
  UPDATE b SET x = CASE WHEN x > 1 THEN 2 ELSE 'END;' END;
  SELECT 1; -- END;
END"""
FUNCTION = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN PERFORM 1; RETURN NULL; END $body$"
STATEMENTS = [
    "SELECT 'a;b', \"c;d\" /* ; */",
    TRIGGER,
    FUNCTION,
    "CREATE TABLE begin_end (a TEXT DEFAULT 'it''s;')",
    "UPDATE t SET x = CASE WHEN 1 THEN 2 END",
]


@given(st.lists(st.sampled_from(STATEMENTS)), st.sampled_from([";", ";\n", " ; -- why; so\n"]))
def test_a_script_splits_into_its_statements(statements: list[str], separator: str) -> None:
    split = split_statements(separator.join(statements) + separator)
    assert [each.removeprefix("-- why; so").strip() for each in split] == statements


def test_comments_alone_are_no_statement() -> None:
    assert split_statements("-- nothing; here\n;;\n/* or; here */") == []


@pytest.mark.parametrize(
    "locking", ["FOR UPDATE", "for update skip locked", "FOR NO KEY UPDATE OF a, b NOWAIT", "FOR SHARE"]
)
def test_row_locks_are_cut_out(locking: str) -> None:
    plan = plan_for_sqlite(f"SELECT 'FOR UPDATE' FROM a WHERE x = $2 {locking}")
    assert plan.sql == "SELECT 'FOR UPDATE' FROM a WHERE x = $2"
    assert (plan.parameters, plan.is_read) == (2, True)


@pytest.mark.parametrize(
    ("sql", "is_read"),
    [
        ("SELECT 'DELETE'", True),
        ("-- a comment\n  select 1", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("WITH a AS (SELECT 1) INSERT INTO b SELECT * FROM a", False),
        ("SELECT pg_notify('a', '')", False),
        ("INSERT INTO a VALUES (1) RETURNING x", False),
        ("PRAGMA journal_mode", False),
    ],
)
def test_only_what_changes_nothing_is_a_read(sql: str, is_read: bool) -> None:
    assert plan_for_sqlite(sql).is_read is is_read
