"""Reading SQL text just well enough: where a statement ends, how many parameters it takes, and what of PostgreSQL's dialect SQLite must not see.

One tokenizer serves both: it steps over literals, quoted names, comments and dollar quotes, so that nothing inside them is taken for SQL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from contracts.errors import Invalid
from contracts.ports import Sql

_OPAQUE = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|(?P<dollar>\$(?:[A-Za-z_]\w*)?\$).*?(?P=dollar)"
_LOCKING = (
    r"FOR\s+(?:NO\s+KEY\s+UPDATE|UPDATE|KEY\s+SHARE|SHARE)\b"
    r"(?:\s+OF\s+\w+(?:\s*,\s*\w+)*)?(?:\s+(?:SKIP\s+LOCKED|NOWAIT)\b)?"
)
_TOKEN = re.compile(
    rf"{_OPAQUE}|(?P<locking>\b{_LOCKING})|\$(?P<parameter>[0-9]+)|(?P<word>[A-Za-z_]\w*)|(?P<end>;)",
    re.IGNORECASE | re.DOTALL,
)
_READING = frozenset({"SELECT", "VALUES", "WITH"})
_CHANGING = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "PG_NOTIFY"})


class Plan(NamedTuple):
    """A statement as SQLite takes it: ``parameters`` is the highest ``$n``; ``is_read`` when a read-only connection can run it."""

    sql: str
    parameters: int
    is_read: bool


@lru_cache(maxsize=1024)
def plan_for_sqlite(sql: str) -> Plan:
    """Translate the shared dialect for SQLite.

    Row locks (``FOR UPDATE``, ``SKIP LOCKED``) are cut out: one writer at a time holds the whole database, so every row it sees is locked already and none is
    held by anybody else. ``$n`` stays: SQLite takes it as a named parameter, so one may be used twice and in any order.
    """
    highest, words = 0, []

    def visit(match: re.Match[str]) -> str:
        nonlocal highest
        if match["locking"]:
            return ""
        if match["parameter"]:
            highest = max(highest, int(match["parameter"]))
        elif match["word"]:
            words.append(match["word"].upper())
        return match[0]

    text = _TOKEN.sub(visit, sql).strip()
    is_read = bool(words) and words[0] in _READING and _CHANGING.isdisjoint(words)
    return Plan(text, highest, is_read)


def check_parameters(sql: str, parameters: Sequence[Sql]) -> Plan:
    """Return the statement's plan; raise TypeError when it takes another number of parameters (SQLite would ignore those left over).

    Raises Invalid for a text with a NUL character: PostgreSQL keeps none, and SQLite shall not keep what could not be kept there.
    """
    plan = plan_for_sqlite(sql)
    if len(parameters) != plan.parameters:
        raise TypeError(f"the statement takes {plan.parameters} parameters and was given {len(parameters)}: {sql}")
    _refuse_nul(parameters)
    return plan


def check_rows(sql: str, rows: Sequence[Sequence[Sql]]) -> Plan:
    """Return the plan of a statement that is run for each of at least one row."""
    for row in rows[1:]:
        if len(row) != len(rows[0]):
            raise TypeError(f"rows of {len(rows[0])} and of {len(row)} parameters for one statement: {sql}")
        _refuse_nul(row)
    return check_parameters(sql, rows[0])


def _refuse_nul(parameters: Sequence[Sql]) -> None:
    for value in parameters:
        if isinstance(value, str) and "\0" in value:
            raise Invalid("a text holds a NUL character, which no database keeps")


def split_statements(sql: str) -> list[str]:
    """Split a script at the semicolons that end statements, not at those inside a trigger's BEGIN … END, a literal, a comment or a dollar quote."""
    statements: list[str] = []
    start, words, depth = 0, 0, 0
    is_create, is_trigger = False, False
    for match in _TOKEN.finditer(sql):
        if match["word"]:
            word = match["word"].upper()
            words += 1
            is_create = word == "CREATE" if words == 1 else is_create
            is_trigger = is_trigger or (is_create and word == "TRIGGER" and words <= 3)  # CREATE [TEMP] TRIGGER
            if is_trigger and (word == "CASE" or (word == "BEGIN" and depth == 0)):
                depth += 1
            elif is_trigger and word == "END":
                depth -= 1
        elif match["end"] and depth == 0:
            if words:
                statements.append(sql[start : match.start()].strip())
            start, words, is_create, is_trigger = match.end(), 0, False, False
    if words:
        statements.append(sql[start:].strip())
    return statements
