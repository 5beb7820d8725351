"""The house in one process: concrete edges, the tree on them, the control socket, signals, and an orderly end.

Here, in ``system`` and in ``cli`` stands everything that knows which variant of a neighbour is used.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import structlog
import trio

from actors.gateway.addresses import networks
from actors.gateway.app import make_app
from actors.gateway.services import Services
from actors.gateway.sse import Hub, StreamLimits
from actors.judge.sandboxed import SandboxedJudging
from actors.settings import Settings
from actors.system import Edge, Neighbours, build
from edge import http
from edge.clock import SystemClock
from edge.memory_broker import MemoryBroker
from edge.memory_redis import MemoryRedis
from edge.migrations import load_migrations, migrate
from edge.passwords import Argon2Passwords
from edge.rpc import LocalRpc
from edge.sqlite import SqliteDatabase, path_of
from edge.telemetry import PrometheusMeter
from sandbox import capabilities
from sandbox.pool import Pool
from sandbox.validators import Validators
from supervisor import Actor, Context, Event, LoopWatch, StopReport, Tree
from supervisor.control import Handler, serve_control

HTTP_GRACE_S = 3.0
WARM_MOST = 4  # boxes kept ready: starting one costs some tens of milliseconds, keeping one some megabytes

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

    async def run(self, verbs: Callable[[House], dict[str, Handler]], started: Callable[[House], None]) -> StopReport:
        """Run until a signal says stop. SIGTERM or SIGINT drains; a second one stops at once."""
        report = StopReport(clean=True, took_s=0.0)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
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


async def open_house(settings: Settings, tell: Callable[[str], None]) -> House:
    """Describe the house that ``settings`` ask for; raises Unavailable, with the remedy, when code could not be judged safely here."""
    settings.make_data_folder()
    clock, rng, meter = SystemClock(), random.SystemRandom(), PrometheusMeter()
    redis, broker, rpc, passwords = MemoryRedis(clock), MemoryBroker(), LocalRpc(), Argon2Passwords()
    database = SqliteDatabase(path_of(settings.database_url))
    judging = await _judging(settings)
    neighbours = Neighbours(database, redis, broker, rpc, judging, passwords, meter, clock, rng)
    hub = Hub(redis, clock, rng, meter, StreamLimits.within(http.places()))
    house: list[House] = []
    services = Services(
        database=database,
        redis=redis,
        rpc=rpc,
        clock=clock,
        rng=rng,
        passwords=passwords,
        secret=settings.secret_bytes(),
        hub=hub,
        meter=meter,
        render_metrics=meter.render,
        is_ready=lambda: bool(house) and house[0].tree.status().state == "running",
        version=version("codewarz"),
        is_secure_cookie=settings.secure_cookies,
        proxies=networks(settings.proxies),
        is_metrics_public=settings.public_metrics,
    )
    address = http.Address.parse(settings.http)
    app = make_app(services)

    async def serve(ctx: Context[None]) -> None:
        await http.serve(app, address, ready=ctx.ready, draining=ctx.draining)

    edges = (
        Edge("database", _database(database, clock)),
        Edge("redis", _redis(redis)),
        Edge("broker", _broker(broker)),
    )
    gateway = (Actor("sse_hub", hub.run), Actor("http", serve, grace_s=HTTP_GRACE_S))
    spec = build(settings, neighbours, edges=edges, sandboxes=judging.run, gateway=gateway, tell=tell, node=_node())
    jitter = random.Random(rng.getrandbits(64))  # noqa: S311 - backoffs, no secrets
    tree = Tree(spec, rng=jitter, wall_clock=time.time, on_event=_log_event)
    meter.watch(tree.status)

    async def check() -> None:
        await http.check(address)
        async with database:
            pass

    house.append(House(settings, neighbours, tree, address, meter, check))
    return house[0]


def _node() -> str:
    """Tell this process's judges from those of others that share a Redis."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def _judging(settings: Settings) -> SandboxedJudging:
    found = await capabilities.probe()
    provider = found.provider()
    provider.clean_stale()
    pool = Pool(provider, settings.workers, warm=min(settings.workers, WARM_MOST))
    return SandboxedJudging(pool, Validators(found.languages), found.languages)


def _database(database: SqliteDatabase, clock: SystemClock) -> Callable[[Context[None]], Any]:
    migrations = load_migrations(Path(str(files("contracts") / "sql")), "sqlite")

    async def run(ctx: Context[None]) -> None:
        async with database:
            await migrate(database, migrations, clock)
            ctx.ready()
            await ctx.draining.wait()

    return run


def _redis(redis: MemoryRedis) -> Callable[[Context[None]], Any]:
    async def run(ctx: Context[None]) -> None:
        redis.reset()  # as a Redis without persistence that was restarted
        ctx.ready()
        await ctx.draining.wait()

    return run


def _broker(broker: MemoryBroker) -> Callable[[Context[None]], Any]:
    async def run(ctx: Context[None]) -> None:
        broker.restart()  # as a broker that was restarted: consumers must come again, queued messages are still there
        ctx.ready()
        await ctx.draining.wait()

    return run


def _report_blocked_loop(stack: str) -> None:
    """Called in the watching thread, while the loop is still blocked."""
    _log.error("loop_blocked", stack=stack)


def _log_event(event: Event) -> None:
    fields = event.as_map()
    fields["happened"] = fields.pop("kind")
    with suppress(KeyError):
        fields.pop("at")
    (_log.warning if event.worrying else _log.debug)("tree", **fields)
