"""The driver's errors as ours, in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiormq.exceptions import (
    AMQPError,
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
)

from contracts.errors import (
    CodeWarzError,
    Conflict,
    DeadlineExceeded,
    EdgeLost,
    NotPermitted,
    PublishRefused,
    Unroutable,
)
from edge import refusals

REFUSED_PAUSE_S = 1.0


class TopologyGone(EdgeLost):
    """An exchange or a queue that was declared is not there any more: it is declared again before the next call."""


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Raise what the driver raises in the block as ours. It must be outside of a time-out, whose cancellation is not the caller's."""
    try:
        yield
    except asyncio.CancelledError as error:
        # The driver ends what waits on a connection that died with a cancellation: that is not one of ours.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise EdgeLost(f"{what}: the connection to RabbitMQ is gone") from error
    except (AMQPError, OSError, EOFError, RuntimeError, StopAsyncIteration) as error:
        raise translated(error, what) from error


def translated(error: Exception, what: str) -> CodeWarzError:
    """Return the error that one of the driver's stands for."""
    match error:
        case TimeoutError():
            return DeadlineExceeded(f"{what}: RabbitMQ did not answer in time")
        case PublishError():
            return Unroutable(f"{what}: no queue is bound to its routing key, it came back")
        case DeliveryError():
            return PublishRefused(
                f"{what}: RabbitMQ refused it: a queue is full, or has lost its majority", retry_after_s=REFUSED_PAUSE_S
            )
        case ChannelAccessRefused():  # it says itself who may not do what
            refusals.tell("rabbitmq", str(error), remedy=refusals.REMEDY)
            return NotPermitted(f"{what}: {error}", retry_after_s=REFUSED_PAUSE_S)
        case ChannelPreconditionFailed():
            return Conflict(f"{what}: {error}")
        case ChannelNotFoundEntity():
            return TopologyGone(f"{what}: {error}")
        case ProbableAuthenticationError():
            return EdgeLost(f"{what}: RabbitMQ does not know this user or password")
        case StopAsyncIteration():  # so the driver says that a server hung up while they were getting acquainted
            return EdgeLost(f"{what}: it hung up")
        case _:
            return EdgeLost(f"{what}: {str(error) or type(error).__name__}")
