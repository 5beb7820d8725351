"""Where something waits that does not get on, for the words of a failure: looked up only when there is one, and by reading alone."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from actors.judge.lease import lease_key
from actors.outbox import AWAY_PAUSE_S, QUEUES, SUBMISSION_QUEUE, VERDICT_QUEUE
from chaos.simulation.faults import Fault
from chaos.simulation.world import EPOCH_MS, SKEW_MS
from chaos.starvation import MARGIN_S, Starved, overtaken, starved
from contracts.messages import JudgeRequested
from contracts.ports import Row

if TYPE_CHECKING:
    from chaos.simulation.cluster import Cluster, Engines
    from chaos.simulation.lines import Key
    from chaos.simulation.machine import Machine

TOLD_MOST = 3  # of those who wait, how many are told of: one is mostly enough to understand all
LOOKED_AT_MOST = 100_000  # messages of a queue
TASKS_MOST = 12  # of a process
GRAVES = {queue.dead_letter_queue for queue in QUEUES if queue.dead_letter_queue is not None}

_request = msgspec.json.Decoder(JudgeRequested)


async def unfair(cluster: Cluster, since_s: float) -> list[str]:
    """Say for those who waited in the queue, or in the outbox, from ``since_s`` on and were overtaken too often, how and by whom; and where they are now."""
    lines, margin_s = cluster.engines.lines, _margin_s(cluster)
    # Each line for itself: what has waited in the outbox comes into the queue a batch at a time, and a batch has no order.
    requests, messages = (
        starved(line, margin_s=margin_s)[:TOLD_MOST] for line in (lines.requests(since_s), lines.messages(since_s))
    )
    return [
        *[await _told_attempt(cluster, each) for each in requests],
        *[await _told_message(cluster, each) for each in messages],
    ]


async def out_of_turn(cluster: Cluster, since_s: float) -> list[str]:
    """Say the same for those who waited for a judge, in the outbox and in the queue together: what waits in the outbox together must leave it in its order."""
    margin_s = _margin_s(cluster) + AWAY_PAUSE_S  # so long a relay may take to find out that the broker is back
    found = starved(cluster.engines.lines.attempts(since_s), margin_s=margin_s)
    return [await _told_attempt(cluster, each) for each in found[:TOLD_MOST]]


def _margin_s(cluster: Cluster) -> float:
    """Return within what time nobody can say who came first: rows are dated by the clock of their own core."""
    return MARGIN_S + (2 * SKEW_MS / 1000 if cluster.world.options.has(Fault.CLOCK_SKEW) else 0.0)


async def stuck(cluster: Cluster) -> list[str]:
    """Say for those who wait for a judge, or in the outbox, since when, who was served meanwhile, and where they are now."""
    attempts, messages = cluster.engines.lines.attempts(), cluster.engines.lines.messages()
    open_keys = await _unjudged(cluster.engines)
    waiting = [each for each in attempts if each.who in open_keys]
    told = [
        await _told_attempt(cluster, overtaken(msgspec.structs.replace(each, served_s=None), attempts))
        for each in waiting[:TOLD_MOST]
    ]
    unsent = [each for each in messages if each.served_s is None]
    told += [await _told_message(cluster, overtaken(each, messages)) for each in unsent[:TOLD_MOST]]
    return told


async def _unjudged(engines: Engines) -> set[str]:
    rows = await engines.database.fetch("SELECT id, attempt FROM submissions WHERE verdict IS NULL")
    return {f"{row['id']}:{row['attempt']}" for row in rows}


async def _told_attempt(cluster: Cluster, case: Starved) -> str:
    submission_id, _, attempt = case.wait.who.rpartition(":")
    places = await places_of(cluster, (submission_id, int(attempt)))
    return f"{case.text()}; now: {'; '.join(places)}"


async def _told_message(cluster: Cluster, case: Starved) -> str:
    message_id = case.wait.who.rpartition(" ")[2]
    rows = await cluster.engines.database.fetch("SELECT * FROM outbox_messages WHERE id = $1", message_id)
    return (
        f"{case.text()}; now: {'; '.join(_in_the_outbox(cluster, row) for row in rows) or 'it is gone from the outbox'}"
    )


async def places_of(cluster: Cluster, key: Key) -> list[str]:
    """Return every place where an attempt, or a request to judge it, is now: outbox, queue, judge, lease, verdict."""
    engines = cluster.engines
    if key in engines.verdicts:
        return [f"judged at {engines.verdict_at_s[key]:.3f} s"]
    rows = await engines.database.fetch(
        "SELECT * FROM outbox_messages WHERE topic = $1 AND sent_at_ms IS NULL AND CAST(body AS TEXT) LIKE $2 ORDER BY id",
        SUBMISSION_QUEUE.routing_key,
        f"%{key[0]}%",
    )
    found = [_in_the_outbox(cluster, row) for row in rows if _is_about(row["body"], key)]
    with_the_broker = engines.ledger.copies(key)
    if with_the_broker:
        found.append(f"copies of its request that the broker has: {with_the_broker}{_place(engines, key)}")
    for grave in sorted(GRAVES):
        dead = await engines.broker.peek(grave, LOOKED_AT_MOST)
        found += [f"request {each.message_id} is among the dead letters" for each in dead if _is_about(each.body, key)]
    for machine in cluster.machines.values():
        found += _at_a_judge(machine, key)
    owner, left_ms = await engines.redis.pipeline([["GET", lease_key(*key)], ["PTTL", lease_key(*key)]])
    if isinstance(owner, bytes) and isinstance(left_ms, int):
        found.append(f"its lease is held by {owner.decode()} for {left_ms / 1000:.1f} s more")
    return found or ["nowhere: no row in the outbox, no message with the broker, no judge, no lease"]


async def is_lost(cluster: Cluster, key: Key) -> bool:
    """Whether nobody has a request for an attempt that is not judged: only the sweeper can find it."""
    engines = cluster.engines
    rows = await engines.database.fetch(
        "SELECT body FROM outbox_messages WHERE topic = $1 AND sent_at_ms IS NULL AND parked_at_ms IS NULL AND CAST(body AS TEXT) LIKE $2",
        SUBMISSION_QUEUE.routing_key,
        f"%{key[0]}%",
    )
    if any(_is_about(row["body"], key) for row in rows):
        return False
    dead = 0
    for grave in GRAVES:
        dead += sum(_is_about(each.body, key) for each in await engines.broker.peek(grave, LOOKED_AT_MOST))
    return engines.ledger.copies(key) <= dead


async def has_dead_events(cluster: Cluster) -> bool:
    """Whether an event of a board lies among the dead letters, what somebody published by hand aside."""
    if VERDICT_QUEUE.dead_letter_queue is None:
        return False
    dead = await cluster.engines.broker.peek(VERDICT_QUEUE.dead_letter_queue, LOOKED_AT_MOST)
    return any(each.message_id in cluster.engines.outbox for each in dead)


def requested(machine: Machine) -> list[Key]:
    """Return what a judge was asked for and has not answered."""
    found = []
    for message in machine.unanswered:
        with suppress(msgspec.MsgspecError):
            request = _request.decode(message.body)
            found.append((request.submission_id, request.attempt))
    return found


def _place(engines: Engines, key: Key) -> str:
    """Say its place among those that no judge has begun with; "" when one has. Nobody may look into the queue itself: each look would be a delivery."""
    waiting = [each for each in engines.lines.requests() if each.served_s is None]
    ordered = sorted(waiting, key=lambda each: (-each.priority, each.since_s))
    places = {each.who: place for place, each in enumerate(ordered, start=1)}
    place = places.get(f"{key[0]}:{key[1]}")
    return "" if place is None else f", number {place} of {len(places)} that no judge has begun with"


def _at_a_judge(machine: Machine, key: Key) -> list[str]:
    found = [
        f"{machine.name} has request {message.message_id} and has not answered it"
        for message in machine.unanswered
        if _is_about(message.body, key)
    ]
    if machine.judging is not None:
        found += [
            f"{machine.name} has it in a sandbox, fencing {work.fencing}"
            for work in machine.judging.judged
            if (work.submission_id, work.attempt) == key
        ]
    if found:
        tasks = machine.waiting()
        more = f" (and {len(tasks) - TASKS_MOST} more)" if len(tasks) > TASKS_MOST else ""
        found.append(f"where {machine.name} waits: {', '.join(tasks[:TASKS_MOST])}{more}")
    return found


def _in_the_outbox(cluster: Cluster, row: Row) -> str:
    """Say how a row of the outbox stands."""
    what, now_s = f"message {row['id']} (priority {row['priority']})", cluster.world.clock.elapsed_s
    why = f" after {row['attempts']} attempts" if row["attempts"] else ""
    why += f", the last one failed: {row['last_error']}" if row["last_error"] else ""
    available_s = (row["available_at_ms"] - EPOCH_MS) / 1000
    if row["sent_at_ms"] is not None:
        return f"{what} was published"
    if row["parked_at_ms"] is not None:
        return f"{what} is parked in the outbox{why}"
    if available_s > now_s:
        return f"{what} is in the outbox, claimed or put off until {available_s:.3f} s{why}"
    return f"{what} is in the outbox, due since {available_s:.3f} s and claimed by nobody{why}"


def _is_about(body: bytes, key: Key) -> bool:
    try:
        request = _request.decode(body)
    except msgspec.MsgspecError:  # somebody's nonsense
        return False
    return (request.submission_id, request.attempt) == key


def not_running(machine: Machine) -> str:
    """Say what of a process does not run, and why; "" when everything does."""
    if machine.tree is None or machine.is_dead:
        return "its process is dead"
    rows = [row for row in machine.tree.status().rows if row.state not in ("running", "finished")]
    return ", ".join(f"{row.path} is {row.state}{f' ({row.last_error})' if row.last_error else ''}" for row in rows)
