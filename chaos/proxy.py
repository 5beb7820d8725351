"""A network of our own between processes and their neighbours: a TCP proxy with a listener for each (process, neighbour), each with a weather of its own.

Rule 1: bytes arrive as they were sent and in their order, or the connection is reset. Whatever was swallowed left a hole that nothing can mend, so such a
        connection never goes on: it is reset at the heal, as by a peer that has forgotten it.
Rule 2: nothing is buffered beyond BUFFERED chunks a direction; a sink that does not read makes its source wait.
Rule 3: a link keeps its port for ever. While it refuses, nobody else can get the port, and whoever connects is told so by the kernel.

Ways to fail, from loud to silent: ``reset`` (connections end, new ones work), ``refuse`` (and new ones do not), ``hold`` (nothing passes, and everything goes
on at the heal: a short outage below TCP), ``swallow`` (everything seems to work, and nothing arrives).
"""

from __future__ import annotations

import errno
import random
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

import trio

from chaos.engines.child import HOST, free_port

CHUNK = 16 * 1024
BUFFERED = 64  # chunks on their way in one direction: a megabyte, which at 200 ms is 5 MB/s
BACKLOG = 128
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing resets


class Cut(StrEnum):
    """What a link does to connections."""

    NONE = "none"
    REFUSE = "refuse"
    HOLD = "hold"
    SWALLOW = "swallow"


class Way(StrEnum):
    """Which direction: ``OUT`` from the process to its neighbour, ``BACK`` from the neighbour."""

    OUT = "out"
    BACK = "back"


BOTH = frozenset(Way)


@dataclass(frozen=True)
class Weather:
    """How long bytes take, one way, in seconds: ``latency_s``, give or take up to ``jitter_s``."""

    latency_s: float = 0.0
    jitter_s: float = 0.0


@dataclass(eq=False)
class Link:
    """The way from a process to one neighbour that listens on ``target``; everybody who connects to ``port`` gets there."""

    process: str
    neighbour: str
    target: int
    rng: random.Random
    weather: Weather = Weather()
    cut: Cut = Cut.NONE
    ways: frozenset[Way] = BOTH  # in which directions it holds or swallows
    accepted: int = 0
    swallowed: int = 0  # bytes, ever
    _pairs: set[_Pair] = field(default_factory=set)
    _changed: trio.Event = field(default_factory=trio.Event)
    _listener: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._listener = _reserve()

    def __repr__(self) -> str:
        return f"<Link {self.process} → {self.neighbour} {self.cut} connections={len(self._pairs)}>"

    @property
    def port(self) -> int:
        """Where to connect."""
        found: int = self._listener.getsockname()[1]
        return found

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._pairs)

    # ---- what tests do to it -----------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Reset every connection."""
        for pair in tuple(self._pairs):
            pair.reset()

    def refuse(self) -> None:
        """Reset every connection and refuse new ones."""
        self._become(Cut.REFUSE, BOTH)
        self.reset()

    def hold(self, ways: Iterable[Way] = BOTH) -> None:
        """Let nothing pass, and lose nothing."""
        self._become(Cut.HOLD, ways)

    def swallow(self, ways: Iterable[Way] = BOTH) -> None:
        """Take everything, the ends of connections too, and let nothing arrive: a black hole."""
        self._become(Cut.SWALLOW, ways)

    def forget(self) -> None:
        """Swallow what the present connections send from now on, for ever; new ones work. As a firewall does that was restarted."""
        for pair in self._pairs:
            pair.is_forgotten = True

    def heal(self) -> None:
        """Let everything pass, and reset what cannot go on. The weather stays."""
        self._become(Cut.NONE, BOTH)
        for pair in tuple(self._pairs):
            if pair.has_hole:
                pair.reset()

    def _become(self, cut: Cut, ways: Iterable[Way]) -> None:
        self.cut, self.ways = cut, frozenset(ways)
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    # ---- its life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    await self._until(is_refusing=False)
                    self._listener.listen(BACKLOG)
                    async with trio.open_nursery() as accepting:
                        accepting.start_soon(self._accept, nursery, name=f"accept {self!r}")
                        await self._until(is_refusing=True)
                        accepting.cancel_scope.cancel()
                    with suppress(OSError):
                        self._listener.shutdown(socket.SHUT_RDWR)  # no listener any more, and the port stays ours
        finally:
            self.close()

    def close(self) -> None:
        """Give the port back."""
        self._listener.close()

    async def _until(self, *, is_refusing: bool) -> None:
        while (self.cut is Cut.REFUSE) is not is_refusing:
            await self._changed.wait()

    async def _accept(self, nursery: trio.Nursery) -> None:
        with trio.socket.from_stdlib_socket(self._listener.dup()) as listener:
            while True:
                client, _ = await listener.accept()
                self.accepted += 1
                nursery.start_soon(self._serve, trio.SocketStream(client), name=f"{self.process} → {self.neighbour}")

    async def _serve(self, client: trio.SocketStream) -> None:
        pair = _Pair(self, client)
        self._pairs.add(pair)
        if self.cut is Cut.REFUSE:
            pair.reset()
        try:
            await pair.run()
        finally:
            self._pairs.discard(pair)

    # ---- what its connections ask ------------------------------------------------------------------------------------

    def delay_s(self) -> float:
        """Return how long the next bytes take."""
        weather = self.weather
        if weather.latency_s <= 0 and weather.jitter_s <= 0:
            return 0.0
        return max(0.0, weather.latency_s + self.rng.uniform(-weather.jitter_s, weather.jitter_s))

    def does(self, cut: Cut, way: Way) -> bool:
        """Whether it does that in a direction."""
        return self.cut is cut and way in self.ways

    async def until_passing(self, way: Way) -> None:
        """Wait while it holds."""
        while self.does(Cut.HOLD, way):
            await self._changed.wait()


class _Pair:
    """One connection: the client's end, and one to the target."""

    def __init__(self, link: Link, client: trio.SocketStream) -> None:
        self.has_hole = False
        self.is_forgotten = False
        self._link = link
        self._client = client
        self._target: trio.SocketStream | None = None
        self._scope = trio.CancelScope()

    def reset(self) -> None:
        """End it without a good-bye."""
        self._scope.cancel()

    async def run(self) -> None:
        """Pass everything on until both ends have ended or the connection is reset."""
        is_over = False
        try:
            with self._scope:
                if self._link.does(Cut.SWALLOW, Way.OUT):
                    await self._vanish()
                self._target = await _connect(self._link.target)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, self._client, self._target, Way.OUT, name="out")
                    nursery.start_soon(self._pump, self._target, self._client, Way.BACK, name="back")
                is_over = True
        except* OSError:
            pass  # an end is gone: the other one is reset below
        finally:
            for stream in (self._client, self._target):
                if stream is not None:
                    if not is_over:
                        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                    stream.socket.close()

    async def _vanish(self) -> None:
        """Swallow everything from the beginning on, until the heal: whoever connects into a black hole hears nothing, not even that it is one."""
        self.has_hole = True
        while data := await _receive(self._client):
            self._link.swallowed += len(data)
        await trio.sleep_forever()

    def _is_swallowing(self, way: Way) -> bool:
        return self.is_forgotten or self._link.does(Cut.SWALLOW, way)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, way: Way) -> None:
        """Pass on what comes from ``source``, each piece when its time has come."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](BUFFERED)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, source, send, name=f"read {way}")
            due_s = 0.0
            with receive:
                async for due_s, data in receive:
                    await trio.sleep_until(due_s)
                    await self._pass(sink, data, way)

    async def _read(self, source: trio.SocketStream, send: trio.MemorySendChannel[tuple[float, bytes]]) -> None:
        due_s = 0.0
        # Broken: passing on has ended, which says itself why.
        with suppress(trio.BrokenResourceError), send:
            while True:
                data = await _receive(source)
                due_s = max(due_s, trio.current_time() + self._link.delay_s())  # jitter must not change the order
                await send.send((due_s, data))
                if not data:
                    return

    async def _pass(self, sink: trio.SocketStream, data: bytes, way: Way) -> None:
        await self._link.until_passing(way)
        if self._is_swallowing(way):
            self.has_hole = True
            self._link.swallowed += len(data)
            if not data:
                await trio.sleep_forever()  # the end is swallowed too: the other side goes on believing
        elif data:
            await _send(sink, data)
        else:
            await _send_eof(sink)


class Proxy:
    """All links. ``route`` is what a ``Cluster`` asks when it is made; ``run`` serves. ``seed`` makes the jitter."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)
        self._links: dict[tuple[str, str], Link] = {}
        self._running: trio.Nursery | None = None

    def route(self, process: str, neighbour: str, port: int) -> int:
        """Return the port by which ``process`` reaches ``neighbour`` on ``port``. Operators go straight: what they look at must not depend on the weather."""
        if process == "operator":
            return port
        link = self._links.get((process, neighbour))
        if link is None:
            link = self._links[process, neighbour] = Link(process, neighbour, port, self._rng)
            if self._running is not None:
                self._running.start_soon(link.run, name=repr(link))
        return link.port

    def links(self, process: str = "*", neighbour: str = "*") -> list[Link]:
        """Return the links whose names match these patterns; ValueError when there are none, as nothing would happen and a test would believe it did."""
        found = [link for link in self if fnmatchcase(link.process, process) and fnmatchcase(link.neighbour, neighbour)]
        if not found:
            raise ValueError(f"there is no link from {process} to {neighbour}")
        return found

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def close(self) -> None:
        """Give every port back; after ``run`` they are."""
        for link in self:
            link.close()

    def heal(self) -> None:
        """Good weather everywhere, and every cut healed."""
        for link in self:
            link.weather = Weather()
            link.heal()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve every link until cancelled."""
        async with trio.open_nursery() as nursery:
            self._running = nursery
            try:
                for link in self:
                    nursery.start_soon(link.run, name=repr(link))
                await trio.lowlevel.checkpoint()
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._running = None


def _reserve() -> socket.socket:
    """Return a socket bound to a free port by its number: only such a one keeps the port when it stops listening (Linux, ``tcp_disconnect``)."""
    while True:
        bound = socket.socket()
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((HOST, free_port()))
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return bound


async def _connect(port: int) -> trio.SocketStream:
    connection = trio.socket.socket()
    try:
        await connection.connect((HOST, port))
    except BaseException:
        connection.close()
        raise
    return trio.SocketStream(connection)


async def _receive(source: trio.SocketStream) -> bytes:
    try:
        return bytes(await source.receive_some(CHUNK))
    except trio.BrokenResourceError as error:
        raise ConnectionResetError(str(error)) from error


async def _send(sink: trio.SocketStream, data: bytes) -> None:
    try:
        await sink.send_all(data)
    except trio.BrokenResourceError as error:
        raise ConnectionResetError(str(error)) from error


async def _send_eof(sink: trio.SocketStream) -> None:
    try:
        await sink.send_eof()
    except trio.BrokenResourceError as error:
        raise ConnectionResetError(str(error)) from error
