"""Two hundred submissions of twenty people, posted together: right verdicts, the right board, and never more sandboxes than workers."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from typing import Self

import pytest

from tests.house.conftest import NewServer, Tell
from tests.house.judging import (
    assert_board_is_the_fold,
    assert_each_has_one_verdict,
    contestants,
    post_together,
    read,
    wait_until_judged,
)
from tests.house.programs import LANGUAGES, mixture
from tests.house.server import Server, until

pytestmark = pytest.mark.sandbox

WORKERS = 3
SUBMISSIONS = 200
PEOPLE = 20


class Watch:
    """Counts the server's sandboxes in the kernel's own list of processes, for as long as it is open."""

    def __init__(self, server: Server) -> None:
        self.peak = 0
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.peak = max(self.peak, len(self._server.boxes()))


def sandboxes(server: Server) -> dict[str, float]:
    """The gauge of sandboxes by state."""
    text = server.visitor().get("/metrics").expect(200).body.decode()
    return {
        state: float(value)
        for state, value in re.findall(r'^codewarz_sandboxes\{state="(\w+)"\} (\S+)$', text, re.MULTILINE)
    }


def test_two_hundred_submissions_of_twenty_people_get_the_right_verdicts(new_server: NewServer, tell: Tell) -> None:
    server = new_server(workers=WORKERS)
    server.start()
    contest_id = server.visitor().contest()["id"]
    people = contestants(server, [f"person{number}" for number in range(PEOPLE)], contest_id)
    problem = next(iter(people[0].problems(contest_id).values()))
    languages = {each["id"] for each in people[0].get(f"/api/v1/problems/{problem['problem_id']}").json["languages"]}
    programs = mixture(SUBMISSIONS, languages)

    began = time.monotonic()
    with Watch(server) as watch:
        sent = post_together(people, programs, contest_id)
        posted_s = time.monotonic() - began
        wait_until_judged(server, 300.0)
    took_s = time.monotonic() - began

    rows = {row["id"]: row for row in read(server, "SELECT * FROM submissions WHERE kind = 'submission'")}
    wrong = [
        f"{program.slug} {program.name}: {rows[each]['verdict']} instead of {program.verdicts}"
        for each, program in sent.items()
        if rows[each]["verdict"] not in program.verdicts
    ]
    assert wrong == []
    assert_each_has_one_verdict(server, list(sent))
    assert len(sent) == SUBMISSIONS
    verdicts = Counter(row["verdict"] for row in rows.values())
    if set(LANGUAGES) <= languages:
        assert set(verdicts) == {"AC", "WA", "TLE", "MLE", "OLE", "RTE", "CE"}
        assert {row["language"] for row in rows.values()} == set(LANGUAGES)
    assert_board_is_the_fold(server, contest_id)

    until(lambda: sandboxes(server).get("busy") == 0, "the gauge of sandboxes says that all is quiet", 15.0)
    assert 1 <= sandboxes(server)["peak"] <= WORKERS
    assert 1 <= watch.peak <= WORKERS
    server.assert_untroubled()
    tell(
        f"{SUBMISSIONS} submissions accepted in {posted_s:.1f} s and judged in {took_s:.1f} s: {SUBMISSIONS / took_s:.2f}/s,"
        f" {dict(verdicts)}, at most {watch.peak} sandboxes"
    )
    server.stop()
