"""Publishing with confirms: one channel, many messages under way on it at once, each with its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiormq.channel import Channel

from contracts.errors import DeadlineExceeded, Unavailable
from contracts.ports import BrokerMessage
from edge.deadline import timeout
from edge.rabbitmq.errors import TopologyGone, mapped
from edge.rabbitmq.link import Link
from edge.rabbitmq.topology import EXCHANGE, key_of, level_of
from edge.rabbitmq.wire import properties_of

UNDER_WAY_MOST = 1_000  # beyond it publishers wait for their turn, within their deadline
BLOCKED_S = 0.5  # how long to wait for RabbitMQ's alarm to end before saying so; alarms mostly last seconds to minutes


class Publisher:
    """Publishes on a connection of its own: in an alarm RabbitMQ stops reading those that publish, and acknowledgements must go on."""

    def __init__(self, link: Link, confirm_s: float) -> None:
        self._link = link
        self._confirm_s = confirm_s
        self._opening = asyncio.Lock()
        self._channel: Channel | None = None
        self._places = asyncio.Semaphore(UNDER_WAY_MOST)
        self._under_way: dict[str, asyncio.Future[None]] = {}

    async def publish(self, routing_key: str, message: BrokerMessage) -> None:
        """Return when every queue bound to the key has the message on its majority's disks."""
        key = key_of(routing_key, level_of(message.priority))
        channel: Channel | None = None
        what = f"publishing {message.message_id!r} to {routing_key!r}"
        await self._link.connection()  # not within the deadline: until there is one nothing happens, and that is known
        try:
            with mapped(what):
                async with timeout(self._confirm_s), self._places, self._alone(message.message_id):
                    channel = await self._ready_channel()
                    await channel.basic_publish(
                        message.body,
                        exchange=EXCHANGE,
                        routing_key=key,
                        properties=properties_of(message),
                        mandatory=True,
                        wait=False,
                    )
        except TopologyGone:
            self._link.forget_topology()
            raise
        except DeadlineExceeded:
            if channel is not None and channel is self._channel:
                self._channel = None  # if it was the channel's fault, the next message has another
                self._link.drop(channel)
            raise

    @asynccontextmanager
    async def _alone(self, message_id: str) -> AsyncIterator[None]:
        """Wait while the same message is under way: the driver tells by the id which message it is that comes back as unroutable."""
        while (other := self._under_way.get(message_id)) is not None:
            await asyncio.wait((other,))
        self._under_way[message_id] = mine = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            del self._under_way[message_id]
            mine.set_result(None)

    async def _ready_channel(self) -> Channel:
        """Return the channel, opened when there is none; Unavailable while RabbitMQ takes no messages from anybody."""
        connection = await self._link.connection()
        try:
            async with timeout(BLOCKED_S):
                await connection.ready()
        except TimeoutError as error:
            text = "RabbitMQ takes no messages at present: its memory or its disk is low"
            raise Unavailable(text, retry_after_s=BLOCKED_S) from error
        if self._channel is None or self._channel.is_closed:
            async with self._opening:
                if self._channel is None or self._channel.is_closed:
                    self._channel = await self._link.channel(confirms=True)
        return self._channel
