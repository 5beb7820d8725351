"""One queue of the port as RabbitMQ's own: quorum queues on one durable direct exchange.

Quorum queues of RabbitMQ 3 have no priorities, so a queue with n > 1 of them is n queues, ``name.p0`` and up; of those ``max_length`` bounds each.
Whoever publishes knows no queue: the routing key says the message's level (``submission.p2``), and each queue is bound to the levels that it takes.

Not everybody may declare: a judge's user may only take from the queues that others have made. It tries all the same, and where RabbitMQ refuses, it looks
whether they are there. So no setting says who may, and none can be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiormq import Connection
from aiormq.abc import AbstractChannel
from aiormq.channel import Channel
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from contracts.errors import Conflict, Invalid, Unavailable
from contracts.ports import Queue
from edge.rabbitmq.link import close_channel

EXCHANGE = "codewarz"
LEVELS = 5  # of priority, at most; each is a binding, and a queue where the queue has that many
KEY_BYTES_MOST = 240  # AMQP's own limit is 255, without our suffixes
# RabbitMQ 3 has no limit by default, 4 has one of 20 and another word for none; the same number on both needs no distinction.
NO_DELIVERY_LIMIT = 2**31 - 1
MISSING_PAUSE_S = 1.0  # before one looks again for a queue that somebody else makes


def level_of(priority: int) -> int:
    """Return the level at which a priority is published."""
    return max(0, min(priority, LEVELS - 1))


def key_of(routing_key: str, level: int) -> str:
    """Return RabbitMQ's routing key for a message."""
    if len(routing_key.encode()) > KEY_BYTES_MOST:
        raise Invalid(f"a routing key has at most {KEY_BYTES_MOST} bytes")
    return f"{routing_key}.p{level}"


def without_level(name: str) -> str:
    """Return the port's name for a routing key or a queue of ours, or the name itself when it is somebody else's."""
    stem, dot, level = name.rpartition(".p")
    return stem if dot and level.isdecimal() else name


def parts_of(queue: Queue) -> tuple[str, ...]:
    """Return RabbitMQ's queues for one of the port's, from the lowest priority up."""
    if queue.priorities == 1:
        return (queue.name,)
    return tuple(f"{queue.name}.p{level}" for level in range(queue.priorities))


def check(queues: Iterable[Queue], known: Mapping[str, Queue]) -> dict[str, Queue]:
    """Return all queues by name with the new ones among them; Conflict and Invalid before RabbitMQ is asked."""
    merged = dict(known)
    for queue in queues:
        if not 1 <= queue.priorities <= LEVELS:
            raise Invalid(f"queue {queue.name!r}: there are 1 to {LEVELS} priorities, not {queue.priorities}")
        if queue.max_length < 1 or queue.delivery_limit < 0 or without_level(queue.name) != queue.name:
            raise Invalid(f"queue {queue.name!r} cannot be: it needs room, a limit of 0 or more, and no name in .p0")
        if merged.setdefault(queue.name, queue) != queue:
            raise Conflict(f"queue {queue.name!r} exists with other properties: purge and remove it, or keep them")
    for queue in merged.values():
        if queue.dead_letter_queue is not None and queue.dead_letter_queue not in merged:
            raise Conflict(f"queue {queue.name!r} has no dead-letter queue {queue.dead_letter_queue!r}: declare it too")
    return merged


async def make(connection: Connection, queues: Mapping[str, Queue]) -> None:
    """Make everything that is not there. The same again changes nothing; the driver's precondition error when something is otherwise.

    Who may not declare looks whether all that it may use is there; Unavailable, with the name, when a queue is not.
    """
    if not queues:
        return
    channel = await connection.channel(publisher_confirms=False, frame_buffer_size=0)
    assert isinstance(channel, Channel)
    try:
        await _declare(channel, queues)
    except ChannelAccessRefused as refusal:
        for queue in queues.values():
            for part in parts_of(queue):
                if await _look(connection, part) is False:
                    raise Unavailable(
                        f"RabbitMQ has no queue {part!r}, and this user may not make it: it comes with the first core ({refusal})",
                        retry_after_s=MISSING_PAUSE_S,
                    ) from refusal
    finally:
        await close_channel(channel)


async def _declare(channel: AbstractChannel, queues: Mapping[str, Queue]) -> None:
    await channel.exchange_declare(EXCHANGE, exchange_type="direct", durable=True)
    for queue in sorted(queues.values(), key=lambda each: each.dead_letter_queue is not None):  # graves first
        parts = parts_of(queue)
        for level in reversed(range(len(parts))):  # the lowest last: where it exists, all of them did
            await channel.queue_declare(parts[level], durable=True, arguments=_arguments(queue, level, queues))
        for level in range(LEVELS):
            part = parts[min(level, len(parts) - 1)]
            await channel.queue_bind(part, EXCHANGE, key_of(queue.routing_key, level), nowait=True)
    # Bindings are sent without waiting for each; this answer comes after all of theirs.
    await channel.exchange_declare(EXCHANGE, exchange_type="direct", durable=True, passive=True)


def _arguments(queue: Queue, level: int, queues: Mapping[str, Queue]) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-overflow": "reject-publish",
        "x-max-length": queue.max_length - 1,  # RabbitMQ refuses once there are more than this
        "x-delivery-limit": NO_DELIVERY_LIMIT,
    }
    if queue.dead_letter_queue is not None:
        graves = parts_of(queues[queue.dead_letter_queue])
        arguments |= {
            "x-delivery-limit": queue.delivery_limit,
            "x-dead-letter-exchange": "",  # the one that reaches every queue by its name
            "x-dead-letter-routing-key": graves[min(level, len(graves) - 1)],
            "x-dead-letter-strategy": "at-least-once",
        }
    return arguments


async def check_shape(connection: Connection, queue: Queue) -> None:
    """Conflict when RabbitMQ has this queue with another number of priorities, which its own comparison cannot see."""
    others = [f"{queue.name}.p{queue.priorities}"]
    parts = parts_of(queue)
    if len(parts) > 1:
        others.append(queue.name)
    else:
        others[0] = f"{queue.name}.p0"
    found = [each for each in others if await _look(connection, each)]
    is_partial = len(parts) > 1 and await _look(connection, parts[0]) and await _look(connection, parts[-1]) is False
    if found or is_partial:
        raise Conflict(f"queue {queue.name!r} exists with another number of priorities: empty and delete it first")


async def _look(connection: Connection, name: str) -> bool | None:
    """Return whether a queue exists; None where we may not know. Anybody may, up to RabbitMQ 4.2.5; since then only who has some permission on it."""
    channel = await connection.channel(publisher_confirms=False, frame_buffer_size=0)
    try:
        await channel.queue_declare(name, passive=True)
    except ChannelNotFoundEntity:
        return False
    except ChannelAccessRefused:
        return None
    await channel.close()
    return True
