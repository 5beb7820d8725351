"""Small trees for tests, run on whatever clock the test has."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from supervisor import Actor, Backoff, Event, Kind, Mailbox, Supervisor, Tree
from supervisor.context import Context
from supervisor.spec import Child, Restart

EPOCH = 1_700_000_000.0


def wall() -> float:
    return EPOCH + trio.current_time()


class Grown:
    """A running tree and what it said."""

    def __init__(self, root: Supervisor) -> None:
        self.events: list[Event] = []
        self.tree = Tree(root, rng=random.Random(1), wall_clock=wall, on_event=self.events.append)

    def said(self, *kinds: Kind) -> list[str]:
        return [f"{e.path.partition('/')[2]} {e.kind}" for e in self.events if not kinds or e.kind in kinds]

    def order(self, kind: Kind) -> list[str]:
        return [e.path.partition("/")[2] for e in self.events if e.kind is kind and "/" in e.path]


@asynccontextmanager
async def growing(*children: Child, root: Supervisor | None = None) -> AsyncIterator[Grown]:
    grown = Grown(root or Supervisor("root", children))
    async with trio.open_nursery() as nursery:
        await nursery.start(grown.tree.run)
        yield grown
        nursery.cancel_scope.cancel()


async def idle(ctx: Context[object]) -> None:
    ctx.ready()
    await ctx.draining.wait()


async def deaf_forever(ctx: Context[object]) -> None:
    """Does not look at `draining`."""
    ctx.ready()
    await trio.sleep_forever()


async def echo(ctx: Context[object]) -> None:
    """Answers with the message; an exception as message is raised."""
    async for delivery in ctx.inbox:
        if isinstance(delivery.message, Exception):
            raise delivery.message
        delivery.reply(delivery.message)


QUICK = Backoff(first_s=1.0, cap_s=1.0, jitter=0.0, healthy_after_s=10.0)


def actor(
    name: str,
    run: Callable[[Context[object]], object] = idle,
    mailbox: Mailbox[object] | None = None,
    restart: Restart = Restart.PERMANENT,
    **more: object,
) -> Actor:
    more.setdefault("backoff", QUICK)
    return Actor(name, run, mailbox, restart, **more)  # type: ignore[arg-type]  # tests pass what Actor takes
