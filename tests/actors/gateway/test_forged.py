"""Well-formed messages of somebody who may publish and is none of us: what they do to streams and boards is gone again within a bounded time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.boards import BOARD_CHANNEL, BoardChanged, BoardRow, Boards, BoardView
from actors.gateway import sse
from actors.gateway.frames import Steps
from actors.gateway.sources import HEARTBEAT_S, PACE_S, ReadSteps, SubmissionSource
from actors.gateway.topics import DOUBT_S
from actors.progress import begin, report
from actors.progress import channel as progress_channel
from actors.projector import Log, Projector
from actors.sweeper import BOARDS_EVERY, PERIOD_S, Sweeper
from contracts.errors import NotFound
from contracts.life import State
from contracts.messages import (
    BoardInvalidated,
    Judged,
    PersistVerdict,
    Progress,
    Rejudge,
    ScoreChanged,
    Submit,
    UpdateLeaderboard,
)
from contracts.ports import Meter
from contracts.verdicts import TestResult, Verdict
from edge.memory_broker import MemoryBroker
from supervisor import Actor, Supervisor, Tree
from tests.actors.gateway.conftest import House, Visitor
from tests.actors.gateway.test_streams import BOARD, Event, Stream, opened, solve

LATEST = 2**31 - 1
SUBMISSION = "/api/v1/submissions/s1/stream"
ROW = BoardRow(1, "ada", "forged", 9, 0, 5, {})


async def forge(house: House, epoch: str, version: int, row: BoardRow | None = ROW) -> None:
    change = BoardChanged("open", BoardView.PUBLIC, epoch, version, 2, row)
    await house.redis.call("PUBLISH", BOARD_CHANNEL, msgspec.json.encode(change))


def epoch_of(event: Event) -> str:
    return (event.id or "").rpartition(":")[0]


class Reader:
    """A browser: what it shows of the board, by the rules of ``leaderboard.js``."""

    def __init__(self) -> None:
        self.version = -1
        self.names: dict[str, str] = {}
        self.scores: dict[str, int] = {}

    def take(self, event: Event) -> None:
        if event.kind == "reset":
            self.version = -1
        elif event.kind == "snapshot":
            self.version = event.data["version"]
            self.names = {row["user_id"]: row["username"] for row in event.data["rows"]}
            self.scores = {row["user_id"]: row["score"] for row in event.data["rows"]}
        elif event.data["version"] > self.version:
            self.version = event.data["version"]
            row = event.data["row"]
            self.names[row["user_id"]] = row["username"]
            self.scores[row["user_id"]] = row["score"]

    async def read(self, stream: Stream, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while True:
                self.take(await stream.next(2 * seconds + 60))


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param([("same", 1, ROW)], id="the next one"),
        pytest.param([("same", n, ROW) for n in range(1, 200)], id="two hundred in a row"),
        pytest.param([("same", 2**50, ROW)], id="far ahead"),
        pytest.param([("same", 3 * n, ROW) for n in range(1, 100)], id="with holes"),
        pytest.param([("other", 2**50, ROW)], id="of another board, far ahead"),
        pytest.param([("other", 2**50, None)], id="another board was made"),
        pytest.param([("same", 2**50, None)], id="this board was made"),
        pytest.param([("same", 1, ROW), ("other", 2**50, None)], id="both"),
    ],
)
async def test_a_stream_finds_back_from_a_forged_change(
    house: House, board: Boards, autojump_clock: MockClock, forged: list[tuple[str, int, BoardRow | None]]
) -> None:
    reader = Reader()
    async with opened(house.anonymous, BOARD) as stream:
        snapshot = await stream.next()
        reader.take(snapshot)
        for epoch, ahead, row in forged:
            await forge(house, epoch_of(snapshot) if epoch == "same" else epoch, snapshot.seq + ahead, row)
        with suppress(trio.EndOfChannel):
            await reader.read(stream, DOUBT_S + 4 * sse.CHECK_S)
    last = f"{epoch_of(snapshot)}:{snapshot.seq + 199}"
    for headers in (
        {},
        {"Last-Event-ID": last},
    ):  # those who come now, as a fresh page and with a number that never was
        reader = Reader()
        with trio.move_on_after(DOUBT_S + 4 * HEARTBEAT_S):
            while True:  # an EventSource comes back
                async with opened(house.anonymous, BOARD, **headers) as stream:
                    with suppress(trio.EndOfChannel):
                        await reader.read(stream, 1000)
                await trio.sleep(2)
        async with opened(house.anonymous, BOARD, **headers) as stream:
            await reader.read(stream, DOUBT_S + 4 * HEARTBEAT_S)
            await solve(house, board, "ada", 1, Verdict.AC)
            await reader.read(stream, 5)
            assert reader.names["ada"] == "ada"
            assert reader.scores["ada"] == 1


async def test_a_forged_change_is_taken_back_for_whoever_watches_when_nothing_else_happens(
    house: House, board: Boards, autojump_clock: MockClock
) -> None:
    reader = Reader()
    async with opened(house.anonymous, BOARD) as stream:
        reader.take(await stream.next())
        (topic,) = house.services.hub._topics.values()
        await forge(house, topic.epoch or "", topic.last + 1)
        reader.take(await stream.next())
        assert reader.names["ada"] == "forged"
        await reader.read(stream, DOUBT_S + 4 * sse.CHECK_S)
        assert reader.names["ada"] == "ada"
        await solve(house, board, "ada", 1, Verdict.AC)
        update = await stream.next()
        assert (update.kind, update.data["row"]["score"]) == ("update", 1)


async def test_a_true_change_under_the_number_of_a_forged_one_is_shown_at_once(house: House, board: Boards) -> None:
    async with opened(house.anonymous, BOARD) as stream:
        snapshot = await stream.next()
        await forge(house, epoch_of(snapshot), snapshot.seq + 1)
        assert (await stream.next()).data["row"]["username"] == "forged"
        await solve(house, board, "ada", 1, Verdict.AC)
        reset, fresh = await stream.next(), await stream.next()
        assert (reset.kind, fresh.kind) == ("reset", "snapshot")
        assert [row["username"] for row in fresh.data["rows"]] == ["ada", "bob"]


async def test_a_change_in_the_place_of_one_that_waits_is_not_passed_on(house: House, board: Boards) -> None:
    async with opened(house.anonymous, BOARD) as stream:
        snapshot = await stream.next()
        true = BoardRow(1, "bob", "bob", 1, 0, 5, {})
        await forge(house, epoch_of(snapshot), snapshot.seq + 2, true)
        await forge(house, epoch_of(snapshot), snapshot.seq + 2)
        assert [(await stream.next()).kind for _ in range(2)] == ["reset", "snapshot"]


async def test_a_message_of_any_size_is_not_passed_on(house: House, board: Boards) -> None:
    async with opened(house.anonymous, BOARD) as stream:
        snapshot = await stream.next()
        large = msgspec.structs.replace(ROW, username="x" * sse.PAYLOAD_MAX)
        await forge(house, epoch_of(snapshot), snapshot.seq + 1, large)
        await solve(house, board, "bob", 1, Verdict.AC)
        assert (await stream.next()).data["row"]["user_id"] == "bob"


async def test_an_epoch_cannot_begin_another_event(house: House, board: Boards) -> None:
    for view in BoardView:
        await house.redis.call("HSET", f"board:{{open}}:{view}:meta", "epoch", "e\nevent: update")
    async with opened(house.anonymous, BOARD) as stream:  # the board is made again
        snapshot = await stream.next()
        assert snapshot.kind == "snapshot"
        assert "\n" not in (snapshot.id or "")


# ---- one submission --------------------------------------------------------------------------------------------------


@pytest.fixture
async def waiting(house: House, ada: Visitor) -> House:
    """A submission of ada's, of which a judge has told one step."""
    await house.problem("add")
    request = Submit(submission_id="s1", user_id="ada", problem_id="add", language="c", source="x", correlation_id="c")
    await house.rpc.call("core", request, timeout=10)
    await begin(house.redis, step(1, state=State.COMPILING))
    return house


def step(seq: int, attempt: int = 1, state: State = State.RUNNING, verdict: Verdict | None = None) -> Progress:
    return Progress(submission_id="s1", attempt=attempt, seq=seq, state=state, verdict=verdict)


async def persist(house: House, attempt: int = 1, fencing: int = 0) -> None:
    tests = (TestResult(1, Verdict.WA, 1, 2, 3),)
    request = PersistVerdict(submission_id="s1", attempt=attempt, fencing=fencing, verdict=Verdict.WA, tests=tests)
    judged = await house.rpc.call("core", request, timeout=10)
    assert judged is not None
    await house.rpc.call("leaderboard", UpdateLeaderboard(event=judged), timeout=10)


FORGED_STEPS = {
    "a verdict": step(1 << 30, state=State.JUDGED, verdict=Verdict.AC),
    "a verdict of a later attempt": step(1 << 30, LATEST, State.JUDGED, Verdict.AC),
    "a later attempt": step(3, LATEST),
    "the first step of a later attempt": step(1, LATEST),
    "a step far ahead": step(LATEST),
    "a step that was already": step(1),
}


@pytest.mark.parametrize("forged", FORGED_STEPS)
@pytest.mark.parametrize("times", [1, 50])
async def test_a_verdict_that_is_told_is_true_whatever_else_is_said(
    waiting: House, ada: Visitor, forged: str, times: int
) -> None:
    async with opened(ada, SUBMISSION) as stream:
        assert (await stream.next()).data["state"] == "compiling"
        for _ in range(times):
            await waiting.redis.call("PUBLISH", progress_channel("s1"), msgspec.json.encode(FORGED_STEPS[forged]))
            await trio.testing.wait_all_tasks_blocked(0.001)
        await persist(waiting)
        verdicts = [event for event in await stream.rest() if event.kind == "verdict"]
        assert [(event.data["attempt"], event.data["verdict"]) for event in verdicts] == [(1, "WA")]


async def test_a_verdict_that_is_kept_among_the_steps_is_none(waiting: House, ada: Visitor) -> None:
    await report(waiting.redis, FORGED_STEPS["a verdict"])
    for _ in range(2):
        async with opened(ada, SUBMISSION) as stream:
            assert (await stream.next()).data["state"] == "compiling"
            await report(waiting.redis, step(2))
            assert (await stream.next()).kind == "state"


@pytest.mark.parametrize("forged", ["a verdict", "a later attempt"])
async def test_a_flood_of_steps_does_not_make_a_gateway_read_and_read(
    waiting: House, ada: Visitor, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, forged: str
) -> None:
    reads: list[float] = []
    reading = SubmissionSource.__init__

    def counted(self: SubmissionSource, registry: Any, submission_id: str, read: ReadSteps, **more: Any) -> None:
        async def look() -> Steps:
            reads.append(trio.current_time())
            return await read()

        reading(self, registry, submission_id, look, **more)

    monkeypatch.setattr(SubmissionSource, "__init__", counted)
    async with opened(ada, SUBMISSION) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.rest, 60)
        for _ in range(100):
            await waiting.redis.call("PUBLISH", progress_channel("s1"), msgspec.json.encode(FORGED_STEPS[forged]))
            await trio.sleep(PACE_S / 20)
        nursery.cancel_scope.cancel()
    assert 3 <= len(reads) <= 8  # in five seconds, and the first picture


@pytest.mark.parametrize("forged", FORGED_STEPS)
async def test_steps_are_shown_again_soon_after_a_forged_one(
    waiting: House, ada: Visitor, autojump_clock: MockClock, forged: str
) -> None:
    async with opened(ada, SUBMISSION) as stream:
        await stream.next()
        await waiting.redis.call("PUBLISH", progress_channel("s1"), msgspec.json.encode(FORGED_STEPS[forged]))
        with trio.move_on_after(HEARTBEAT_S + 1):
            await stream.rest(2 * HEARTBEAT_S)
        await report(waiting.redis, step(2))
        event = await stream.next()
        assert (event.kind, event.data["attempt"], event.data["state"]) == ("state", 1, "running")


async def test_a_rejudging_is_followed_to_its_own_verdict(waiting: House, ada: Visitor, root: Visitor) -> None:
    async with opened(ada, SUBMISSION) as stream:
        await stream.next()
        await waiting.rpc.call(
            "core",
            PersistVerdict(submission_id="s1", attempt=1, fencing=0, verdict=Verdict.AC),
            timeout=10,
        )
        rejudge = Rejudge(rejudging_id="r", submission_id="s1", requested_by="root", correlation_id="c")
        await waiting.rpc.call("core", rejudge, timeout=10)
        await begin(waiting.redis, step(1, 2, State.COMPILING))
        events = [await stream.next(), await stream.next()]
        assert [(each.kind, each.data.get("attempt")) for each in events] == [("reset", None), ("state", 2)]
        await persist(waiting, attempt=2)
        assert [(each.kind, each.data.get("attempt")) for each in await stream.rest()] == [("verdict", 2)]


# ---- the board -------------------------------------------------------------------------------------------------------


def event(**changes: object) -> Judged:
    fields = {"contest_id": "open", "submission_id": "s9", "attempt": 1, "user_id": "ada", "problem_id": "add"}
    change = msgspec.convert(
        {**fields, "submitted_at_ms": 1_800_000_000_000, "verdict": "AC", "score": 0, **changes}, ScoreChanged
    )
    return Judged(
        submission_id=change.submission_id, attempt=change.attempt, verdict=change.verdict, score=0, change=change
    )


FORGED_EVENTS = {
    "a submission that never was": event(),
    "an attempt that never was": event(submission_id="solved", user_id="bob", attempt=LATEST, verdict="WA"),
    "another's submission": event(submission_id="solved", attempt=LATEST),
    "a problem that is not there": event(problem_id="none"),
    "a contest that is not there": event(contest_id="none"),
    "a user that is not there": event(user_id="none"),
    "the end of time": event(submitted_at_ms=2**53 - 1),
    "its beginning": event(submitted_at_ms=0),
}


@pytest.mark.parametrize("forged", FORGED_EVENTS)
async def test_a_board_equals_the_log_after_two_rounds_of_the_sweeper(
    house: House, board: Boards, meter: Meter, autojump_clock: MockClock, forged: str
) -> None:
    submit = Submit(
        submission_id="solved",
        user_id="bob",
        problem_id="add",
        contest_id="open",
        language="c",
        source="x",
        correlation_id="c",
    )
    await house.rpc.call("core", submit, timeout=10)
    for _ in range(3):
        with suppress(NotFound):  # that it is refused is as good
            await house.rpc.call("leaderboard", UpdateLeaderboard(event=FORGED_EVENTS[forged]), timeout=5)
    persisted = PersistVerdict(submission_id="solved", attempt=1, fencing=0, verdict=Verdict.AC)
    judged = await house.rpc.call("core", persisted, timeout=10)
    assert judged is not None
    await house.rpc.call("leaderboard", UpdateLeaderboard(event=judged), timeout=5)
    await house.database.execute("UPDATE outbox_messages SET sent_at_ms = 1")  # there is no relay here
    log = Log(house.database)
    sweeper = Sweeper(
        house.database, MemoryBroker(), house.redis, house.rpc, board, log, house.clock, house.services.rng, meter
    )
    tree = Tree(Supervisor("sweeping", (Actor("sweeper", sweeper.run),)), rng=house.services.rng, wall_clock=lambda: 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        await trio.sleep((2 * BOARDS_EVERY + 1) * PERIOD_S)
        await tree.shutdown()
    contest = await log.contest("open")
    assert contest is not None
    names, entries = await log.names("open"), await log.entries("open")
    for view in BoardView:
        assert await board.differences(contest, view, names, entries) == []


async def test_a_board_is_not_built_again_because_somebody_says_that_it_changed(house: House, board: Boards) -> None:
    before = await board.page("open", BoardView.PUBLIC)
    assert before is not None
    services = house.services
    one = Projector(board, Log(house.database), house.redis, house.clock, services.rng, services.meter)
    await one._handle(BoardInvalidated(contest_id="open"))
    assert await board.page("open", BoardView.PUBLIC) == before
    await house.database.execute("UPDATE contests SET version = version + 1 WHERE id = 'open'")
    await one._handle(BoardInvalidated(contest_id="open"))
    after = await board.page("open", BoardView.PUBLIC)
    assert after is not None
    assert after.epoch != before.epoch
