"""Every key that the gateway and its neighbours read from Redis, as one of a wrong kind or with a value that nobody of the house writes.

Where it is security the door stays shut; where it is a picture of something durable it is made again; nobody is answered 500.
"""

from __future__ import annotations

import pytest

from actors import languages
from actors.boards import BoardView
from actors.gateway.health import BREAKERS_KEY
from actors.gateway.identity import REVOCATIONS_KEY, revoked_key
from actors.presence import KEY as NODES_KEY
from actors.presence import nodes
from actors.progress import begin, report
from actors.progress import channel as progress_channel
from actors.projector import Log
from contracts.life import State
from contracts.messages import BuildBoard, CloseSession, Offer, PersistVerdict, Progress, Submit, UpdateLeaderboard
from contracts.verdicts import Verdict
from edge.memory_redis import MemoryRedis
from tests.actors.gateway.conftest import House, Visitor, body_of
from tests.actors.gateway.test_streams import opened

KINDS = {
    "string": ["SET", "x"],
    "empty string": ["SET", ""],
    "list": ["RPUSH", "x"],
    "hash": ["HSET", "x", "x"],
    "set": ["SADD", "x"],
    "sorted set": ["ZADD", "1", "x"],
}
BOARD_KEYS = [f"board:{{open}}:{view}:{part}" for view in BoardView for part in ("meta", "rank", "rows", "cells")]
BEGINNINGS = [f"board:{{open}}:{view}:beginning" for view in BoardView]
KEYS = [
    REVOCATIONS_KEY,
    NODES_KEY,
    BREAKERS_KEY,
    "judge:languages:",
    "judge:languages:judge",
    progress_channel("waiting"),
    *BOARD_KEYS,
    *BEGINNINGS,
]
META: dict[str, list[str | None]] = {
    "version": ["x", "", "-1", "1.5", "99999999999999999999", str(2**62), "nan"],
    "epoch": [None],
    "contest_version": ["x", None, "9" * 5000],
    "freeze_ms": ["x", "9" * 5000],
    "start_ms": ["x", None],
    "end_ms": ["x", None],
    "rules": ["x", None],
    "writes": ["x", None, "nan", str(2**63 - 1)],
    "written_us": ["x", None],
}
PATHS = [
    "/api/v1/auth/me",
    "/api/v1/contests",
    "/api/v1/contests/open",
    "/api/v1/problems/add",
    "/api/v1/submissions",
    "/api/v1/submissions/waiting",
    "/api/v1/leaderboard/open",
    "/api/v1/leaderboard/open?view=jury",
    "/api/v1/leaderboard/open/users/ada",
    "/contests/open",
    "/contests/open/leaderboard",
    "/problems/add",
    "/submissions",
    "/submissions/waiting",
    "/health/ready",
    "/health/circuit-breakers",
]


async def spoil(redis: MemoryRedis, key: str, kind: str) -> None:
    await redis.call("DEL", key)
    command, *words = KINDS[kind]
    await redis.call(command, key, *words)


async def judged(house: House, submission_id: str, user: str) -> None:
    """Have a submission accepted and judged right, the fast path included."""
    persisted = PersistVerdict(submission_id=submission_id, attempt=1, fencing=0, verdict=Verdict.AC)
    event = await house.rpc.call("core", persisted, timeout=10)
    assert event is not None
    await house.rpc.call("leaderboard", UpdateLeaderboard(event=event), timeout=5)


async def submitted(house: House, submission_id: str, user: str) -> None:
    request = Submit(
        submission_id=submission_id,
        user_id=user,
        problem_id="add",
        contest_id="open",
        language="python",
        source="print(1)",
        correlation_id="c",
    )
    await house.rpc.call("core", request, timeout=10)


@pytest.fixture
async def scene(house: House, ada: Visitor, bob: Visitor) -> House:
    """A running contest: bob has solved a problem, ada waits for a verdict."""
    await house.problem("add", languages=("python",))
    await house.contest("open", "add")
    await house.register("open", "ada", "bob")
    await house.rpc.call("leaderboard", BuildBoard(contest_id="open"), timeout=5)
    await submitted(house, "solved", "bob")
    await judged(house, "solved", "bob")
    await submitted(house, "waiting", "ada")
    await begin(house.redis, Progress(submission_id="waiting", attempt=1, seq=1, state=State.COMPILING))
    await report(house.redis, Progress(submission_id="waiting", attempt=1, seq=2, state=State.RUNNING, tests_total=5))
    await languages.announce(house.redis, "judge", [Offer("python", "Python", "3.12")])
    return house


async def check_everything(house: House) -> None:
    """Ask everything of the gateway, as staff; then a verdict comes, and the board equals the log."""
    for path in PATHS:
        answer = await house.root.get(path)
        assert answer.status_code == 200, path
    async with opened(house.root, "/api/v1/leaderboard/stream/open") as stream:
        assert (await stream.next()).kind == "snapshot"
    async with opened(house.root, "/api/v1/submissions/waiting/stream") as stream:
        assert (await stream.next()).kind == "state"
    await nodes(house.redis, house.clock.now_ms())
    await judged(house, "waiting", "ada")
    for view in BoardView:
        board = await body_of(await house.root.get(f"/api/v1/leaderboard/open?view={view}"))
        assert {row["user_id"]: row["score"] for row in board["rows"]} == {"ada": 1, "bob": 1}
        log = Log(house.database)
        contest = await log.contest("open")
        assert contest is not None
        names, entries = await log.names("open"), await log.entries("open")
        assert await house.services.boards.differences(contest, view, names, entries) == []


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_of_any_kind_breaks_nothing(scene: House, key: str, kind: str) -> None:
    await spoil(scene.redis, key, kind)
    await check_everything(scene)


@pytest.mark.parametrize("view", BoardView)
@pytest.mark.parametrize(("field", "value"), [(field, value) for field in META for value in META[field]])
async def test_a_board_of_spoiled_settings_is_made_again(
    scene: House, view: BoardView, field: str, value: str | None
) -> None:
    meta = f"board:{{open}}:{view}:meta"
    await scene.redis.call("HDEL", meta, field)
    if value is not None:
        await scene.redis.call("HSET", meta, field, value)
    for path in PATHS:
        assert (await scene.root.get(path)).status_code == 200, path
    await judged(scene, "waiting", "ada")
    for path in PATHS:
        assert (await scene.root.get(path)).status_code == 200, path
    page = await scene.services.boards.page("open", view)
    assert page is not None
    assert page.version < 2**53


@pytest.mark.parametrize("row", [b"x", b"\xff", b"{}", b"[]", b"null", b"[" * 50_000, None], ids=repr)
async def test_a_row_that_cannot_be_read_is_made_again(scene: House, row: bytes | None) -> None:
    for view in BoardView:
        await scene.redis.call("HDEL", f"board:{{open}}:{view}:rows", "ada")
        if row is not None:
            await scene.redis.call("HSET", f"board:{{open}}:{view}:rows", "ada", row)
    await check_everything(scene)


STEPS = [b"x", b"\xff", b"[" * 50_000, b'{"type":"Progress","submission_id":"waiting","attempt":1,"seq":3,"state":"x"}']


@pytest.mark.parametrize("step", STEPS, ids=lambda step: repr(step[:9] + step[-9:]))
async def test_a_step_that_cannot_be_read_is_left_out(scene: House, step: bytes) -> None:
    await scene.redis.call("RPUSH", progress_channel("waiting"), step)
    answer = await body_of(await scene.root.get("/api/v1/submissions/waiting"))
    assert answer["state"] == "running"
    await check_everything(scene)


async def test_of_a_list_without_end_only_what_a_judging_can_have_is_read(scene: House) -> None:
    key = progress_channel("waiting")
    for _ in range(20):
        await scene.redis.call("LPUSH", key, *[b"x" * 100] * 1000)
    answer = await body_of(await scene.root.get("/api/v1/submissions/waiting"))
    assert answer["state"] == "running"


# ---- signing out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_session_whose_revocation_is_of_any_kind_is_signed_out_and_nobody_else(
    scene: House, ada: Visitor, bob: Visitor, kind: str
) -> None:
    assert (await ada.get("/api/v1/auth/me")).status_code == 200
    await spoil(scene.redis, revoked_key("session-ada"), kind)
    assert (await ada.get("/api/v1/auth/me")).status_code == 401
    assert (await bob.get("/api/v1/auth/me")).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
async def test_a_redis_that_only_claims_to_know_the_revocations_is_taught_again(
    scene: House, ada: Visitor, bob: Visitor, kind: str
) -> None:
    await ada.get("/api/v1/auth/me")
    await spoil(scene.redis, REVOCATIONS_KEY, kind)
    await scene.rpc.call("core", CloseSession(session_id="session-ada"), timeout=10)
    assert (await ada.get("/api/v1/auth/me")).status_code == 401
    assert (await bob.get("/api/v1/auth/me")).status_code == 200
    assert await scene.redis.call("GET", REVOCATIONS_KEY) == b"1"
    assert await scene.redis.call("EXISTS", revoked_key("session-ada")) == 1
