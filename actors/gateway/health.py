"""Health and metrics, for load balancers and operators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog
import trio
from quart import Blueprint, Response, g, request

from actors.gateway.addresses import is_direct_and_local
from actors.outbox import QUEUES, SUBMISSION_QUEUE
from contracts.errors import CodeWarzError, Forbidden, NotFound, Unavailable
from contracts.ports import Broker, Database, Redis, WallClock

PROBE_TIMEOUT_S = 2.0
BREAKERS_KEY = "circuit-breakers"
AWAY = "away"

_log = structlog.get_logger("gateway")


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str
    version: str


class Ready(msgspec.Struct, frozen=True):
    """Whether requests can be served, and how each part is: "ok", or for who sits at this machine the reason, and "away" for everybody else."""

    status: str
    checks: dict[str, str]


class OutboxHealth(msgspec.Struct, frozen=True):
    """What the outbox holds: ``waiting`` to be published, ``parked`` after too many failures; ``oldest_ms`` is the age of the oldest that waits."""

    waiting: int
    parked: int
    oldest_ms: int


class Breaker(msgspec.Struct, frozen=True):
    """One circuit breaker."""

    name: str
    state: str


class Breakers(msgspec.Struct, frozen=True):
    """The cluster's circuit breakers; none while nothing has tripped."""

    items: list[Breaker]


@dataclass(frozen=True)
class Monitored:
    """What is looked at: a process's tree, its measurements, and the neighbours that it has."""

    is_ready: Callable[[], bool]  # whether the supervisor tree has started
    render_metrics: Callable[[], bytes]
    clock: WallClock
    database: Database | None = None
    redis: Redis | None = None
    broker: Broker | None = None  # of a judge, which can do nothing without the queue of requests
    version: str = "0"
    is_metrics_public: bool = False  # otherwise /metrics answers the loopback address only


def make_blueprint(what: Monitored) -> Blueprint:
    """Return the routes beside the API. Those of a neighbour that this process has not are not there."""
    blueprint = Blueprint("health", __name__)
    _add_probes(blueprint, what)
    if what.database is not None:
        _add_outbox(blueprint, what.database, what.clock)
    if what.redis is not None:
        _add_breakers(blueprint, what.redis)
    return blueprint


def _add_probes(blueprint: Blueprint, what: Monitored) -> None:

    @blueprint.get("/health/live")
    async def live() -> Response:
        return _json(Live("ok", what.version))

    @blueprint.get("/health/ready")
    async def ready() -> Response:
        checks = await _checks(what)
        is_ready = all(text == "ok" for text in checks.values())
        if not is_direct_and_local(g.address, request.headers):  # reasons name machines and accounts
            checks = {name: text if text == "ok" else AWAY for name, text in checks.items()}
        return _json(Ready("ok" if is_ready else "not ready", checks), 200 if is_ready else 503)

    @blueprint.get("/metrics")
    async def metrics() -> Response:
        if not (what.is_metrics_public or is_direct_and_local(g.address, request.headers)):
            raise Forbidden("Metrics are answered on the loopback address only; a setting opens them.")
        return Response(what.render_metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _add_outbox(blueprint: Blueprint, database: Database, clock: WallClock) -> None:
    @blueprint.get("/health/outbox")
    async def outbox() -> Response:
        row = await database.fetch_one(
            "SELECT COUNT(CASE WHEN parked_at_ms IS NULL THEN 1 END) AS waiting, COUNT(parked_at_ms) AS parked,"
            " MIN(CASE WHEN parked_at_ms IS NULL THEN created_at_ms END) AS oldest FROM outbox_messages WHERE sent_at_ms IS NULL"
        )
        assert row is not None
        oldest_ms = 0 if row["oldest"] is None else max(0, clock.now_ms() - row["oldest"])
        return _json(OutboxHealth(row["waiting"], row["parked"], oldest_ms))


def _add_breakers(blueprint: Blueprint, redis: Redis) -> None:
    @blueprint.get("/health/circuit-breakers")
    async def breakers() -> Response:
        try:
            pairs = await redis.call("HGETALL", BREAKERS_KEY)
        except Unavailable:
            raise
        except CodeWarzError as error:  # a key of another kind
            _log.error("unreadable_breakers", error=error.detail)
            pairs = []
        named = zip(pairs[::2], pairs[1::2], strict=True)
        return _json(
            Breakers(
                [
                    Breaker(name.decode(errors="replace"), state.decode(errors="replace"))
                    for name, state in sorted(named)
                ]
            )
        )


async def _checks(what: Monitored) -> dict[str, str]:
    checks = {"tree": "ok" if what.is_ready() else "not started yet"}

    async def check(name: str, look: Callable[[], Awaitable[object]]) -> None:
        try:
            with trio.fail_after(PROBE_TIMEOUT_S):
                await look()
            checks[name] = "ok"
        except trio.TooSlowError:
            checks[name] = f"no answer within {PROBE_TIMEOUT_S:g} s"
        except CodeWarzError as error:
            checks[name] = error.detail

    async with trio.open_nursery() as nursery:
        if what.database is not None:
            nursery.start_soon(
                check, "database", partial(what.database.fetch_one, "SELECT 1 AS one"), name="check database"
            )
        if what.redis is not None:
            nursery.start_soon(check, "redis", partial(what.redis.call, "PING"), name="check redis")
        if what.broker is not None:
            nursery.start_soon(check, "requests", partial(_look_for_requests, what.broker), name="check requests")
    return dict(sorted(checks.items()))


async def _look_for_requests(broker: Broker) -> None:
    """Return when the queue of requests is there; raises what the intake waits for."""
    try:
        await broker.depth(SUBMISSION_QUEUE.name)
    except NotFound:  # not seen yet: why not?
        await broker.declare(QUEUES)


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status=status, content_type="application/json")
