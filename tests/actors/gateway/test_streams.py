"""Live streams through the door: order, replay, reset, slow clients, heartbeats, caps, the end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from quart.testing.utils import make_test_scope
from werkzeug.datastructures import Headers

from actors.boards import BOARD_CHANNEL, BoardChanged, BoardRow, Boards, BoardView
from actors.gateway import sse, topics
from actors.gateway.identity import ACCESS_COOKIE
from actors.gateway.sources import HEARTBEAT_S
from actors.progress import announce, begin, report
from actors.progress import channel as progress_channel
from contracts.life import State
from contracts.messages import BuildBoard, PersistVerdict, Progress, Rejudge, Submit, UpdateLeaderboard
from contracts.scoring import Entry
from contracts.verdicts import TestResult, Verdict
from tests.actors.gateway.conftest import House, Visitor, body_of

BOARD = "/api/v1/leaderboard/stream/open"
UNREADABLE = [b"x", b"", b"\xff", b'{"contest_id":"\xff"}', b'{"epoch":' + b"[" * 50_000, b"[]"]


class Event(msgspec.Struct):
    """One event as a browser has it."""

    kind: str
    data: Any
    id: str | None = None

    @property
    def seq(self) -> int:
        assert self.id is not None
        return int(self.id.rpartition(":")[2])


class Stream:
    """A browser's EventSource."""

    def __init__(self) -> None:
        self.status = 0
        self.headers = Headers()
        self.begun = trio.Event()
        self.comments = 0
        self.retry_ms = 0
        self._text = ""
        self._send, self._receive = trio.open_memory_channel[bytes](4)

    async def hear(self, message: Any) -> None:
        """Take what the server sends; waits when nobody reads, as a socket does."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.begun.set()
            self.headers = Headers([(name.decode(), value.decode()) for name, value in message["headers"]])
        else:
            await self._send.send(message["body"])
            if not message.get("more_body", False):
                await self._send.aclose()

    async def next(self, timeout: float = 5) -> Event:
        """Return the next event; trio.EndOfChannel at the stream's end."""
        with trio.fail_after(timeout):
            while True:
                block, separator, rest = self._text.partition("\n\n")
                if not separator:
                    self._text += (await self._receive.receive()).decode()
                    continue
                self._text = rest
                self.comments += block.startswith(":")
                fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
                self.retry_ms = int(fields.get("retry", self.retry_ms))
                if "data" in fields:
                    return Event(fields["event"], msgspec.json.decode(fields["data"]), fields.get("id"))

    async def rest(self, timeout: float = 5) -> list[Event]:
        events = []
        while True:
            try:
                events.append(await self.next(timeout))
            except trio.EndOfChannel:
                return events


@asynccontextmanager
async def opened(visitor: Visitor, path: str, **headers: str) -> AsyncIterator[Stream]:
    """Open a stream as a browser does; leaving the block is closing the tab."""
    if visitor.access_token:
        headers["Cookie"] = f"{ACCESS_COOKIE}={visitor.access_token}"
    stream, left = Stream(), trio.Event()
    sent: list[bool] = []
    path, _, query = path.partition("?")
    scope: Any = make_test_scope("http", path, "GET", Headers(headers), query.encode(), "http", "", "1.1", None)
    scope["client"] = ("127.0.0.1", 1)

    async def receive() -> Any:
        if not sent:
            sent.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(visitor.app, scope, receive, stream.hear)
        with trio.fail_after(60):
            await stream.begun.wait()
        try:
            yield stream
        finally:
            left.set()


async def solve(house: House, board: Boards, user: str, number: int, verdict: Verdict = Verdict.WA) -> None:
    at_ms = house.clock.now_ms() + number
    await board.apply("open", user, [Entry(f"{user}-{number}", 1, user, "add", at_ms, verdict)])


class TestBoard:
    async def test_a_snapshot_comes_first_then_each_change(self, house: House, board: Boards) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            assert stream.status == 200
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            assert stream.headers["X-Accel-Buffering"] == "no"
            assert "no-transform" in stream.headers["Cache-Control"]
            snapshot = await stream.next()
            assert stream.retry_ms >= 1000
            assert snapshot.kind == "snapshot"
            assert {row["user_id"] for row in snapshot.data["rows"]} == {"ada", "bob"}
            await solve(house, board, "bob", 1, Verdict.AC)
            update = await stream.next()
            assert update.kind == "update"
            assert update.seq == snapshot.seq + 1
            assert update.data["row"]["user_id"] == "bob"
            assert update.data["row"]["rank"] == 1
            assert update.data["row"]["cells"]["add"]["solved"] is True

    async def test_a_change_between_subscribing_and_the_snapshot_is_seen_once(
        self, house: House, board: Boards
    ) -> None:
        async with opened(house.anonymous, BOARD) as first:
            await first.next()
            for number in range(5):
                await solve(house, board, "ada", number)
            async with opened(house.anonymous, BOARD) as second:
                snapshot = await second.next()
                await solve(house, board, "ada", 9)
                update = await second.next()
                assert update.seq == snapshot.seq + 1
                seen = [(await first.next()).seq for _ in range(6)]
                assert seen == sorted(set(seen))
                assert seen[-1] == update.seq

    async def test_last_event_id_replays_exactly_what_was_missed(self, house: House, board: Boards) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            first = await stream.next()
            await solve(house, board, "ada", 1)
            seen = await stream.next()
        for number in (2, 3, 4):
            await solve(house, board, "ada", number)
        async with opened(house.anonymous, BOARD, **{"Last-Event-ID": seen.id or ""}) as stream:
            assert [(event.kind, event.seq) for event in [await stream.next() for _ in range(3)]] == [
                ("update", first.seq + 2),
                ("update", first.seq + 3),
                ("update", first.seq + 4),
            ]

    @pytest.mark.parametrize("given", ["x", "unknown:5", "0:-1", ":", "a:99999999999999999999", "é:1"])
    async def test_an_unknown_last_event_id_resets(self, house: House, board: Boards, given: str) -> None:
        async with opened(house.anonymous, BOARD, **{"Last-Event-ID": given}) as stream:
            assert [(await stream.next()).kind for _ in range(2)] == ["reset", "snapshot"]

    async def test_one_too_old_for_the_ring_resets(
        self, house: House, board: Boards, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(topics, "RING_MAX", 3)
        async with opened(house.anonymous, BOARD) as stream:
            first = await stream.next()
            for number in range(5):
                await solve(house, board, "ada", number)
                await stream.next()
        async with opened(house.anonymous, BOARD, **{"Last-Event-ID": first.id or ""}) as stream:
            reset, snapshot = await stream.next(), await stream.next()
            assert (reset.kind, snapshot.kind) == ("reset", "snapshot")
            assert snapshot.seq == first.seq + 5

    async def test_a_slow_client_is_reset_and_holds_nobody_up(self, house: House, board: Boards) -> None:
        async with opened(house.anonymous, BOARD) as slow, opened(house.anonymous, BOARD) as quick:
            await slow.next()
            await quick.next()
            many = topics.QUEUE_MAX * 2 + 40
            for number in range(many):
                await solve(house, board, "ada", number)
                assert (await quick.next()).kind == "update"
            events: list[Event] = []
            while not events or events[-1].kind != "snapshot":
                events.append(await slow.next())
            assert "reset" in [event.kind for event in events]
            numbered = [event.seq for event in events if event.id is not None]
            assert numbered == sorted(set(numbered))
            await solve(house, board, "ada", many)
            last = [await slow.next()]
            while last[-1].data["row"]["cells"]["add"]["attempts"] <= many:
                last.append(await slow.next())
            assert [event.seq for event in last] == sorted({event.seq for event in last})

    async def test_a_change_that_overtakes_another_waits_for_it(self, house: House, board: Boards) -> None:
        def change(version: int, epoch: str) -> bytes:
            row = BoardRow(1, "ada", "ada", 0, 0, 0, {})
            return msgspec.json.encode(BoardChanged("open", BoardView.PUBLIC, epoch, version, 2, row))

        async with opened(house.anonymous, BOARD) as stream:
            snapshot = await stream.next()
            assert snapshot.id is not None
            epoch = snapshot.id.partition(":")[0]
            for step in (3, 2, 1, 1, 4):
                await house.redis.call("PUBLISH", BOARD_CHANNEL, change(snapshot.seq + step, epoch))
            assert [(await stream.next()).seq - snapshot.seq for _ in range(4)] == [1, 2, 3, 4]

    async def test_a_change_that_never_comes_resets(
        self, house: House, board: Boards, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            snapshot = await stream.next()
            assert snapshot.id is not None
            row = BoardRow(1, "ada", "ada", 0, 0, 0, {})
            lost = BoardChanged("open", BoardView.PUBLIC, snapshot.id.partition(":")[0], snapshot.seq + 2, 2, row)
            await house.redis.call("PUBLISH", BOARD_CHANNEL, msgspec.json.encode(lost))
            assert [(await stream.next()).kind for _ in range(2)] == ["reset", "snapshot"]

    async def test_a_lost_last_message_is_noticed_all_the_same(
        self, house: House, board: Boards, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            snapshot = await stream.next()
            await house.redis.call("HINCRBY", "board:{open}:public:meta", "version", 1)
            reset, fresh = await stream.next(3 * sse.CHECK_S), await stream.next()
            assert (reset.kind, fresh.kind, fresh.seq) == ("reset", "snapshot", snapshot.seq + 1)

    @pytest.mark.parametrize("spoiled", UNREADABLE, ids=lambda body: repr(body[:30]))
    async def test_what_is_no_event_is_passed_over(self, house: House, board: Boards, spoiled: bytes) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            await stream.next()
            for _ in range(5):
                await house.redis.call("PUBLISH", BOARD_CHANNEL, spoiled)
            await solve(house, board, "bob", 1, Verdict.AC)
            assert (await stream.next()).kind == "update"

    async def test_an_event_with_numbers_that_cannot_be_passed_on_is_passed_over(
        self, house: House, board: Boards
    ) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            snapshot = await stream.next()
            epoch, _, seq = (snapshot.id or "").rpartition(":")
            row = {"user_id": "x", "username": "x", "rank": 1, "score": 1, "penalty": 1, "last_ms": 1}
            spoiled = {"contest_id": "open", "view": "public", "epoch": epoch, "version": int(seq) + 1, "total": 1}
            body = json.dumps({**spoiled, "row": {**row, "cells": {"add": {"score": 10**400 + 1}}}})
            await house.redis.call("PUBLISH", BOARD_CHANNEL, body)
            await solve(house, board, "bob", 1, Verdict.AC)
            assert (await stream.next()).data["row"]["user_id"] == "bob"

    @pytest.mark.parametrize("spoil", [("SET", "x"), ("HSET", "version", "x")], ids=lambda spoil: spoil[0])
    async def test_a_board_whose_keys_are_spoiled_ends_nobody_elses_stream(
        self, house: House, board: Boards, spoil: tuple[str, ...], autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            await stream.next()
            live = house.services.hub._live
            meta = "board:{open}:public:meta"
            if spoil[0] == "SET":
                await house.redis.call("DEL", meta)
            await house.redis.call(spoil[0], meta, *spoil[1:])
            await trio.sleep(3 * sse.CHECK_S)
            assert house.services.hub._live is live  # its actor has not been restarted

    async def test_a_board_whose_version_is_none_is_built_again(self, house: House, board: Boards) -> None:
        await house.redis.call("HSET", "board:{open}:jury:meta", "contest_version", b"\xff")
        await house.rpc.call("leaderboard", BuildBoard(contest_id="open"), timeout=5)
        assert await board.contest_version("open") is not None

    async def test_a_board_made_afresh_resets(self, house: House, board: Boards) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            snapshot = await stream.next()
            await house.rpc.call("leaderboard", BuildBoard(contest_id="open", afresh=True), timeout=5)
            reset, fresh = await stream.next(), await stream.next()
            assert (reset.kind, fresh.kind) == ("reset", "snapshot")
            assert fresh.seq > snapshot.seq

    @pytest.mark.parametrize("distance", [-5, 0], ids=["older", "as old"])
    async def test_news_of_another_board_makes_everybody_look_again(
        self, house: House, board: Boards, distance: int
    ) -> None:
        """It may come late, of a board that is no more: who watches stays on the one that is, and sees what comes next."""
        async with opened(house.anonymous, BOARD) as stream:
            snapshot = await stream.next()
            row = BoardRow(1, "ada", "ada", 9, 0, -1, {})
            other = BoardChanged("open", BoardView.PUBLIC, "another", snapshot.seq + distance, 2, row)
            await house.redis.call("PUBLISH", BOARD_CHANNEL, msgspec.json.encode(other))
            assert [(await stream.next()).kind for _ in range(2)] == ["reset", "snapshot"]
            await solve(house, board, "ada", 1)
            update = await stream.next()
            assert (update.kind, update.seq) == ("update", snapshot.seq + 1)

    async def test_a_board_of_which_nobody_here_knows_the_state_is_looked_at_again(
        self, house: House, board: Boards, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Whoever watches has seen more than the news that made this gateway lose track, so nobody asks for a picture."""
        async with opened(house.anonymous, BOARD) as stream:
            snapshot = await stream.next()
            (topic,) = house.services.hub._topics.values()
            topic.lose_track("the board was made afresh", snapshot.seq)
            await solve(house, board, "ada", 1)
            assert (await stream.next(3 * sse.CHECK_S)).kind == "reset"
            assert (await stream.next()).seq == snapshot.seq + 1

    async def test_who_saw_a_newer_board_elsewhere_is_not_shown_the_one_that_is_kept_here(
        self, house: House, board: Boards
    ) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            known = await stream.next()
        # Made afresh, and this gateway has not heard of it: its subscription died in silence.
        await house.redis.call("HSET", "board:{open}:public:meta", "epoch", "afresh", "version", str(known.seq + 5))
        async with opened(house.anonymous, BOARD, **{"Last-Event-ID": f"afresh:{known.seq + 4}"}) as stream:
            reset, snapshot = await stream.next(), await stream.next()
            assert (reset.kind, snapshot.kind) == ("reset", "snapshot")
            assert snapshot.id == f"afresh:{known.seq + 5}"

    async def test_a_lost_subscription_resets_everybody(
        self, house: House, board: Boards, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            await stream.next()
            house.redis._pubsub.lose_all("cut")
            assert [(await stream.next()).kind for _ in range(2)] == ["reset", "snapshot"]
            await solve(house, board, "ada", 1)
            assert (await stream.next()).kind == "update"

    async def test_heartbeats_keep_an_idle_stream_open(
        self, house: House, board: Boards, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            await stream.next()
            began = trio.current_time()
            with pytest.raises(trio.TooSlowError):
                await stream.next(timeout=4 * HEARTBEAT_S + 1)
            assert trio.current_time() - began < 5 * HEARTBEAT_S
            assert stream.comments == 4

    async def test_a_stream_ends_after_its_age(
        self, house: House, board: Boards, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            await stream.next()
            began = trio.current_time()
            with pytest.raises(trio.EndOfChannel):
                await stream.next(timeout=2 * sse.MAX_AGE_S)
            assert 0.8 * sse.MAX_AGE_S <= trio.current_time() - began <= 1.2 * sse.MAX_AGE_S

    async def test_draining_ends_every_stream_and_lets_no_new_one_in(self, house: House, board: Boards) -> None:
        async with opened(house.anonymous, BOARD) as stream:
            await stream.next()
            house.services.hub.drain()
            with pytest.raises(trio.EndOfChannel):
                await stream.next()
        response = await house.anonymous.get(BOARD)
        assert response.status_code == 503
        assert response.headers["Retry-After"]

    async def test_streams_are_capped_and_given_back(self, house: House, board: Boards, ada: Visitor) -> None:
        hub = house.services.hub
        hub._limits = sse.StreamLimits(per_user=2)
        async with opened(ada, BOARD), opened(ada, BOARD):
            response = await ada.get(BOARD)
            assert response.status_code == 429
            assert response.headers["Retry-After"]
            async with opened(house.anonymous, BOARD) as other:
                assert other.status == 200
        assert hub.streams == 0
        async with opened(ada, BOARD) as again:
            assert again.status == 200

    async def test_head_gets_the_headers_and_keeps_nothing_open(self, house: House, board: Boards) -> None:
        response = await house.anonymous.request("HEAD", BOARD)
        assert (response.status_code, await response.get_data()) == (200, b"")
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert house.services.hub.streams == 0

    async def test_the_frozen_part_reaches_the_jurys_stream_only(self, house: House, ada: Visitor) -> None:
        await house.problem("add")
        await house.contest("open", "add", freezes_in_ms=-1000)
        await house.register("open", "ada")
        await house.rpc.call("leaderboard", BuildBoard(contest_id="open"), timeout=5)
        async with opened(house.anonymous, BOARD) as public, opened(house.root, f"{BOARD}?view=jury") as jury:
            assert (await public.next()).data["frozen"] is True
            await jury.next()
            await solve(house, house.services.boards, "ada", 1, Verdict.AC)
            assert (await jury.next()).data["row"]["cells"]["add"]["solved"] is True
            cell = (await public.next()).data["row"]["cells"]["add"]
            assert (cell["solved"], cell["pending"]) == (False, 1)


class TestSubmission:
    async def submit(self, house: House) -> str:
        await house.problem("add")
        request = Submit(
            submission_id="s1", user_id="ada", problem_id="add", language="c", source="x", correlation_id="c"
        )
        await house.rpc.call("core", request, timeout=10)
        return "/api/v1/submissions/s1/stream"

    def step(self, seq: int, state: State = State.RUNNING, number: int | None = None, attempt: int = 1) -> Progress:
        test = None if number is None else TestResult(number, Verdict.AC, 1, 2, 3)
        return Progress(submission_id="s1", attempt=attempt, seq=seq, state=state, test=test, tests_total=2)

    async def verdict(self, house: House, attempt: int = 1, fencing: int = 0) -> None:
        tests = (TestResult(1, Verdict.AC, 1, 2, 3), TestResult(2, Verdict.WA, 1, 2, 3))
        persist = PersistVerdict(
            submission_id="s1", attempt=attempt, fencing=fencing, verdict=Verdict.WA, tests=tests, judge="j"
        )
        judged = await house.rpc.call("core", persist, timeout=10)
        assert judged is not None
        await house.rpc.call("leaderboard", UpdateLeaderboard(event=judged), timeout=10)

    async def test_every_step_arrives_and_the_verdict_ends_it(self, house: House, ada: Visitor) -> None:
        async with opened(ada, await self.submit(house)) as stream:
            assert (await stream.next()).data["state"] == "queued"
            await begin(house.redis, self.step(1, State.COMPILING))
            await report(house.redis, self.step(2))
            await report(house.redis, self.step(3, number=1))
            await self.verdict(house)
            events = await stream.rest()
            assert [event.kind for event in events] == ["state", "state", "test", "verdict"]
            assert events[2].data["number"] == 1
            assert events[3].data["verdict"] == "WA"

    @pytest.mark.parametrize("spoiled", UNREADABLE, ids=lambda body: repr(body[:30]))
    async def test_what_is_no_step_is_passed_over(self, house: House, ada: Visitor, spoiled: bytes) -> None:
        async with opened(ada, await self.submit(house)) as stream:
            await stream.next()
            await house.redis.call("RPUSH", progress_channel("s1"), spoiled)
            for _ in range(5):
                await house.redis.call("PUBLISH", progress_channel("s1"), spoiled)
            await report(house.redis, self.step(2))
            assert (await stream.next()).data["state"] == "running"
        async with opened(ada, "/api/v1/submissions/s1/stream") as stream:  # and of the steps that are kept
            assert (await stream.next()).data["state"] == "running"

    async def test_steps_under_a_key_of_another_kind_are_none(self, house: House, ada: Visitor) -> None:
        path = await self.submit(house)
        await house.redis.call("SET", progress_channel("s1"), "x")
        async with opened(ada, path) as stream:
            assert (await stream.next()).data["state"] == "queued"

    async def test_who_comes_in_the_middle_sees_what_happened_before(self, house: House, ada: Visitor) -> None:
        path = await self.submit(house)
        await begin(house.redis, self.step(1, State.COMPILING))
        await report(house.redis, self.step(2, number=1))
        async with opened(ada, path) as stream:
            assert [(await stream.next()).kind for _ in range(2)] == ["state", "test"]
            await report(house.redis, self.step(3, number=2))
            assert (await stream.next()).data["number"] == 2

    async def test_who_comes_after_the_verdict_gets_it_all_and_the_end(self, house: House, ada: Visitor) -> None:
        path = await self.submit(house)
        await self.verdict(house)
        async with opened(ada, path) as stream:
            assert [event.kind for event in await stream.rest()] == ["state", "test", "test", "verdict"]

    async def test_a_judging_that_starts_over_starts_the_picture_over(self, house: House, ada: Visitor) -> None:
        async with opened(ada, await self.submit(house)) as stream:
            await stream.next()
            await begin(house.redis, self.step(1, State.COMPILING))
            await report(house.redis, self.step(2, number=1))
            assert [(await stream.next()).kind for _ in range(2)] == ["state", "test"]
            await begin(house.redis, self.step(1, State.COMPILING))
            assert [(await stream.next()).kind for _ in range(2)] == ["reset", "state"]
            await report(house.redis, self.step(2, number=1))
            assert (await stream.next()).kind == "test"

    async def test_steps_of_an_older_attempt_are_dropped(self, house: House, ada: Visitor, root: Visitor) -> None:
        path = await self.submit(house)
        await self.verdict(house)
        rejudge = Rejudge(rejudging_id="r", submission_id="s1", requested_by="root", correlation_id="c")
        await house.rpc.call("core", rejudge, timeout=10)
        async with opened(ada, path) as stream:
            assert (await stream.next()).data == {
                "submission_id": "s1",
                "attempt": 2,
                "state": "queued",
                "tests_total": 0,
            }
            await announce(house.redis, msgspec.structs.replace(self.step(1 << 30, State.JUDGED), verdict=Verdict.WA))
            await begin(house.redis, self.step(1, State.COMPILING, attempt=2))
            assert (await stream.next()).data["attempt"] == 2

    async def test_a_verdict_whose_message_was_lost_is_found(
        self, house: House, ada: Visitor, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened(ada, await self.submit(house)) as stream:
            await stream.next()
            persist = PersistVerdict(submission_id="s1", attempt=1, fencing=0, verdict=Verdict.JE, judge="j")
            await house.rpc.call("core", persist, timeout=10)
            assert [event.kind for event in await stream.rest(HEARTBEAT_S + 1)] == ["reset", "state", "verdict"]

    async def test_a_browser_that_comes_back_starts_over(self, house: House, ada: Visitor) -> None:
        path = await self.submit(house)
        await begin(house.redis, self.step(1, State.COMPILING))
        async with opened(ada, path, **{"Last-Event-ID": "1:1"}) as stream:
            assert [(await stream.next()).kind for _ in range(2)] == ["reset", "state"]

    async def test_nobody_keeps_anything_after_leaving(self, house: House, ada: Visitor) -> None:
        async with opened(ada, await self.submit(house)) as stream:
            await stream.next()
        assert house.services.hub._submissions == {}
        assert house.services.hub.streams == 0


async def test_a_hub_that_is_away_is_a_503(house: House, board: Boards, autojump_clock: trio.testing.MockClock) -> None:
    house.services.hub._live = trio.Event()
    response = await house.anonymous.get(BOARD)
    assert response.status_code == 503
    assert (await body_of(response))["type"] == "/problems/unavailable"
