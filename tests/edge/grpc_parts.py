"""What the tests of gRPC share."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio

from contracts.errors import Unavailable
from contracts.messages import GetProblem, ProblemBlob, Request
from contracts.ports import Handler
from edge.aio import AsyncioLoop
from edge.rpc.grpc import GrpcRpc

ASK = GetProblem(problem_id="p", version=1)
SLOW = GetProblem(problem_id="slow", version=1)


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def url_of(*ports: int, secret: str = "", scheme: str = "grpc", more: str = "") -> str:
    """The URL of a process that serves nothing and finds core at these ports."""
    password = f":{secret}@" if secret else ""
    return f"{scheme}://{password}?core={','.join(f'127.0.0.1:{each}' for each in ports)}{more}"


def named(name: str) -> Handler:
    """A core that says its name: the blob's digest."""

    async def answer(request: Request[Any], *, timeout: float) -> Any:
        return ProblemBlob(problem_id="p", version=1, digest=name, package=b"")

    return answer


@asynccontextmanager
async def serving(aio: AsyncioLoop, port: int, handler: Handler, *, host: str = "127.0.0.1") -> AsyncIterator[GrpcRpc]:
    """A core at this port, as long as the block lasts."""
    async with GrpcRpc(f"grpc://{host}:{port}", aio) as rpc, rpc.serve("core", handler):
        yield rpc


async def ask(rpc: GrpcRpc, *, timeout: float = 5.0) -> str:
    """Who answers?"""
    return (await rpc.call("core", ASK, timeout=timeout)).digest


async def until_answered(rpc: GrpcRpc, names: Iterable[str], *, within_s: float = 15.0) -> None:
    """Ask until each of these has answered; what is Unavailable meanwhile is asked again."""
    missing = set(names)
    with trio.fail_after(within_s):
        while missing:
            try:
                missing.discard(await ask(rpc, timeout=1.0))
            except Unavailable:
                await trio.sleep(0.02)  # a real server must come up


class Dawdler:
    """Answers nothing, and counts who waits."""

    def __init__(self) -> None:
        self.began = 0
        self.ended = 0
        self.has_begun = trio.Event()

    async def __call__(self, request: Request[Any], *, timeout: float) -> Any:
        self.began += 1
        self.has_begun.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended += 1


async def settled(*sides: GrpcRpc) -> None:
    """Wait until nothing of any call is left on these sides."""

    def leftovers() -> list[object]:
        found: list[object] = []
        for side in sides:
            assert side._inside is not None
            found += side._inside.server.tasks
            for connection in side._inside.balance._side.connections:
                found += connection._calls
                found += connection._protocol.processor.streams
                found += [each for each in connection._protocol.connection._connection.streams.values() if each.open]
            for peer in side._inside.server.peers:
                found += peer._tasks
                found += peer.protocol.processor.streams
            found += [each.name for each in side._services.values() if each.calls or each.nursery.child_tasks]
        return found

    with trio.fail_after(5):
        while left := leftovers():
            await trio.sleep(0.01)
    assert not left
