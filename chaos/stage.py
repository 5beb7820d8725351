"""What a scenario may do: everything that happens to real machines, in words. Each call returns when it has happened.

Choices are made by the scenario's own seed, which is in its report: the same seed chooses the same processes, though not the same moments.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import trio

from actors.judge.lease import lease_key
from actors.system import Role
from chaos.cluster import Cluster, Node
from chaos.engines.child import Child
from chaos.evidence import Evidence
from chaos.load.people import Crowd
from chaos.proxy import Link, Proxy
from contracts.errors import CodeWarzError

LOOK_S = 0.05
BUSY_S = 20.0  # how long a scenario waits for a moment that the load should bring about soon


class NoSuchMoment(Exception):
    """What a scenario waited for did not come: it proves nothing then."""


class Broken(RuntimeError):
    """A promise was broken in the middle of a scenario, where only the scenario can see it."""


@dataclass
class Stage:
    """A cluster under load, and the hands that break it. ``say`` tells whoever watches the run."""

    cluster: Cluster
    proxy: Proxy
    crowd: Crowd
    evidence: Evidence
    rng: random.Random
    say: Callable[[str], None]

    # ---- whom --------------------------------------------------------------------------------------------------------

    def every(self, role: Role) -> list[Node]:
        """Return the processes of a role."""
        return self.cluster.of(role)

    def any(self, role: Role) -> Node:
        """Return one of them, by the seed."""
        return self.rng.choice(self.cluster.of(role))

    def links(self, process: str, neighbour: str) -> list[Link]:
        """Return the ways between processes and neighbours, by patterns: ``judge-*``, ``broker``; the neighbours of a call are processes."""
        return self.proxy.links(process, neighbour)

    # ---- what happens to servers -------------------------------------------------------------------------------------

    async def kill(self, *children: Child) -> None:
        """Kill -9, all at once."""
        await self._all("kill -9", lambda child: child.kill(), children)

    async def end(self, *children: Child) -> None:
        """SIGTERM, or what a server takes for it, and wait for the end."""
        await self._all("end", lambda child: child.end(), children)

    async def start(self, *children: Child) -> None:
        """Start them, and wait until each says that it can serve."""
        await self._all("start", lambda child: child.start(), children)

    async def freeze(self, *children: Child) -> None:
        """SIGSTOP: they stand still, and their connections stay open."""
        await self._all("freeze", lambda child: child.freeze(), children)

    async def thaw(self, *children: Child) -> None:
        """SIGCONT."""
        await self._all("thaw", lambda child: child.thaw(), children)

    async def _all(self, what: str, do: Callable[[Child], object], children: Iterable[Child]) -> None:
        self.say(f"{what} {', '.join(child.name for child in children)}")
        async with trio.open_nursery() as nursery:
            for child in children:
                nursery.start_soon(trio.to_thread.run_sync, do, child, name=f"{what} {child.name}")

    async def do(self, what: str, function: Callable[[], object]) -> None:
        """Do something else that blocks."""
        self.say(what)
        await trio.to_thread.run_sync(function)

    # ---- moments -----------------------------------------------------------------------------------------------------

    async def wait(self, seconds: float) -> None:
        """Let it go on like this."""
        await trio.sleep(seconds)

    async def until(self, what: str, look: Callable[[], Awaitable[object]], most_s: float = BUSY_S) -> None:
        """Wait for a moment; NoSuchMoment when it does not come."""
        self.say(f"waiting until {what}")
        with trio.move_on_after(most_s):
            while True:
                try:
                    if await look():
                        return
                except CodeWarzError:
                    pass  # who is asked may be what is broken
                await trio.sleep(LOOK_S)
        raise NoSuchMoment(f"{what}: not within {most_s:g} s")

    async def judging(self, *judges: Node) -> dict[str, str]:
        """Wait until each of these judges has a slow program in its hands, and return the submission of each judge by name."""
        found: dict[str, str] = {}

        async def look() -> bool:
            slow = [sent.submission_id for sent in self.crowd.book.untold if sent.program.is_slow]
            if not slow:
                return False
            owners = await self.evidence.redis.call("MGET", *(lease_key(each, 1) for each in slow))
            for submission_id, owner in zip(slow, owners, strict=True):
                name = (owner or b"").decode().partition("/")[0]
                found.setdefault(name, submission_id)
            found.pop("", None)
            if all(judge.name in found for judge in judges):
                return True
            found.clear()
            return False

        await self.until(f"{', '.join(judge.name for judge in judges)} is in the middle of a test", look)
        return found
