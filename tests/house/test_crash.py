"""Power cuts and operators: whatever is killed or restarted under load, what was accepted is judged, once."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self

import pytest

from tests.house.client import Client
from tests.house.conftest import NewServer, Tell
from tests.house.judging import (
    assert_board_is_the_fold,
    assert_each_has_one_verdict,
    contestants,
    count,
    read,
    wait_until_judged,
)
from tests.house.programs import Program, quick
from tests.house.server import Server, is_alive, until

pytestmark = pytest.mark.sandbox

WORKERS = 2
IN_FLIGHT = 100
MORE = 30  # sent while the server dies: nobody knows what became of them
AGAIN_AFTER_S = 0.1


class Crowd:
    """People who submit with a key each time, and after a failure again with the same key until they have an answer."""

    def __init__(self, people: Sequence[Client], contest_id: str) -> None:
        self.accepted: dict[str, str] = {}  # submission by key
        self._people = people
        self._contest_id = contest_id
        self._problems = people[0].problems(contest_id)
        self._over = threading.Event()

    def send(self, number: int, program: Program) -> None:
        """Send one until it is accepted; an answer that it was refused for good is an error."""
        client = self._people[number % len(self._people)]
        key = f"key {number}"
        body = {
            "problem_id": self._problems[program.slug]["problem_id"],
            "language": program.language,
            "source": program.source,
            "contest_id": self._contest_id,
        }
        while not self._over.is_set():
            try:
                answer = client.post("/api/v1/submissions", body, headers={"Idempotency-Key": key})
            except (OSError, http.client.HTTPException):  # it is away, or died in the middle of its answer
                time.sleep(AGAIN_AFTER_S)  # nothing but asking tells when it is back
                continue
            if answer.status == 202:
                self.accepted[key] = answer.json["submission_id"]
                return
            answer.expect_problem(429, 503, 504)
            time.sleep(AGAIN_AFTER_S)

    def send_all(self, first: int, programs: Sequence[Program], at_once: int = 20) -> None:
        """Send many at the same time; the first number makes their keys."""
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(self.send, range(first, first + len(programs)), programs))

    def give_up(self) -> None:
        """Let everybody go home."""
        self._over.set()


class Work:
    """Something that people do in threads while a test does something else; leaving waits for them and raises what went wrong there."""

    def __init__(self, crowd: Crowd, jobs: Sequence[Callable[[], None]]) -> None:
        self._crowd = crowd
        self._pool = ThreadPoolExecutor(len(jobs))
        self._jobs = [self._pool.submit(job) for job in jobs]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._crowd.give_up()
        self._pool.shutdown()
        if kind is None:
            for job in self._jobs:
                job.result()


class Load(Work):
    """People who submit, wait for the verdict and submit again, for as long as this is open."""

    def __init__(self, server: Server, crowd: Crowd, first: int, people: int = 3) -> None:
        self._server = server
        self._programs = quick(5)
        self._enough = threading.Event()
        self._numbers = itertools.count(first)
        super().__init__(crowd, [self._go_on] * people)

    def __exit__(self, kind: object, *rest: object) -> None:
        self._enough.set()
        super().__exit__(kind, *rest)

    def _go_on(self) -> None:
        while not self._enough.is_set():
            number = next(self._numbers)
            self._crowd.send(number, self._programs[number % len(self._programs)])
            self._wait_for(self._crowd.accepted.get(f"key {number}", ""))

    def _wait_for(self, submission_id: str) -> None:
        query = "SELECT count(*) FROM submissions WHERE id = ? AND verdict IS NOT NULL"
        until(lambda: self._enough.is_set() or count(self._server, query, submission_id), "it is judged", 120.0, 0.1)


@pytest.fixture(scope="module")
def server(new_server: NewServer) -> Iterator[Server]:
    server = new_server(workers=WORKERS)
    server.start()
    yield server
    server.stop()


def test_a_power_cut_with_a_hundred_submissions_in_flight_loses_none_and_judges_none_twice(
    server: Server, tell: Tell
) -> None:
    contest_id = server.visitor().contest()["id"]
    people = contestants(server, [f"cut{number}" for number in range(10)], contest_id)
    crowd = Crowd(people, contest_id)
    crowd.send_all(0, quick(IN_FLIGHT))
    waiting = count(server, "SELECT count(*) FROM submissions WHERE verdict IS NULL")
    assert waiting > IN_FLIGHT // 2, "they were judged too fast to be in flight"

    with Work(crowd, [partial(crowd.send_all, IN_FLIGHT, quick(MORE), at_once=4)]):
        until(lambda: len(crowd.accepted) > IN_FLIGHT + 5, "some more are accepted")
        below = server.everything_below()
        assert server.boxes()
        server.kill9()
        until(lambda: not any(map(is_alive, below)), "no sandbox outlives its server", 5.0)
        judged_before = count(server, "SELECT count(*) FROM verdicts")
        began = time.monotonic()
        started_s = server.start()

    wait_until_judged(server, 120.0)
    recovered_s = time.monotonic() - began
    assert len(crowd.accepted) == IN_FLIGHT + MORE
    assert count(server, "SELECT count(*) FROM submissions") == IN_FLIGHT + MORE
    assert_each_has_one_verdict(server, list(crowd.accepted.values()))
    assert {row["attempt"] for row in read(server, "SELECT attempt FROM verdicts")} == {1}
    assert_verdicts_are_right(server)

    before = dict(crowd.accepted)
    crowd.send_all(0, quick(IN_FLIGHT + MORE))
    assert crowd.accepted == before, "the same key is answered with the same submission, whatever happened in between"
    assert_board_is_the_fold(server, contest_id)
    server.assert_untroubled()
    tell(
        f"{judged_before} of {IN_FLIGHT + MORE} judged before kill -9; serving again after {started_s:.1f} s,"
        f" the last verdict {recovered_s:.1f} s after the start"
    )


def test_who_has_signed_out_stays_signed_out_through_a_power_cut(server: Server) -> None:
    client = server.user("leaver")
    kept = dict(client.cookies)
    client.post("/api/v1/auth/signout").expect(204)
    thief = Client(server, cookies=kept, csrf_token=client.csrf_token)
    thief.get("/api/v1/auth/me").expect_problem(401)
    server.kill9()
    server.start()
    thief.get("/api/v1/auth/me").expect_problem(401)
    thief.post("/api/v1/auth/refresh").expect_problem(401)


def test_restarting_every_part_under_load_loses_nothing_and_status_tells(server: Server, tell: Tell) -> None:
    contest_id = server.visitor().contest()["id"]
    people = contestants(server, [f"load{number}" for number in range(6)], contest_id)
    crowd = Crowd(people, contest_id)
    before = server.rows()
    parts = [path for path, row in before.items() if row["level"] > 0 and row["kind"] != "worker"]
    began = time.monotonic()
    with Load(server, crowd, 1000):
        for path in parts:
            assert server.cli("restart", path)["ok"]
    took_s = time.monotonic() - began

    wait_until_judged(server, 120.0)
    assert_each_has_one_verdict(server, list(crowd.accepted.values()))
    assert_verdicts_are_right(server)
    assert_board_is_the_fold(server, contest_id)
    after = server.rows()
    assert {path: row["state"] for path, row in after.items()} == {path: row["state"] for path, row in before.items()}
    silent = [path for path in parts if after[path]["restarts"] <= before[path]["restarts"]]
    assert silent == [], "status tells of every restart"
    assert [path for path, row in after.items() if row["quarantined"] or row["wedged"] or row["stuck"]] == []
    assert server.errors() == []
    assert server.is_ready()
    tell(f"{len(parts)} parts restarted in {took_s:.1f} s under a load of {len(crowd.accepted)} submissions")


def test_killing_and_scaling_judges_under_load_loses_nothing(server: Server) -> None:
    contest_id = server.visitor().contest()["id"]
    people = contestants(server, [f"scale{number}" for number in range(6)], contest_id)
    crowd = Crowd(people, contest_id)
    with Load(server, crowd, 2000):
        for path in (
            "judge/workers/1",
            "judge/workers",
            "judge/sandboxes",
            "judge/intake",
            "core/core",
            "leaderboard/projector",
        ):
            assert server.cli("stop", path)["ok"]
            assert server.rows()[f"codewarz/{path}"]["state"] == "stopped"
            assert server.cli("start", path)["ok"]
        assert server.cli("scale", "judge/workers", "1")["n"] == 1
        assert workers(server.rows()) == 1
        assert server.cli("scale", "judge/workers", "2")["n"] == 2
        assert workers(server.rows()) == 2
        for pid in server.boxes():
            kill_box(pid)

    wait_until_judged(server, 120.0)
    assert_each_has_one_verdict(server, list(crowd.accepted.values()))
    assert_verdicts_are_right(server)
    assert_board_is_the_fold(server, contest_id)
    assert server.errors() == []
    assert server.is_ready()


def workers(rows: dict[str, dict[str, Any]]) -> int:
    return sum(path.startswith("codewarz/judge/workers/") and row["state"] == "running" for path, row in rows.items())


def kill_box(pid: int) -> None:
    """End a sandbox from outside, as the kernel does when memory is short."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # its submission was judged meanwhile


def assert_verdicts_are_right(server: Server) -> None:
    right = {program.source: set(program.verdicts) for program in quick(5)}
    rows = read(server, "SELECT id, source, verdict FROM submissions")
    assert [row["id"] for row in rows if row["verdict"] not in right[row["source"]]] == []
