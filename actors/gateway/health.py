"""Health and metrics, for load balancers and operators."""

from __future__ import annotations

import msgspec
import trio
from quart import Blueprint, Response, g, request

from actors.gateway.addresses import is_direct_and_local
from actors.gateway.services import Services
from contracts.errors import CodeWarzError, Forbidden

PROBE_TIMEOUT_S = 2.0
BREAKERS_KEY = "circuit-breakers"


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str
    version: str


class Ready(msgspec.Struct, frozen=True):
    """Whether requests can be served, and what each part says ("ok" or the reason)."""

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


def make_blueprint(services: Services) -> Blueprint:
    """Return the routes beside the API."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/health/live")
    async def live() -> Response:
        return _json(Live("ok", services.version))

    @blueprint.get("/health/ready")
    async def ready() -> Response:
        checks = await _checks(services)
        is_ready = all(text == "ok" for text in checks.values())
        return _json(Ready("ok" if is_ready else "not ready", checks), 200 if is_ready else 503)

    @blueprint.get("/health/outbox")
    async def outbox() -> Response:
        row = await services.database.fetch_one(
            "SELECT COUNT(CASE WHEN parked_at_ms IS NULL THEN 1 END) AS waiting, COUNT(parked_at_ms) AS parked,"
            " MIN(CASE WHEN parked_at_ms IS NULL THEN created_at_ms END) AS oldest FROM outbox_messages WHERE sent_at_ms IS NULL"
        )
        assert row is not None
        oldest_ms = 0 if row["oldest"] is None else max(0, services.clock.now_ms() - row["oldest"])
        return _json(OutboxHealth(row["waiting"], row["parked"], oldest_ms))

    @blueprint.get("/health/circuit-breakers")
    async def breakers() -> Response:
        pairs = await services.redis.call("HGETALL", BREAKERS_KEY)
        named = zip(pairs[::2], pairs[1::2], strict=True)
        return _json(Breakers([Breaker(name.decode(), state.decode()) for name, state in sorted(named)]))

    @blueprint.get("/metrics")
    async def metrics() -> Response:
        if not (services.is_metrics_public or is_direct_and_local(g.address, request.headers)):
            raise Forbidden("Metrics are answered on the loopback address only; a setting opens them.")
        return Response(services.render_metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return blueprint


async def _checks(services: Services) -> dict[str, str]:
    checks = {"tree": "ok" if services.is_ready() else "not started yet"}

    async def check(name: str) -> None:
        try:
            with trio.fail_after(PROBE_TIMEOUT_S):
                if name == "database":
                    await services.database.fetch_one("SELECT 1 AS one")
                else:
                    await services.redis.call("PING")
            checks[name] = "ok"
        except trio.TooSlowError:
            checks[name] = f"no answer within {PROBE_TIMEOUT_S:g} s"
        except CodeWarzError as error:
            checks[name] = error.detail

    async with trio.open_nursery() as nursery:
        nursery.start_soon(check, "database", name="check database")
        nursery.start_soon(check, "redis", name="check redis")
    return dict(sorted(checks.items()))


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status=status, content_type="application/json")
