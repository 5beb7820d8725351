"""A contest on real edges for benchmarks: who submits, what is judged, and somebody who watches the board."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from actors.boards import BOARD_CHANNEL, BoardView
from contracts.messages import (
    AttachProblem,
    ContestSettings,
    CreateContest,
    CreateUser,
    ImportProblem,
    PersistVerdict,
    Register,
    Role,
    Submit,
    UpdateLeaderboard,
)
from contracts.ports import Redis, Rpc, Subscription, WallClock
from contracts.scoring import Rules
from contracts.verdicts import Verdict

TIMEOUT_S = 30.0
HOUR_MS = 3_600_000
CONTEST, PROBLEM, ADMIN, USER = "bench-contest", "bench-problem", "bench-admin", "bench-user"
SUMMARY = (
    b'{"title":"Bench","statement_html":"","statement_source":"","samples":[],"time_limit_ms":1000,"memory_limit_kb":65536,'
    b'"output_limit_kb":64,"tests_total":3}'
)


async def set_up(rpc: Rpc, clock: WallClock, users: int = 1) -> None:
    """Make the people, the problem and a contest in its middle."""
    for name, role in ((ADMIN, Role.ADMIN), *((f"{USER}-{number}", Role.CONTESTANT) for number in range(users))):
        made = CreateUser(user_id=name, username=name, email=f"{name}@example.org", password_hash="x", role=role)
        await rpc.call("core", made, timeout=TIMEOUT_S)
    problem = ImportProblem(
        problem_id=PROBLEM, slug=PROBLEM, title="Bench", digest="d", package=b"p", summary=SUMMARY, imported_by=ADMIN
    )
    await rpc.call("core", problem, timeout=TIMEOUT_S)
    now_ms = clock.now_ms()
    settings = ContestSettings(
        title="Bench", rules=Rules.ICPC, starts_at_ms=now_ms - HOUR_MS, ends_at_ms=now_ms + HOUR_MS
    )
    contest = CreateContest(contest_id=CONTEST, settings=settings, created_by=ADMIN)
    await rpc.call("core", contest, timeout=TIMEOUT_S)
    await rpc.call("core", AttachProblem(contest_id=CONTEST, problem_id=PROBLEM, label="A"), timeout=TIMEOUT_S)
    for number in range(users):
        entered = Register(contest_id=CONTEST, user_id=f"{USER}-{number}")
        await rpc.call("core", entered, timeout=TIMEOUT_S)


def submission(name: str, user: int = 0) -> Submit:
    """Return a submission as the gateway sends it, with an idempotency key."""
    return Submit(
        submission_id=name,
        user_id=f"{USER}-{user}",
        problem_id=PROBLEM,
        contest_id=CONTEST,
        language="python",
        source="print(sum(map(int, input().split())))\n" * 10,
        idempotency_key=name,
        body_hash="h",
        correlation_id=name,
    )


async def judge(rpc: Rpc, name: str, fencing: int) -> tuple[float, float]:
    """Persist a verdict as a judge does, and send it the fast way to the board. Returns when it was durable, and when the board was said to have it, on Trio's
    clock.
    """
    verdict = PersistVerdict(submission_id=name, attempt=1, fencing=fencing, verdict=Verdict.WA, judge="bench")
    judged = await rpc.call("core", verdict, timeout=TIMEOUT_S)
    assert judged is not None, f"{name} was judged by somebody else"
    durable = trio.current_time()
    await rpc.call("leaderboard", UpdateLeaderboard(event=judged), timeout=TIMEOUT_S)
    return durable, trio.current_time()


@asynccontextmanager
async def hearing(redis: Redis) -> AsyncIterator[list[float]]:
    """Listen to what Redis says of the public board for the length of the block, as a gateway does: yields when each change was heard."""
    heard: list[float] = []

    async def listen(events: Subscription) -> None:
        async for _channel, payload in events:
            if json.loads(payload)["view"] == BoardView.PUBLIC:
                heard.append(trio.current_time())

    async with redis.subscribe(BOARD_CHANNEL) as events, trio.open_nursery() as nursery:
        nursery.start_soon(listen, events)
        yield heard
        nursery.cancel_scope.cancel()


@dataclass
class Watcher:
    """Somebody who follows the board over HTTP; ``times`` are when each update had arrived, on Trio's clock."""

    times: list[float] = field(default_factory=list)
    _news: trio.Event = field(default_factory=trio.Event)

    async def next_update(self, after: int) -> float:
        """Return when the update number ``after`` (from 0) had arrived."""
        while len(self.times) <= after:
            self._news = trio.Event()
            await self._news.wait()
        return self.times[after]

    def take_in(self, event: bytes) -> None:
        """Note an event of the stream."""
        if b"event: update" in event:
            json.loads(event.partition(b"data: ")[2].split(b"\n", 1)[0])  # what a browser would do before it shows it
            self.times.append(trio.current_time())
            self._news.set()


@asynccontextmanager
async def watching(host: str, port: int) -> AsyncIterator[Watcher]:
    """Follow the contest's board for the length of the block; entered when its first event has come."""
    watcher, begun = Watcher(), trio.Event()
    stream = await trio.open_tcp_stream(host, port)
    stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)

    async def read() -> None:
        buffer = b""
        async for chunk in stream:
            buffer += chunk
            *events, buffer = buffer.split(b"\n\n")
            for event in events:
                watcher.take_in(event)
                if b"event: snapshot" in event:
                    begun.set()

    async with stream, trio.open_nursery() as nursery:
        request = (
            f"GET /api/v1/leaderboard/stream/{CONTEST} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n"
        )
        await stream.send_all(request.encode())
        nursery.start_soon(read)
        with trio.fail_after(TIMEOUT_S):
            await begun.wait()
        yield watcher
        nursery.cancel_scope.cancel()
