"""One process of CodeWarz, all of the house or some roles of it: the tree on its edges, HTTP, the control socket, signals, and an orderly end."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import structlog
import trio

from actors.edges import check_shared, open_edges
from actors.gateway.addresses import networks
from actors.gateway.app import make_app
from actors.gateway.health import Monitored
from actors.gateway.monitor import make_monitor
from actors.gateway.services import Services
from actors.gateway.sse import Hub, StreamLimits
from actors.presence import Node, Presence, described
from actors.settings import Settings
from actors.system import EVERY_ROLE, Neighbours, Role, build, needs
from edge import http
from edge.aio import AsyncioLoop
from edge.clock import SystemClock
from edge.sqlite import SqliteDatabase
from edge.telemetry import PrometheusMeter
from supervisor import Actor, Context, Event, LoopWatch, StopReport, Tree
from supervisor.control import Handler, serve_control

HTTP_GRACE_S = 3.0

_log = structlog.get_logger("house")


@dataclass
class House:
    """One process of CodeWarz, described and not yet running."""

    settings: Settings
    neighbours: Neighbours
    tree: Tree
    address: http.Address
    meter: PrometheusMeter
    check: Callable[[], Awaitable[None]]  # raises at once, with one clear line, what no restart could mend
    aio: AsyncioLoop | None  # open around the tree, when anything in it is networked
    started_at_ms: int

    async def run(self, verbs: Callable[[House], dict[str, Handler]], started: Callable[[House], None]) -> StopReport:
        """Run until a signal says stop. SIGTERM or SIGINT drains; a second one stops at once."""
        report = StopReport(clean=True, took_s=0.0)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with self.aio or nullcontext(), trio.open_nursery() as nursery:
                await nursery.start(
                    partial(serve_control, self.tree, self.settings.socket, verbs=verbs(self)), name="control socket"
                )
                await self.check()
                watch = LoopWatch(self.tree.log, "loop", monotonic=time.monotonic, report=_report_blocked_loop)
                nursery.start_soon(watch.run, name="loop watch")
                nursery.start_soon(self._run_tree, nursery, started, name="tree")
                async for _ in signals:
                    break
                _log.info("draining", again="a second signal stops at once")
                nursery.start_soon(_stop_at_once, signals, name="second signal")
                report = await self.tree.shutdown()
                nursery.cancel_scope.cancel()
                if not report.clean:
                    _end(report)
        return report

    async def _run_tree(self, nursery: trio.Nursery, started: Callable[[House], None]) -> None:
        async with trio.open_nursery() as inner:
            await inner.start(self.tree.run)
            if self.tree.status().state == "running":  # and not ended by a signal before it was up
                started(self)
        # The tree ended without a signal: it was stopped from outside, or gave up (and raised).
        nursery.cancel_scope.cancel()


async def _stop_at_once(signals: Any) -> None:
    async for _ in signals:
        _end(None)


def _end(report: StopReport | None) -> None:
    """End the process now: sandboxes die with it, and what was not acknowledged is done at the next start."""
    print(report.text() if report else "stopped at once", file=sys.stderr, flush=True)  # noqa: T201 - the last word
    os._exit(1)


async def open_house(settings: Settings, tell: Callable[[str], None], roles: frozenset[Role] = EVERY_ROLE) -> House:
    """Describe the process that ``settings`` ask for; the whole house, or only some roles of it.

    Raises Unavailable, with the remedy, when code could not be judged safely here, and Invalid when the settings do not fit the roles.
    """
    settings.make_data_folder()
    clock, rng, meter = SystemClock(), random.SystemRandom(), PrometheusMeter()
    check_shared(settings, roles)
    edges = await open_edges(settings, needs(roles), meter, clock, rng, migrates=Role.CORE in roles)
    address = http.Address.parse(settings.http)
    house: list[House] = []

    def is_ready() -> bool:
        return bool(house) and house[0].tree.status().state == "running"

    if Role.GATEWAY in roles:
        app, around = _gateway(settings, edges.neighbours, meter, is_ready)
    else:
        app, around = _monitor(settings, edges.neighbours, meter, is_ready, roles), ()

    async def serve(ctx: Context[None]) -> None:
        await http.serve(app, address, ready=ctx.ready, draining=ctx.draining)

    def look() -> Node:
        now_ms = clock.now_ms()
        url = address.url
        return described(house[0].tree.status(), now_ms=now_ms, url=url, started_at_ms=house[0].started_at_ms, **who)

    who: dict[str, Any] = {
        "name": _name(settings),
        "roles": tuple(sorted(roles)),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    spec = build(
        settings,
        edges.neighbours,
        edges=edges.actors,
        sandboxes=None if edges.judging is None else edges.judging.run,
        web=(*around, Actor("http", serve, grace_s=HTTP_GRACE_S)),
        tell=tell,
        # Judges own leases by this name. Only one that was given is of one process at a time: another container may have the same host and number.
        node=settings.node or f"{_name(settings)}.{rng.getrandbits(32):08x}",
        roles=roles,
        presence=Presence(edges.neighbours.redis, clock, look).run if not settings.is_embedded("redis") else None,
    )
    jitter = random.Random(rng.getrandbits(64))  # noqa: S311 - backoffs, no secrets
    tree = Tree(spec, rng=jitter, wall_clock=time.time, on_event=_log_event)
    meter.watch(tree.status)

    async def check() -> None:
        await http.check(address)
        if isinstance(edges.neighbours.database, SqliteDatabase):
            async with edges.neighbours.database:
                pass

    house.append(House(settings, edges.neighbours, tree, address, meter, check, edges.aio, clock.now_ms()))
    return house[0]


def _gateway(
    settings: Settings, neighbours: Neighbours, meter: PrometheusMeter, is_ready: Callable[[], bool]
) -> tuple[Any, tuple[Actor, ...]]:
    """Return the gateway's application, and the actor that it needs beside it."""
    limits = StreamLimits.within(http.places())
    hub = Hub(neighbours.redis, neighbours.clock, neighbours.rng, meter, limits)
    services = Services(
        database=neighbours.database,
        redis=neighbours.redis,
        rpc=neighbours.rpc,
        clock=neighbours.clock,
        rng=neighbours.rng,
        passwords=neighbours.passwords,
        secret=settings.secret_bytes(),
        hub=hub,
        meter=meter,
        render_metrics=meter.render,
        is_ready=is_ready,
        version=version("codewarz"),
        is_secure_cookie=settings.secure_cookies,
        proxies=networks(settings.proxies),
        is_metrics_public=settings.public_metrics,
    )
    return make_app(services), (Actor("sse_hub", hub.run),)


def _monitor(
    settings: Settings,
    neighbours: Neighbours,
    meter: PrometheusMeter,
    is_ready: Callable[[], bool],
    roles: frozenset[Role],
) -> Any:
    """Return the application of a process without the gateway's role: health and metrics."""
    needed = needs(roles)
    what = Monitored(
        is_ready=is_ready,
        render_metrics=meter.render,
        clock=neighbours.clock,
        database=neighbours.database if "database" in needed else None,
        redis=neighbours.redis if "redis" in needed else None,
        broker=neighbours.broker if Role.JUDGE in roles else None,
        version=version("codewarz"),
        is_metrics_public=settings.public_metrics,
    )
    return make_monitor(what, neighbours.rng, networks(settings.proxies))


def _name(settings: Settings) -> str:
    """Return what this process is called in a cluster."""
    return settings.node or f"{socket.gethostname()}:{os.getpid()}"


def _report_blocked_loop(stack: str) -> None:
    """Called in the watching thread, while the loop is still blocked."""
    _log.error("loop_blocked", stack=stack)


def _log_event(event: Event) -> None:
    fields = event.as_map()
    fields["happened"] = fields.pop("kind")
    with suppress(KeyError):
        fields.pop("at")
    (_log.warning if event.worrying else _log.debug)("tree", **fields)
