"""People in front of a real house: what they send deserves known verdicts, one key is one submission, and what they were told is remembered."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from chaos.load.book import Book
from chaos.load.http import Event, Lost, parse, request
from chaos.load.people import Crowd, Reader, Refused
from chaos.load.programs import PACKAGE, RIGHT_ONE, SLOW, offered, write_package
from contracts.verdicts import Verdict
from sandbox.package_reader import load_package
from tests.house.server import ADMIN_PASSWORD, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("l"), workers=2, demo="false")
    made.start()
    yield made
    made.close()


@pytest.mark.sandbox
async def test_a_crowd_gets_what_it_deserves_and_every_reader_ends_on_the_last_version(
    server: Server, tmp_path: Path
) -> None:
    crowd = Crowd([server.port], random.Random(1))
    imported = await trio.to_thread.run_sync(lambda: server.cli("problem", "import", str(write_package(tmp_path))))
    assert imported["is_clean"]
    staff = await crowd.sign_in("admin", ADMIN_PASSWORD)
    person, again = await crowd.sign_up("ada"), await crowd.sign_up("ada")
    assert person.user_id == again.user_id, "an account whose first answer was lost is entered"
    now = datetime.now(UTC)
    settings = {
        "title": "A contest",
        "rules": "icpc",
        "start": (now - timedelta(minutes=1)).isoformat(),
        "end": (now + timedelta(hours=1)).isoformat(),
    }
    contest_id = (await crowd.patiently("POST", "/api/v1/contests", settings, staff.headers)).json()["id"]
    placed = {"problem_id": imported["problem_id"], "label": "A"}
    await crowd.patiently("POST", f"/api/v1/contests/{contest_id}/problems", placed, staff.headers)
    path = f"/api/v1/leaderboard/stream/{contest_id}"
    reader = Reader("reader", path, crowd.ports, crowd.rng, crowd.book)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.watch)
        programs = offered(["python"])
        with trio.fail_after(60):
            await crowd.compete(person, programs, imported["problem_id"], contest_id, most=8, pause_s=0.01)
            board = f"/api/v1/leaderboard/{contest_id}"
            page = (await crowd.patiently("GET", board)).json()
            while reader.board.version < page["version"]:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    book = crowd.book
    assert len(book.sent) == 8
    assert [sent.key for sent in book.sent if sent.told != sent.program.verdict] == []
    assert book.waiting == book.untold == []
    assert len(book.acknowledged) == 8
    assert reader.cell(person.user_id, imported["problem_id"]) == page["rows"][0]["cells"][imported["problem_id"]]
    assert book.violations == []


async def test_nonsense_is_noted_and_not_sent_again(server: Server) -> None:
    crowd = Crowd([server.port], random.Random(1))
    with pytest.raises(Refused, match="404"):
        await crowd.patiently("GET", "/api/v1/contests/nowhere")
    assert [each.invariant for each in crowd.book.violations] == ["I8"]


async def test_where_nobody_listens_an_answer_is_lost() -> None:
    with pytest.raises(Lost, match="GET /"):
        await request(1, "GET", "/")


def test_one_key_is_one_submission_and_a_verdict_is_not_taken_back() -> None:
    book = Book()
    sent = book.new("ada", RIGHT_ONE)
    assert book.waiting == [sent]
    book.accepted(sent, "s1")
    book.accepted(sent, "s1")
    assert book.violations == []
    assert (book.waiting, book.untold) == ([], [sent])
    book.accepted(sent, "s2")
    assert "one key, two submissions" in book.violations[0].detail
    book.told(sent, Verdict.WA)
    book.told(sent, Verdict.AC)
    assert "s2 was shown as WA, then as AC" in book.violations[1].detail


def test_every_verdict_is_among_the_programs_with_a_compiler_and_without(tmp_path: Path) -> None:
    wanted = {Verdict.AC, Verdict.WA, Verdict.TLE, Verdict.RTE, Verdict.CE}
    assert {each.verdict for each in offered(["c", "python"])} == wanted
    assert {each.verdict for each in offered(["python"])} == wanted
    assert SLOW in offered(["python"])
    package = load_package(write_package(tmp_path))
    assert len(package.tests) == sum(name.endswith(".in") for name in PACKAGE)
    assert package.warnings == ()


def test_events_are_read_as_they_come_over_the_wire() -> None:
    assert parse('event: update\nid: e:3\ndata: {"version":3}') == Event("update", "e:3", {"version": 3})
    assert parse(": \n") is None
    assert parse("retry: 2000") is None
