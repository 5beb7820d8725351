"""Messages as RabbitMQ carries them, and its table of deaths as the port's four headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from contracts.ports import DEATH_COUNT, DEATH_QUEUE, DEATH_REASON, DEATH_ROUTING_KEY, BrokerMessage
from contracts.reading import count_of
from edge.rabbitmq.topology import without_level

PERSISTENT = 2
PRIORITY_MOST = 255  # one octet
DELIVERY_COUNT = "x-delivery-count"
DEATHS = "x-death"


def properties_of(message: BrokerMessage) -> Basic.Properties:
    """Return a message's properties; a priority beyond what AMQP carries is carried as the nearest one."""
    return Basic.Properties(
        message_id=message.message_id,
        delivery_mode=PERSISTENT,
        priority=max(0, min(message.priority, PRIORITY_MOST)),
        headers=dict(message.headers),
    )


def message_of(delivered: DeliveredMessage) -> BrokerMessage:
    """Return the message; of its headers those that are text, with its deaths translated and RabbitMQ's own left out."""
    properties = delivered.header.properties
    table: Mapping[str, Any] = properties.headers or {}
    headers = {name: value for name, value in table.items() if isinstance(value, str) and not _is_rabbits(name)}
    deaths = [each for each in _list(table.get(DEATHS)) if isinstance(each, dict)]
    if deaths:
        headers |= _epitaph(deaths, headers.get(DEATH_COUNT, ""))
    return BrokerMessage(
        body=delivered.body,
        message_id=properties.message_id or "",
        priority=properties.priority or 0,
        headers=headers,
    )


def deliveries_before(delivered: DeliveredMessage) -> int:
    """Return how many deliveries came before this one; only a quorum queue's messages tell."""
    return count_of((delivered.header.properties.headers or {}).get(DELIVERY_COUNT))


def _is_rabbits(name: str) -> bool:
    return name.startswith(("x-first-death-", "x-last-death-"))


def _list(value: object) -> list[Any]:
    """Return a header's value as a list: somebody else's message may have anything there, and must not stop a consumer."""
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    """Return a header's value as a text; what is none, and may be as deep as somebody likes, is none."""
    return value if isinstance(value, str) else ""


def _epitaph(deaths: list[dict[str, Any]], carried: str) -> dict[str, str]:
    """Return the last death, which RabbitMQ puts first, and how many there were in all."""
    last = deaths[0]
    keys = _list(last.get("routing-keys")) or [""]
    count = sum(count_of(each.get("count")) or 1 for each in deaths) + count_of(carried)
    return {
        DEATH_QUEUE: without_level(_text(last.get("queue"))),
        DEATH_REASON: _text(last.get("reason")),
        DEATH_ROUTING_KEY: without_level(_text(keys[0])),
        DEATH_COUNT: str(count),
    }
