"""What really happened, read past every gateway: rows, queues, boards, processes, logs. For the checks; scenarios look here for the right moment."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from actors import presence
from actors.boards import Boards
from actors.projector import Log
from actors.remote import neighbours
from actors.settings import Settings
from chaos.cluster import Cluster
from chaos.engines import RabbitMq
from contracts.messages import BoardEvent, Judged
from contracts.ports import Database, Redis, Row, WallClock

BOXES_EVERY_S = 0.2
# What a log may say at level "error" and what is no failure of the process: that it stood still (SIGSTOP, or a machine that is too busy).
EXPECTED_ERRORS = frozenset({"loop_blocked"})

_event = msgspec.json.Decoder(BoardEvent)


@dataclass(frozen=True)
class Evidence:
    """The stores behind a cluster, reached straight: no weather between."""

    database: Database
    redis: Redis
    rabbitmq: RabbitMq
    clock: WallClock

    @property
    def boards(self) -> Boards:
        """The boards."""
        return Boards(self.redis, self.clock)

    @property
    def log(self) -> Log:
        """The verdict log."""
        return Log(self.database)

    async def submissions(self, contest_id: str) -> list[Row]:
        """Return a contest's submissions."""
        return await self.database.fetch(
            "SELECT id, attempt, verdict, fencing FROM submissions WHERE contest_id = $1", contest_id
        )

    async def verdicts(self, contest_id: str) -> list[Row]:
        """Return a contest's lines in the verdict log."""
        return await self.database.fetch(
            "SELECT v.submission_id, v.attempt, v.verdict, v.fencing, v.judge, v.tests, v.judge_error"
            " FROM verdicts v JOIN submissions s ON s.id = v.submission_id WHERE s.contest_id = $1",
            contest_id,
        )

    async def effects(self, since_ms: int) -> list[tuple[str, int]]:
        """Return submission and attempt of every verdict that was announced since then: each of them had an effect."""
        rows = await self.database.fetch(
            "SELECT body FROM outbox_messages WHERE topic = 'verdict' AND created_at_ms >= $1", since_ms
        )
        events = [_event.decode(row["body"]) for row in rows]
        return [(event.submission_id, event.attempt) for event in events if isinstance(event, Judged)]

    async def outbox(self, since_ms: int) -> dict[str, bool]:
        """Return whether each row of the outbox since then was published."""
        rows = await self.database.fetch(
            "SELECT id, sent_at_ms FROM outbox_messages WHERE created_at_ms >= $1", since_ms
        )
        return {row["id"]: row["sent_at_ms"] is not None for row in rows}

    async def asked_again(self) -> dict[str, int]:
        """Return the submissions of which the outbox has asked for a judging more than once, and how often; it forgets after an hour."""
        rows = await self.database.fetch(
            "SELECT submission_id, count(*) AS many FROM outbox_messages WHERE submission_id IS NOT NULL"
            " GROUP BY submission_id HAVING count(*) > 1"
        )
        return {row["submission_id"]: row["many"] for row in rows}

    async def unrest(self) -> list[str]:
        """Return what is still under way; [] at rest."""
        found = []
        row = await self.database.fetch_one(
            "SELECT (SELECT count(*) FROM submissions WHERE verdict IS NULL) AS unjudged,"
            " (SELECT count(*) FROM outbox_messages WHERE sent_at_ms IS NULL) AS unsent"
        )
        assert row is not None
        found += [f"{many} {what}" for what, many in row.items() if many]
        if not found:  # RabbitMQ's own tool takes a second
            found += [
                f"{name}: {many} messages" for name, many in (await self.queues()).items() if many and not is_dead(name)
            ]
        return found

    async def unjudged(self) -> int:
        """Return how many submissions have no verdict."""
        row = await self.database.fetch_one("SELECT count(*) AS many FROM submissions WHERE verdict IS NULL")
        assert row is not None
        return int(row["many"])

    async def queues(self) -> dict[str, int]:
        """Return how many messages each of RabbitMQ's queues has, with those that are with consumers."""
        text = await trio.to_thread.run_sync(self.rabbitmq.control, "list_queues", "name", "messages")
        return {name: int(many) for name, many in re.findall(r"^(\S+)\t(\d+)$", text, re.MULTILINE)}

    async def dead_letters(self) -> dict[str, int]:
        """Return how many messages lie in each dead-letter queue."""
        return {name: many for name, many in (await self.queues()).items() if is_dead(name)}

    async def refused(self) -> list[str]:
        """Return what Redis did not permit a user since it started: some role does something that its user may not."""
        found = []
        for entry in await self.redis.call("ACL", "LOG"):
            told = {name.decode(): value for name, value in zip(entry[::2], entry[1::2], strict=True)}
            found.append(" ".join(str(told[name].decode()) for name in ("username", "reason", "object")))
        return found

    async def processes(self) -> list[presence.Node]:
        """Return what every process last told of itself."""
        return await presence.nodes(self.redis, self.clock.now_ms())


@asynccontextmanager
async def gathered(cluster: Cluster) -> AsyncIterator[Evidence]:
    """Hold the stores open for the length of the block."""
    settings = Settings(
        database=cluster.postgres.url,
        redis=cluster.redis.url,
        data=cluster.folder / "evidence",
    )
    settings.make_data_folder()
    async with neighbours(settings, frozenset({"database", "redis"})) as edges:
        found = edges.neighbours
        yield Evidence(found.database, found.redis, cluster.rabbitmq, found.clock)


def is_dead(queue: str) -> bool:
    """Whether a queue is one for dead letters."""
    return ".dlq" in queue


# ---- logs ------------------------------------------------------------------------------------------------------------


class Logs:
    """What processes have logged since the last look."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._paths = {name: folder / "log" for name, folder in folders.items()}
        self._read: dict[str, int] = {}

    def new(self) -> dict[str, list[str]]:
        """Return each one's new lines."""
        found = {}
        for name, path in self._paths.items():
            try:
                with path.open("rb") as file:
                    file.seek(self._read.get(name, 0))
                    data = file.read()
                    self._read[name] = file.tell()
            except FileNotFoundError:
                continue
            found[name] = data.decode(errors="replace").splitlines()
        return found


def troubles(lines: Iterable[str]) -> list[str]:
    """Return what a process's log says that it may never say: errors that nobody expects, and tracebacks, which are nobody's answer to anything."""
    found = []
    for line in lines:
        try:
            entry: Any = json.loads(line) if line.startswith("{") else None
        except ValueError:
            entry = None
        if entry is None:
            if line.startswith("Traceback (most recent call last)"):
                found.append("a traceback beside the log")
            continue
        if entry.get("event") in EXPECTED_ERRORS:
            continue
        if entry.get("level") in ("error", "critical") or "exception" in entry:
            found.append(line[:400])
    return found


# ---- processes -------------------------------------------------------------------------------------------------------


@dataclass
class Boxes:
    """Who watches the sandboxes of every judge: how many there are at once, and whether one outlives its judge."""

    cluster: Cluster
    most: dict[str, int] = field(default_factory=dict)
    _seen: set[tuple[int, str]] = field(default_factory=set)

    async def watch(self) -> None:
        """Look every BOXES_EVERY_S seconds until cancelled."""
        while True:
            self.look()
            await trio.sleep(BOXES_EVERY_S)

    def look(self) -> None:
        """Count now."""
        table = dict(_processes())
        judges = {
            node.process.pid: name
            for name, node in self.cluster.nodes.items()
            if name.startswith("judge") and node.process is not None
        }
        now: dict[str, int] = {}
        for pid, (parent, program, started) in table.items():
            if parent in judges and program == "bwrap":
                now[judges[parent]] = now.get(judges[parent], 0) + 1
                self._seen.add((pid, started))
        for name, many in now.items():
            self.most[name] = max(many, self.most.get(name, 0))

    def orphans(self) -> list[int]:
        """Return the sandboxes whose judge is gone."""
        table = dict(_processes())
        judges = {node.process.pid for node in self.cluster.nodes.values() if node.is_running and node.process}
        return [
            pid
            for pid, started in self._seen
            if pid in table and table[pid][2] == started and table[pid][0] not in judges
        ]


def _processes() -> Iterator[tuple[int, tuple[int, str, str]]]:
    """Yield each process with its parent, its program's name and when it started; those that have ended and wait for their parent are none any more."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                head, _, tail = (entry / "stat").read_text().rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = tail.split()
            if fields[0] != "Z":
                yield int(entry.name), (int(fields[1]), head.partition("(")[2], fields[19])
