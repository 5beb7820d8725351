"""The verdict log, read from the database's own file, and the board that follows from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from contracts.scoring import BoardRules, Entry, Row, Rules, fold
from contracts.verdicts import Verdict
from tests.house.client import Client
from tests.house.programs import Program
from tests.house.server import Server, until


def read(server: Server, query: str, *parameters: object) -> list[dict[str, Any]]:
    """Run a query on the database's file, which is opened for reading only."""
    connection = sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(query, parameters)]
    finally:
        connection.close()


def count(server: Server, query: str, *parameters: object) -> int:
    """Return the one number that a query gives."""
    (row,) = read(server, query, *parameters)
    (number,) = row.values()
    return int(number)


def folded(server: Server, contest_id: str) -> list[Row]:
    """Fold the contest's verdict log with the scoring rules, as everybody may see it."""
    (contest,) = read(server, "SELECT * FROM contests WHERE id = ?", contest_id)
    rules = BoardRules(
        Rules(contest["rules"]), contest["starts_at_ms"], contest["ends_at_ms"], contest["freezes_at_ms"]
    )
    people = [
        row["user_id"] for row in read(server, "SELECT user_id FROM registrations WHERE contest_id = ?", contest_id)
    ]
    log = read(
        server,
        "SELECT s.id, s.user_id, s.problem_id, s.submitted_at_ms, v.attempt, v.verdict, v.score"
        " FROM verdicts v JOIN submissions s ON s.id = v.submission_id WHERE s.contest_id = ? AND s.kind = 'submission'",
        contest_id,
    )
    entries = [
        Entry(
            submission_id=row["id"],
            attempt=row["attempt"],
            user_id=row["user_id"],
            problem_id=row["problem_id"],
            submitted_at_ms=row["submitted_at_ms"],
            verdict=Verdict(row["verdict"]),
            score=row["score"],
        )
        for row in log
    ]
    return fold(rules, people, entries)


def board_of(client: Client, contest_id: str) -> list[dict[str, Any]]:
    """The board as the API shows it."""
    page = client.get(f"/api/v1/leaderboard/{contest_id}?limit=500").expect(200).json
    assert page["total"] == len(page["rows"])
    return list(page["rows"])


def as_shown(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A folded ICPC board in the shape of ``comparable``."""
    return [
        {
            "rank": row.rank,
            "user_id": row.user_id,
            "score": row.total.score,
            "penalty": row.total.penalty,
            "last_ms": row.total.last_ms,
            "cells": {
                problem: (cell.solved, cell.attempts, cell.pending, cell.time_ms) for problem, cell in row.cells.items()
            },
        }
        for row in rows
    ]


def comparable(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The API's rows without what a fold does not know: names, and the order among equals."""
    shown = [
        {
            **{name: row[name] for name in ("rank", "user_id", "score", "penalty", "last_ms")},
            "cells": {
                problem: (cell["solved"], cell["attempts"], cell["pending"], cell["time_ms"])
                for problem, cell in row["cells"].items()
            },
        }
        for row in rows
    ]
    return sorted(shown, key=lambda row: (row["rank"], row["user_id"]))


def assert_board_is_the_fold(server: Server, contest_id: str) -> None:
    """The board, from the API and in the operator's eyes, equals the fold of the verdict log."""
    wanted = as_shown(folded(server, contest_id))
    visitor = server.visitor()
    until(lambda: comparable(board_of(visitor, contest_id)) == wanted, "the board has caught up with the log", 10.0)
    verified = server.cli("board", "verify", contest_id)
    assert verified["equal"], verified


def contestants(server: Server, names: Sequence[str], contest_id: str) -> list[Client]:
    """Sign people up and into a contest, a few at a time: a password costs a tenth of a second of both."""

    def arrive(name: str) -> Client:
        client = server.user(name)
        client.register(contest_id)
        return client

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(arrive, names))


def post_together(
    people: Sequence[Client], programs: Sequence[Program], contest_id: str, at_once: int = 20
) -> dict[str, Program]:
    """Let everybody submit at the same time; return what was submitted by the identifiers of what was accepted."""
    problems = people[0].problems(contest_id)

    def send(job: tuple[Client, Program]) -> tuple[str, Program]:
        client, program = job
        problem_id = problems[program.slug]["problem_id"]
        return client.submit(problem_id, program.language, program.source, contest_id=contest_id), program

    jobs = [(people[index % len(people)], program) for index, program in enumerate(programs)]
    with ThreadPoolExecutor(at_once) as pool:
        return dict(pool.map(send, jobs))


def wait_until_judged(server: Server, timeout_s: float) -> None:
    """Wait until no submission is without a verdict."""
    until(
        lambda: count(server, "SELECT count(*) FROM submissions WHERE verdict IS NULL") == 0,
        "every submission has its verdict",
        timeout_s,
        0.1,
    )


def assert_each_has_one_verdict(server: Server, accepted: Sequence[str]) -> None:
    """What was accepted is what was judged: nothing lost, nothing twice, nothing that nobody sent."""
    known = {row["id"] for row in read(server, "SELECT id FROM submissions")}
    assert set(accepted) <= known
    lines = read(server, "SELECT submission_id, count(*) AS verdicts FROM verdicts GROUP BY submission_id")
    assert {line["submission_id"]: line["verdicts"] for line in lines} == dict.fromkeys(known, 1)
