"""Contestants and onlookers. Contestants press again with the same key until they are answered; onlookers come back with what they saw last."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from chaos.invariants import Onlooker
from chaos.load.book import Book, Sent
from chaos.load.http import Answer, Event, Lost, request, stream
from chaos.load.programs import Program

PASSWORD = "a password of some length"  # noqa: S105 - of people who live for some minutes, on a private server
AGAIN_S = (0.1, 0.5)
AGAIN_MOST_S = 2.0  # people do not wait longer before they press again, whatever Retry-After says
LOOK_S = 0.3
PATIENCE_S = 4.0  # with a verdict, before one submits the next
IN_FLIGHT_MOST = 8  # accepted and not judged, two for each worker: how long more would take says how fast the machine is, and not how it recovers


class Refused(Exception):
    """An answer that cannot be right."""


@dataclass(frozen=True)
class Person:
    """Somebody with an account and a personal API token."""

    name: str
    user_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What their program sends along."""
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class Crowd:
    """Everybody in front of the gateways at ``ports``."""

    ports: Sequence[int]
    rng: random.Random
    book: Book = field(default_factory=Book)
    over: trio.Event = field(default_factory=trio.Event)  # nobody begins anything new

    # ---- requests ----------------------------------------------------------------------------------------------------

    async def patiently(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        understood: Sequence[int] = (),
        port: int | None = None,
    ) -> Answer:
        """Ask any gateway (or that at ``port``) again and again until the answer is a success or ``understood``; Refused, and noted, when it is nonsense."""
        while True:
            try:
                answer = await request(port or self.rng.choice(self.ports), method, path, body, headers)
            except Lost:
                self.book.answers[0] += 1
                await trio.sleep(self.rng.uniform(*AGAIN_S))
                continue
            self.book.answers[answer.status] += 1
            if answer.status < 400 or answer.status in understood:
                return answer
            if answer.status not in (429, 502, 503, 504):
                self.book.strange(f"{method} {path}", answer.status, answer.body)
                raise Refused(f"{method} {path}: {answer.status} {answer.body[:500]!r}")
            await trio.sleep(max(self.rng.uniform(*AGAIN_S), min(answer.retry_after_s, AGAIN_MOST_S)))

    async def sign_up(self, name: str) -> Person:
        """Make an account, or enter it when it turns out to be made already: the first answer may have been lost."""
        account = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        answer = await self.patiently("POST", "/api/v1/auth/signup", account, understood=(409,))
        if answer.status == 409:
            answer = await self.patiently("POST", "/api/v1/auth/signin", {"username": name, "password": PASSWORD})
        return await self.with_token(answer)

    async def sign_in(self, name: str, password: str) -> Person:
        """Enter an account."""
        return await self.with_token(
            await self.patiently("POST", "/api/v1/auth/signin", {"username": name, "password": password})
        )

    async def with_token(self, entered: Answer) -> Person:
        """Get a personal API token for who has just entered."""
        user, csrf = entered.json()["user"], entered.json()["csrf_token"]
        cookies = "; ".join(f"{name}={value}" for name, value in entered.cookies.items())
        headers = {"Cookie": cookies, "X-CSRF-Token": csrf}
        made = await self.patiently("POST", "/api/v1/auth/tokens", {"name": "chaos"}, headers)
        return Person(user["username"], user["id"], made.json()["token"])

    # ---- contestants -------------------------------------------------------------------------------------------------

    async def submit(self, person: Person, sent: Sent, problem_id: str, contest_id: str) -> None:
        """Press until it is accepted: with one key that is one submission."""
        body = {
            "problem_id": problem_id,
            "contest_id": contest_id,
            "language": sent.program.language,
            "source": sent.program.source,
        }
        headers = {**person.headers, "Idempotency-Key": sent.key}
        answer = await self.patiently("POST", "/api/v1/submissions", body, headers)
        self.book.accepted(sent, answer.json()["submission_id"])
        if self.rng.random() < 0.1:  # an impatient finger, or an answer that came after all
            answer = await self.patiently("POST", "/api/v1/submissions", body, headers)
            self.book.accepted(sent, answer.json()["submission_id"])

    async def follow(self, person: Person, sent: Sent) -> None:
        """Wait for the verdict: most watch it come, some ask now and then."""
        if self.rng.random() < 0.6:
            await self._watch(person, sent)
        while not sent.told:
            answer = await self.patiently("GET", f"/api/v1/submissions/{sent.submission_id}", headers=person.headers)
            if answer.json()["verdict"]:
                self.book.told(sent, answer.json()["verdict"])
                return
            await trio.sleep(LOOK_S)

    async def _watch(self, person: Person, sent: Sent) -> None:
        last_id = ""
        while not sent.told:
            headers = {**person.headers, **({"Last-Event-ID": last_id} if last_id else {})}
            with suppress(Lost):
                path = f"/api/v1/submissions/{sent.submission_id}/stream"
                async with stream(self.rng.choice(self.ports), path, headers) as events:
                    async for event in events:
                        last_id = event.id or last_id
                        if event.name == "verdict":
                            self.book.told(sent, event.data["verdict"])
                            return
            await trio.sleep(self.rng.uniform(*AGAIN_S))

    async def compete(
        self,
        person: Person,
        programs: Sequence[Program],
        problem_id: str,
        contest_id: str,
        most: int,
        pause_s: float,
    ) -> None:
        """Submit, wait a while for the verdict, rest about ``pause_s``, submit the next, until ``most`` were sent by everybody or it is over."""
        async with trio.open_nursery() as nursery:
            while not self.over.is_set() and len(self.book.sent) < most:
                sent = self.book.new(person.name, self.rng.choice(programs))
                await self.submit(person, sent, problem_id, contest_id)
                done = trio.Event()
                nursery.start_soon(self._follow_until, person, sent, done, name=f"{sent.key} follows")
                with trio.move_on_after(PATIENCE_S):
                    await done.wait()
                with trio.move_on_after(self.rng.uniform(0.2, 2.0) * pause_s):
                    await self.over.wait()
                while len(self.book.untold) >= IN_FLIGHT_MOST and not self.over.is_set():
                    await trio.sleep(LOOK_S)

    async def _follow_until(self, person: Person, sent: Sent, done: trio.Event) -> None:
        await self.follow(person, sent)
        done.set()


@dataclass
class Reader:
    """Somebody who only watches a contest's board, by turns on every gateway."""

    name: str
    path: str
    ports: Sequence[int]
    rng: random.Random
    book: Book
    turn: int = 0
    board: Onlooker = field(default_factory=Onlooker)
    breaks: int = 0
    is_open: bool = False

    async def watch(self) -> None:
        """Follow the board until cancelled."""
        while True:
            port = self.ports[self.turn % len(self.ports)]
            self.turn += 1
            headers = {"Last-Event-ID": self.board.event_id} if self.board.event_id else {}
            with suppress(Lost):
                async with stream(port, self.path, headers) as events:
                    self.board.is_back = bool(self.board.event_id)
                    self.is_open = True
                    async for event in events:
                        self._sees(event)
            self.is_open = False
            self.breaks += 1
            await trio.sleep(self.rng.uniform(*AGAIN_S))

    def _sees(self, event: Event) -> None:
        self.book.violations += self.board.sees(self.name, event.name, event.id, event.data)

    def cell(self, user_id: str, problem_id: str) -> Any:
        """Return what it shows of somebody's problem, None while that is nothing."""
        row: Any = self.board.rows.get(user_id)
        return None if row is None else row["cells"].get(problem_id)
