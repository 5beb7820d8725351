"""The way of a submission through a cluster of processes on real engines, and each part of it by itself, in one run.

A gateway, a core and a leaderboard are processes; this one is the client, the judge and the browser, so that all times are of one clock. The judge only takes
messages and answers: what sandboxes cost is ``bench judge``'s subject.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from actors.core import actor as core_actor
from actors.core.actor import Core, CoreService
from actors.edges import migrations_of
from actors.outbox import CHANNEL, QUEUES, SUBMISSION_QUEUE
from actors.system import Role
from bench import projector, stage
from bench.report import Report, machine, median, quantile
from chaos.cluster import Cluster, Node, Shape
from chaos.engines import Postgres
from chaos.engines.child import HOST
from contracts.messages import GetWork, Request
from contracts.ports import Broker, BrokerMessage, Database, Queue
from edge.aio import AsyncioLoop
from edge.clock import SystemClock
from edge.migrations import migrate
from edge.postgres import PostgresDatabase
from edge.rabbitmq import RabbitMqBroker
from edge.redis import ServerRedis
from edge.rpc import LocalRpc
from edge.rpc.grpc import GrpcRpc
from supervisor import Actor, Mailbox, Overflow, Supervisor, Tree

Figures = dict[str, float]
Say = Callable[[str], None]
ROUNDS = 300
WARM_UP = 30
CALLERS = 64  # as many as core commits together
ACCEPTED = 3_000
IDLE_S = 15.0
SETTLED_S = 12.0  # a server's connection that is idle reports what it had counted after 10 s
BENCH_QUEUE = Queue(name="bench", routing_key="bench", priorities=3)
GRAPHILE_MS = 4.16  # average latency of Graphile Worker from adding a job to running it, as its README publishes


@dataclass(frozen=True)
class Edges:
    """This process's way to the engines and services of the cluster."""

    database: PostgresDatabase
    broker: RabbitMqBroker
    redis: ServerRedis
    rpc: GrpcRpc


async def measure(folder: Path, say: Say, rounds: int = ROUNDS) -> Report:
    """Start everything, measure, end everything: some two minutes on two cores. ``folder`` is empty, and the engines' users may enter it."""
    cluster = Cluster(folder, Shape(gateways=1, cores=1, leaderboards=1, judges=0), {"DEMO": "false"})
    try:
        say("starting PostgreSQL, Redis, RabbitMQ, a gateway, a core and a leaderboard …")
        await trio.to_thread.run_sync(cluster.start)
        async with _edges(cluster) as edges:
            await stage.set_up(edges.rpc, SystemClock())
            figures, ratios = await _measure(cluster, edges, rounds, say)
        await trio.to_thread.run_sync(cluster.end)
        say("board updates beside redis-benchmark …")
        boards = await projector.measure(folder / "projector")
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(cluster.end)
    figures |= {f"board_{name}": value for name, value in boards["figures"].items() if name.endswith("64_per_s")}
    references = {"graphile_worker_published_ms": GRAPHILE_MS, **boards["references"]}
    ratios |= {f"board_{name}": value for name, value in boards["ratios"].items()}
    return Report("pipeline", figures, references, ratios, machine())


async def _measure(cluster: Cluster, edges: Edges, rounds: int, say: Say) -> tuple[Figures, Figures]:
    say("the parts, one at a time …")
    figures = await _notified(edges.database, rounds) | await _published(edges.broker, rounds)
    say("the whole way …")
    figures |= await _whole_way(cluster, edges, rounds)
    say("accepting, grouped and one by one …")
    grouped = await _accepted_through(edges.rpc, ACCEPTED)
    alone = await _accepting(cluster.postgres, edges.database)
    say(f"nothing to do for {IDLE_S:g} s …")
    figures |= {"accepts_through_rpc_per_s": grouped} | alone | await _idle(cluster, edges)
    parts_ms = figures["insert_to_notify_p50_ms"] + figures["publish_to_consumer_p50_ms"]
    ratios = {
        "grouped_accepts": alone["accepts_grouped_per_s"] / alone["accepts_one_by_one_per_s"],
        "whole_way_to_its_parts": figures["submit_to_judge_p50_ms"] / parts_ms,
    }
    return figures, ratios


@asynccontextmanager
async def _edges(cluster: Cluster) -> AsyncIterator[Edges]:
    urls = cluster.urls("bench")
    async with (
        AsyncioLoop() as aio,
        PostgresDatabase(
            cluster.postgres.url, aio
        ) as database,  # as its superuser: it is told to leave its housekeeping
        RabbitMqBroker(urls["BROKER"], aio) as broker,
        ServerRedis(urls["REDIS"], aio) as redis,
        GrpcRpc(urls["RPC"], aio) as rpc,
    ):
        yield Edges(database, broker, redis, rpc)


def _spread(name: str, seconds: list[float]) -> Figures:
    taken = [1000 * each for each in seconds[WARM_UP:]]
    return {f"{name}_p50_ms": round(median(taken), 3), f"{name}_p99_ms": round(quantile(taken, 0.99), 3)}


# ---- the parts -------------------------------------------------------------------------------------------------------


async def _notified(database: Database, rounds: int) -> Figures:
    """From the beginning of a commit with an outbox row to the listener's waking, and to the commit's return. The rows are parked: nobody publishes them."""
    woken: list[float] = []
    committed: list[float] = []
    insert = (
        "INSERT INTO outbox_messages (id, topic, priority, body, correlation_id, traceparent, created_at_ms, available_at_ms, attempts, last_error,"
        " sent_at_ms, parked_at_ms) VALUES ($1, 'bench', 0, $2, '', '', 0, 0, 0, '', 1, 1)"
    )
    async with database.listen(CHANNEL) as wakeups:
        for number in range(rounds + WARM_UP):
            began = time.perf_counter()

            async def hear(began: float = began) -> None:
                await wakeups.wait()
                woken.append(time.perf_counter() - began)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(hear)
                await database.execute(insert, f"bench-{number}", b"x" * 100)
                committed.append(time.perf_counter() - began)
    return _spread("insert_to_notify", woken) | _spread("commit", committed)


async def _published(broker: Broker, rounds: int) -> Figures:
    """From publishing to the confirm, and to the consumer, on a queue like the judges'; and confirms per second with a hundred in flight."""
    await broker.declare([BENCH_QUEUE])
    confirmed: list[float] = []
    arrived: list[float] = []
    async with broker.consume(BENCH_QUEUE.name, prefetch=10) as deliveries:
        for number in range(rounds + WARM_UP):
            message = BrokerMessage(body=b"x" * 100, message_id=str(number), priority=2)
            began = time.perf_counter()

            async def publish(message: BrokerMessage = message, began: float = began) -> None:
                await broker.publish(BENCH_QUEUE.routing_key, message)
                confirmed.append(time.perf_counter() - began)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish)
                delivery = await anext(deliveries)
                arrived.append(time.perf_counter() - began)
            await delivery.ack()
    return _spread("publish_to_confirm", confirmed) | _spread("publish_to_consumer", arrived)


# ---- the whole way ---------------------------------------------------------------------------------------------------


async def _whole_way(cluster: Cluster, edges: Edges, rounds: int) -> Figures:
    """One submission after the other: from the request to a judge and from its acceptance; from a judge's verdict to a browser, and from its being durable."""
    (gateway,) = cluster.of(Role.GATEWAY)
    to_judge: list[float] = []
    from_accepted: list[float] = []
    to_accepted: list[float] = []
    to_browser: list[float] = []
    durable_to_browser: list[float] = []
    durable_to_board: list[float] = []
    durable_to_news: list[float] = []
    news_to_browser: list[float] = []
    await edges.broker.declare(QUEUES)
    async with (
        edges.broker.consume(SUBMISSION_QUEUE.name, prefetch=10) as deliveries,
        stage.watching(HOST, gateway.port) as watcher,
        stage.hearing(edges.redis) as heard,
    ):
        for number in range(rounds + WARM_UP):
            name = f"way-{number:05}"
            accepted_at: list[float] = []

            async def submit(name: str = name, accepted_at: list[float] = accepted_at) -> None:
                await edges.rpc.call("core", stage.submission(name), timeout=stage.TIMEOUT_S)
                accepted_at.append(trio.current_time())

            async with trio.open_nursery() as nursery:
                began = trio.current_time()
                nursery.start_soon(submit)
                delivery = await anext(deliveries)
                arrived = trio.current_time()
            work = await edges.rpc.call("core", GetWork(submission_id=name, attempt=1), timeout=stage.TIMEOUT_S)
            assert work is not None
            judged = trio.current_time()
            durable, on_board = await stage.judge(edges.rpc, name, work.fencing)
            shown = await watcher.next_update(number)
            news = (
                heard[-1] if heard and heard[-1] > durable else shown
            )  # we have no turn before the browser, now and then
            durable_to_board.append(on_board - durable)
            durable_to_news.append(news - durable)
            news_to_browser.append(shown - news)
            to_browser.append(shown - judged)
            durable_to_browser.append(shown - durable)
            await delivery.ack()
            to_judge.append(arrived - began)
            to_accepted.append(accepted_at[0] - began)
            from_accepted.append(arrived - accepted_at[0])
    return (
        _spread("submit_to_judge", to_judge)
        | _spread("submit_to_accepted", to_accepted)
        | _spread("accepted_to_judge", from_accepted)
        | _spread("verdict_to_browser", to_browser)
        | _spread("durable_verdict_to_browser", durable_to_browser)
        | _spread("durable_verdict_to_board", durable_to_board)
        | _spread("durable_verdict_to_news", durable_to_news)
        | _spread("news_to_browser", news_to_browser)
    )


async def _accepted_through(rpc: GrpcRpc, many: int) -> float:
    """Return how many submissions per second core accepts from CALLERS callers, through rpc, while its relay publishes them."""
    left = iter(range(many))

    async def call() -> None:
        for number in left:
            await rpc.call("core", stage.submission(f"many-{number:06}"), timeout=stage.TIMEOUT_S)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(CALLERS):
            nursery.start_soon(call)
    return round(many / (time.perf_counter() - began))


async def _accepting(engine: Postgres, database: PostgresDatabase) -> Figures:
    """Accept with this process's own core on an empty database, CALLERS at once: committed together, and each by itself."""
    figures: Figures = {}
    for name, together, many in (("grouped", core_actor.BATCH_MOST, ACCEPTED), ("one_by_one", 1, ACCEPTED // 6)):
        await database.execute(f"CREATE DATABASE bench_{name}")
        async with AsyncioLoop() as aio, PostgresDatabase(engine.url_of(f"bench_{name}"), aio) as empty:
            await migrate(empty, migrations_of("postgres"), SystemClock())
            async with _core(empty) as rpc:
                await stage.set_up(rpc, SystemClock())
                before, core_actor.BATCH_MOST = core_actor.BATCH_MOST, together
                try:
                    figures[f"accepts_{name}_per_s"] = await _accepted_through(rpc, many)  # type: ignore[arg-type]
                finally:
                    core_actor.BATCH_MOST = before
    return figures


@asynccontextmanager
async def _core(database: Database) -> AsyncIterator[LocalRpc]:
    rpc, rng = LocalRpc(), random.Random(1)
    mailbox: Mailbox[Request[Any]] = Mailbox("core", 1024, Overflow.REFUSE)
    tree = Tree(
        Supervisor("bench", (Actor("core", Core(database, SystemClock(), rng).run, mailbox),)),
        rng=rng,
        wall_clock=time.time,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        async with rpc.serve("core", CoreService(database, mailbox.address)):
            yield rpc
        await tree.shutdown()


# ---- nothing to do ---------------------------------------------------------------------------------------------------


async def _idle(cluster: Cluster, edges: Edges) -> Figures:
    """What three processes do when nobody wants anything: processor time, transactions of PostgreSQL, commands of Redis."""
    await _until_quiet(edges)
    before = _processor_s(cluster.nodes.values()), await _transactions(edges), await _commands(edges)
    await trio.sleep(IDLE_S)
    after = _processor_s(cluster.nodes.values()), await _transactions(edges), await _commands(edges)
    # Of what the second look sees, the first one's own is one transaction and one command.
    return {
        "idle_processor_percent_of_one_core": round(100 * (after[0] - before[0]) / IDLE_S, 2),
        "idle_transactions_per_s": round((after[1] - before[1] - 1) / IDLE_S, 2),
        "idle_redis_commands_per_s": round((after[2] - before[2] - 1) / IDLE_S, 2),
    }


async def _until_quiet(edges: Edges) -> None:
    waiting: Any = 1
    with trio.fail_after(120):
        while waiting:
            await trio.sleep(0.5)
            row = await edges.database.fetch_one(
                "SELECT count(*) AS waiting FROM outbox_messages WHERE sent_at_ms IS NULL"
            )
            assert row is not None
            waiting = row["waiting"]
    await edges.broker.purge(SUBMISSION_QUEUE.name)
    # PostgreSQL's own housekeeping counts as transactions too, and is not ours.
    await edges.database.execute("ALTER SYSTEM SET autovacuum = off")
    await edges.database.fetch("SELECT pg_reload_conf()")
    # Nobody judges here: what was accepted would be published again and again, as lost.
    await edges.database.execute("UPDATE submissions SET verdict = 'WA' WHERE verdict IS NULL")
    await trio.sleep(SETTLED_S)


def _processor_s(nodes: Any) -> float:
    ticks = 0
    for node in nodes:
        assert isinstance(node, Node)
        assert node.process is not None
        fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def _transactions(edges: Edges) -> int:
    row = await edges.database.fetch_one(
        "SELECT sum(xact_commit + xact_rollback) AS many FROM pg_stat_database WHERE datname = current_database()"
    )
    assert row is not None
    return int(row["many"])


async def _commands(edges: Edges) -> int:
    text: bytes = await edges.redis.call("INFO", "stats")
    return int(text.partition(b"total_commands_processed:")[2].split()[0])
