"""A delivery on Trio's side, and what holds it on asyncio's."""

from __future__ import annotations

import asyncio
from typing import Protocol

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from contracts.errors import EdgeLost
from contracts.ports import BrokerMessage
from edge.aio import AsyncioLoop
from edge.rabbitmq.errors import mapped
from edge.rabbitmq.wire import deliveries_before, message_of


class Holder(Protocol):
    """What a delivery is held by: a consumer's channel, or that of a single get."""

    channel: Channel
    is_over: bool

    def released(self, source: object, /) -> None:
        """Hear that a delivery is settled, and where it came from."""


class Delivery:
    """A message that RabbitMQ waits to hear about. It is answered on the channel on which it came, or never."""

    __slots__ = ("_aio", "_holder", "_tag", "delivery_count", "is_settled", "message", "redelivered", "source")

    def __init__(self, aio: AsyncioLoop, holder: Holder, delivered: DeliveredMessage, source: object = None) -> None:
        self._aio = aio
        self._holder = holder
        self._tag = delivered.delivery_tag
        self.source = source
        self.message: BrokerMessage = message_of(delivered)
        self.redelivered = bool(delivered.redelivered)
        self.delivery_count = deliveries_before(delivered)
        self.is_settled = False

    def __repr__(self) -> str:
        return f"<Delivery {self.message.message_id!r} {'settled' if self.is_settled else 'unsettled'}>"

    async def ack(self) -> None:
        """Done: RabbitMQ forgets it."""
        await self._aio.call(self.settle, "ack")

    async def nack(self) -> None:
        """Not done: RabbitMQ puts it back, or among the dead letters when it came back too often."""
        await self._aio.call(self.settle, "nack")

    async def reject(self) -> None:
        """Never to be done: RabbitMQ puts it among the dead letters."""
        await self._aio.call(self.settle, "reject")

    async def settle(self, how: str) -> None:
        """Send the answer, on asyncio's side. A cancellation comes before it was sent, and then it was not."""
        if self.is_settled:
            raise RuntimeError(f"message {self.message.message_id!r} is settled already")
        channel = self._holder.channel
        if self._holder.is_over or channel.is_closed or self._tag is None:
            raise EdgeLost(f"message {self.message.message_id!r} was taken back by RabbitMQ and will come again")
        self.is_settled = True
        try:
            with mapped(f"settling {self.message.message_id!r}"):
                if how == "ack":
                    await channel.basic_ack(self._tag, wait=False)
                else:
                    await channel.basic_reject(self._tag, requeue=how == "nack", wait=False)
        except (EdgeLost, asyncio.CancelledError):
            self.is_settled = False
            raise
        self._holder.released(self.source)
