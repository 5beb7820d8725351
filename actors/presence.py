"""Who is in the cluster: each process tells the others what it is and how it is, through Redis. For ``codewarz status --all``.

Judges tell it at a place of their own: their user at Redis may write there and nowhere else, so whoever escapes from a sandbox can tell lies of judges, and of
nobody else (``contracts.users``).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import structlog
import trio

from actors.patience import again_and_again
from contracts.errors import CodeWarzError, Unavailable
from contracts.ports import Redis, RedisValue, WallClock
from contracts.reading import Unreadable, reader
from supervisor.context import Context
from supervisor.status import TreeStatus

KEY = "nodes"
JUDGES_KEY = "nodes:judges"
JUDGE_ALONE = ("judge",)  # the roles of whoever tells it there
EVERY_S = 3.0
SILENT_MS = 10_000  # three words missed: it is gone, stands still, or cannot reach Redis
FORGOTTEN_MS = 3_600_000  # after that nobody asks any more what became of it

Whole = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]  # a larger one could be read, and not said again as JSON

_log = structlog.get_logger("presence")


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One process, as it last said. ``troubles`` are sentences about what is not as it should be."""

    name: str
    roles: tuple[str, ...]
    host: str
    pid: Whole
    url: str
    started_at_ms: Whole
    at_ms: Whole
    state: str
    actors: Whole
    restarts: Whole
    waiting: Whole
    troubles: tuple[str, ...] = ()


_read = reader(msgspec.json.Decoder(Node))


@dataclass(frozen=True)
class Presence:
    """Tells of this process every EVERY_S seconds; ``look`` returns how it is."""

    redis: Redis
    clock: WallClock
    look: Callable[[], Node]

    async def run(self, ctx: Context[None]) -> None:
        """Tell until drained, and then that it has left."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(again_and_again, ctx, lambda: self._tell(ctx), "presence", name="presence")
            await ctx.draining.wait()
            nursery.cancel_scope.cancel()
        with suppress(CodeWarzError):  # then its silence tells
            node = self.look()
            await self.redis.call("HDEL", _key_of(node), node.name)

    async def _tell(self, ctx: Context[None]) -> None:
        while True:
            await self._say(self.look())
            ctx.ready()
            await trio.sleep(EVERY_S)

    async def _say(self, node: Node) -> None:
        """Say it, if need be instead of what somebody else has put there. A process must not end because it cannot tell of itself."""
        place = _key_of(node)
        telling: list[RedisValue] = ["HSET", place, node.name, msgspec.json.encode(node)]
        forgetting: list[RedisValue] = ["DEL", place]
        for commands in ([telling], [forgetting, telling]):
            try:
                await self.redis.pipeline(commands)
            except Unavailable:
                raise
            except CodeWarzError as error:
                _log.error("presence_untold", error=error.detail)
            else:
                return


def _key_of(node: Node) -> str:
    return JUDGES_KEY if node.roles == JUDGE_ALONE else KEY


def described(status: TreeStatus, *, now_ms: int, **identity: Any) -> Node:
    """Return what a tree's status comes to, with what the process is (``name``, ``roles``, ``host``, ``pid``, ``url``, ``started_at_ms``)."""
    working = [row for row in status.rows if row.kind in ("actor", "worker")]
    troubles = [
        f"{row.path} {row.state.replace('_', ' ')}" for row in status.rows if row.state in ("failed", "backing_off")
    ]
    troubles += [f"{row.path} makes no progress" for row in working if row.wedged]
    troubles += [f"{row.path} would not stop" for row in working if row.stuck]
    troubles += [f"{row.path} has set {len(row.quarantined)} messages aside" for row in working if row.quarantined]
    return Node(
        at_ms=now_ms,
        state=status.state,
        actors=len(working),
        restarts=sum(row.restarts for row in working),
        waiting=sum(row.mailbox.depth for row in status.rows if row.mailbox),
        troubles=tuple(troubles),
        **identity,
    )


async def nodes(redis: Redis, now_ms: int) -> list[Node]:
    """Return every process that has told of itself within the last hour, by role and name. What is older is forgotten, what cannot be read left out."""
    found = list[Node]()
    for place in (KEY, JUDGES_KEY):
        try:
            pairs, old = await redis.call("HGETALL", place), list[bytes]()
        except Unavailable:
            raise
        except CodeWarzError as error:  # a key of another kind, which the next process that tells of itself mends
            _log.error("unreadable_nodes", key=place, error=error.detail)
            continue
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            try:
                node = _read(value)
            except Unreadable as error:  # of another version, or of somebody else
                _log.warning("unreadable_node", node=key.decode(errors="replace"), error=error.detail)
                continue
            if now_ms - node.at_ms > FORGOTTEN_MS:
                old.append(key)
            elif place == JUDGES_KEY and node.roles != JUDGE_ALONE:
                _log.warning("foreign_node", node=node.name, roles=node.roles)
            else:
                found.append(node)
        if old:
            await redis.call("HDEL", place, *old)
    return sorted(found, key=lambda node: (node.roles, node.name))
