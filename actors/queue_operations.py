"""What operators do with messages that went astray: dead letters of the broker, and rows of the outbox. Every change is noted in the audit log.

A *dead letter* is a message that its consumers rejected, or gave back too often. Replaying publishes it again where it first came from, without the marks
of its death, and acknowledges it only after the confirm: a crash in between replays it twice, which its idempotent consumers do not mind. An outbox row is
*parked* when the broker refused it again and again.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from actors.core.desk import Desk
from actors.outbox import QUEUES
from actors.system import Neighbours
from contracts.errors import CodeWarzError, Conflict, Invalid, NotFound
from contracts.ports import BrokerDelivery, BrokerMessage
from contracts.reading import Unreadable, count_of, reader

Fields = dict[str, Any]

GRAVES = {queue.dead_letter_queue: queue for queue in QUEUES if queue.dead_letter_queue is not None}
ROUTING_KEYS = frozenset(queue.routing_key for queue in GRAVES.values())
DEATH = "x-death"  # begins the headers that say how a message died
SHOWN_MOST = 500
REPLAYED_MOST = 10_000  # by one command
IDS_AUDITED = 20

_read = reader(msgspec.json.Decoder(dict[str, Any]))


class _Undone(Exception):
    """Undoes a transaction that was only a trial."""


class QueueOperations:
    """The verbs ``dlq …`` and ``outbox …``."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._with = neighbours

    # ---- dead letters ------------------------------------------------------------------------------------------------

    async def dlq_list(self, fields: Fields) -> Fields:
        """Count the dead letters of each queue, and show the first ones, at most ``limit`` of each."""
        await self._with.broker.declare(QUEUES)
        limit = _number(fields, "limit", 20, SHOWN_MOST)
        found = []
        for grave in self._graves(fields):
            depth = await self._with.broker.depth(grave)
            letters = await self._with.broker.peek(grave, limit) if limit else []
            found.append({"queue": grave, "messages": depth.ready, "first": [_summary(each) for each in letters]})
        return {"queues": found}

    async def dlq_show(self, fields: Fields) -> Fields:
        """Show one dead letter, whole."""
        await self._with.broker.declare(QUEUES)
        wanted = str(fields["message_id"])
        for grave in self._graves(fields):
            for letter in await self._with.broker.peek(grave, REPLAYED_MOST):
                if letter.message_id == wanted:
                    return {"queue": grave, **_summary(letter), "headers": dict(letter.headers), "body": _body(letter)}
        raise NotFound(f"no dead letter has the id {wanted!r}: codewarz dlq list shows those that are there")

    async def dlq_replay(self, fields: Fields) -> Fields:
        """Publish dead letters again: one by its id, or the oldest ``count`` of a queue."""
        await self._with.broker.declare(QUEUES)
        wanted = fields.get("message_id")
        await self._try_audit(_operator(fields))
        if wanted is not None:
            return await self._replay_one(str(wanted), self._graves(fields), _operator(fields))
        grave, count = self._grave(fields), _number(fields, "count", 0, REPLAYED_MOST)
        ready = (await self._with.broker.depth(grave)).ready
        if not 0 < count <= ready:
            raise Conflict(
                f"{grave} has {ready} messages: say how many of them are to be replayed (--count 1 to {ready})"
            )
        replayed: list[str] = []
        while len(replayed) < count:
            delivery = await self._with.broker.get(grave)
            if delivery is None:
                break  # somebody else is at it as well
            await self._replay(delivery, grave)
            replayed.append(delivery.message.message_id)
        await self._audit(_operator(fields), "dlq.replay", grave, replayed)
        return {"queue": grave, "replayed": len(replayed)}

    async def _replay_one(self, wanted: str, graves: list[str], operator: str) -> Fields:
        for grave in graves:
            held: list[BrokerDelivery] = []
            found = False
            try:
                while not found and len(held) < REPLAYED_MOST and (delivery := await self._with.broker.get(grave)):
                    found = delivery.message.message_id == wanted
                    if found:
                        await self._replay(delivery, grave)
                    else:
                        held.append(delivery)
            finally:
                for other in reversed(
                    held
                ):  # the last one first, so that each comes back before those that were behind it
                    await other.nack()
            if found:
                await self._audit(operator, "dlq.replay", grave, [wanted])
                return {"queue": grave, "replayed": 1}
        raise NotFound(f"no dead letter has the id {wanted!r}: codewarz dlq list shows those that are there")

    async def _replay(self, delivery: BrokerDelivery, grave: str) -> None:
        letter = delivery.message
        routing_key = letter.headers.get(f"{DEATH}-routing-key", "")
        if routing_key not in ROUTING_KEYS:  # it says what somebody wrote who put it there themselves
            routing_key = GRAVES[grave].routing_key
        alive = {name: value for name, value in letter.headers.items() if not name.startswith(DEATH)}
        await self._with.broker.publish(routing_key, msgspec.structs.replace(letter, headers=alive))
        await delivery.ack()

    async def dlq_purge(self, fields: Fields) -> Fields:
        """Delete all dead letters of a queue. ``count`` must be how many there are: what came since somebody looked is not deleted unseen."""
        await self._with.broker.declare(QUEUES)
        grave, count = self._grave(fields), _number(fields, "count", 0, 2**31)
        ready = (await self._with.broker.depth(grave)).ready
        if count != ready:
            raise Conflict(
                f"{grave} has {ready} messages, not {count}: look at them, then confirm with --count {ready}"
            )
        unseen = ""
        try:
            lost = [each.message_id for each in await self._with.broker.peek(grave, IDS_AUDITED)]
        except CodeWarzError as error:  # what cannot be looked at must be possible to be rid of, or nothing helps
            lost, unseen = [], f"(could not be looked at: {error.detail})"
        await self._try_audit(_operator(fields))
        purged = await self._with.broker.purge(grave)
        await self._audit(_operator(fields), "dlq.purge", grave, lost, many=purged, remark=unseen)
        return {"queue": grave, "purged": purged}

    def _grave(self, fields: Fields) -> str:
        (grave, *others) = self._graves(fields)
        if others:
            raise Invalid(f"which one: {', '.join(GRAVES)}?")
        return grave

    def _graves(self, fields: Fields) -> list[str]:
        wanted = fields.get("queue")
        if wanted is None:
            return list(GRAVES)
        if wanted not in GRAVES:
            raise NotFound(f"there is no dead-letter queue {wanted!r}; there are {', '.join(GRAVES)}")
        return [str(wanted)]

    # ---- the outbox --------------------------------------------------------------------------------------------------

    async def outbox_status(self, _fields: Fields) -> Fields:
        """Count what waits, what is parked, and how old the oldest is."""
        row = await self._with.database.fetch_one(
            "SELECT COUNT(CASE WHEN parked_at_ms IS NULL THEN 1 END) AS waiting, COUNT(parked_at_ms) AS parked,"
            " MIN(CASE WHEN parked_at_ms IS NULL THEN created_at_ms END) AS oldest FROM outbox_messages WHERE sent_at_ms IS NULL"
        )
        assert row is not None
        oldest_ms = 0 if row["oldest"] is None else max(0, self._with.clock.now_ms() - row["oldest"])
        return {"waiting": row["waiting"], "parked": row["parked"], "oldest_ms": oldest_ms}

    async def outbox_list(self, fields: Fields) -> Fields:
        """Show rows that wait or are parked, the oldest first."""
        condition = "parked_at_ms IS NOT NULL" if fields.get("parked") else "sent_at_ms IS NULL"
        rows = await self._with.database.fetch(
            "SELECT id, topic, priority, body, correlation_id, created_at_ms, available_at_ms, attempts, last_error, parked_at_ms"  # noqa: S608 - constants
            f" FROM outbox_messages WHERE sent_at_ms IS NULL AND {condition} ORDER BY id LIMIT $1",
            _number(fields, "limit", 20, SHOWN_MOST),
        )
        return {"items": [{**row, "body": row["body"].decode("utf-8", "replace")} for row in rows]}

    async def outbox_retry(self, fields: Fields) -> Fields:
        """Have a row published now, parked or waiting for its time; or all that are parked."""
        change = "available_at_ms = $1, attempts = 0, parked_at_ms = NULL WHERE sent_at_ms IS NULL"
        if fields.get("message_id") is not None:
            return await self._change(fields, "retry", f"{change} AND id = $2", str(fields["message_id"]))
        if fields.get("all"):
            return await self._change(fields, "retry", f"{change} AND parked_at_ms IS NOT NULL")
        raise Invalid("which one: a message's id, or --all that are parked?")

    async def outbox_park(self, fields: Fields) -> Fields:
        """Keep a row from being published until it is retried."""
        change = "parked_at_ms = $1 WHERE sent_at_ms IS NULL AND parked_at_ms IS NULL AND id = $2"
        return await self._change(fields, "park", change, str(fields["message_id"]))

    async def _change(self, fields: Fields, what: str, change: str, *ids: str) -> Fields:
        now_ms = self._with.clock.now_ms()
        async with self._with.database.transaction() as tx:
            rows = await tx.fetch(f"UPDATE outbox_messages SET {change} RETURNING id", now_ms, *ids)  # noqa: S608 - constants
            if ids and not rows:
                raise NotFound(
                    f"no row of the outbox that this could be done to has the id {ids[0]!r}: codewarz outbox list"
                )
            changed = [str(row["id"]) for row in rows]
            detail = _detail(changed, len(changed))
            await Desk(tx, now_ms, self._with.rng).audit(_operator(fields), f"outbox.{what}", "outbox", detail)
        if what == "retry" and changed:
            await self._wake()
        return {"changed": len(changed)}

    async def _wake(self) -> None:
        """Wake the relays: an update fires no trigger."""
        await self._with.database.execute("SELECT pg_notify('outbox', '')")

    async def _audit(
        self, operator: str, action: str, subject: str, ids: list[str], many: int | None = None, remark: str = ""
    ) -> None:
        async with self._with.database.transaction() as tx:
            desk = Desk(tx, self._with.clock.now_ms(), self._with.rng)
            await desk.audit(operator, action, subject, _detail(ids, len(ids) if many is None else many, remark))

    async def _try_audit(self, operator: str) -> None:
        """Raise what keeps the audit log from being written, before anything is done that would not be in it: the database is away, or no core's login asks."""
        with suppress(_Undone):
            async with self._with.database.transaction() as tx:
                await Desk(tx, self._with.clock.now_ms(), self._with.rng).audit(operator, "trial", "", "")
                raise _Undone

    def verbs(self) -> Mapping[str, Callable[[Fields], Any]]:
        """Return the handlers by verb."""
        return {
            "dlq_list": self.dlq_list,
            "dlq_show": self.dlq_show,
            "dlq_replay": self.dlq_replay,
            "dlq_purge": self.dlq_purge,
            "outbox_status": self.outbox_status,
            "outbox_list": self.outbox_list,
            "outbox_retry": self.outbox_retry,
            "outbox_park": self.outbox_park,
        }


def _number(fields: Fields, name: str, default: int, most: int) -> int:
    value = fields.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise Invalid(f"{name} is a whole number from 0 to {most}")
    return value


def _operator(fields: Fields) -> str:
    """Return who does it, as the command line says; whoever reaches it may say what they like, and may do everything anyway."""
    return f"operator {fields.get('by') or 'unknown'}"[:64]


def _detail(ids: list[str], many: int, remark: str = "") -> str:
    """Say how many there were, and which: the ids are whatever somebody wrote, and what no database keeps is replaced."""
    named = ", ".join(ids[:IDS_AUDITED]) + (" …" if many > IDS_AUDITED else "")
    return re.sub(r"[\x00-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", f"{many}: {remark or named}")


def _summary(letter: BrokerMessage) -> Fields:
    headers = letter.headers
    return {
        "message_id": letter.message_id,
        "reason": headers.get(f"{DEATH}-reason", ""),
        "from": headers.get(f"{DEATH}-queue", ""),
        "deaths": count_of(headers.get(f"{DEATH}-count")),
        "correlation_id": headers.get("correlation-id", ""),
        "priority": letter.priority,
        "about": _about(letter),
    }


def _about(letter: BrokerMessage) -> str:
    """Say in a few words what a message is about: its type and its submission, as far as it can be read."""
    try:
        body = _read(letter.body)
    except Unreadable:
        return "unreadable"
    words = [body[key] for key in ("type", "submission_id", "contest_id") if isinstance(body.get(key), str)]
    return " ".join(words)[:120]


def _body(letter: BrokerMessage) -> str:
    """Return a body as text, or, when it is none, as base64."""
    try:
        return letter.body.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(letter.body).decode()
