"""What operators do with dead letters and with rows of the outbox: it is what they asked for, once, and noted."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from actors.outbox import QUEUES
from actors.queue_operations import QueueOperations
from actors.system import Neighbours
from contracts.errors import Conflict, EdgeLost, Invalid, NotFound, Unavailable
from contracts.messages import Topic
from contracts.ports import DEATH_COUNT, Broker, BrokerMessage, Database
from tests.conftest import Clock

BODY = b'{"type":"JudgeRequested","submission_id":"s1","attempt":1}'


@pytest.fixture
def operations(database: Database, broker: Broker, clock: Clock, rng: random.Random) -> QueueOperations:
    nobody: Any = None
    return QueueOperations(Neighbours(database, nobody, broker, nobody, nobody, nobody, nobody, clock, rng))


async def dead(broker: Broker, *identifiers: str, topic: str = Topic.SUBMISSION, body: bytes = BODY) -> None:
    """Have messages die of being rejected."""
    await broker.declare(QUEUES)
    queue = next(each.name for each in QUEUES if each.routing_key == topic)
    for each in identifiers:
        await broker.publish(
            topic, BrokerMessage(body=body, message_id=each, priority=1, headers={"correlation-id": "c"})
        )
        delivery = await broker.get(queue)
        assert delivery is not None
        await delivery.reject()


async def waiting(broker: Broker, queue: str) -> list[BrokerMessage]:
    found = []
    while (delivery := await broker.get(queue)) is not None:
        found.append(delivery.message)
        await delivery.ack()
    return found


async def noted(database: Database) -> list[tuple[str, str, str, str]]:
    rows = await database.fetch("SELECT actor, action, subject, detail FROM audit_log ORDER BY id")
    return [(row["actor"], row["action"], row["subject"], row["detail"]) for row in rows]


async def row(database: Database, identifier: str, *, parked: bool = False) -> None:
    await database.execute(
        "INSERT INTO outbox_messages (id, topic, priority, body, correlation_id, traceparent, created_at_ms, available_at_ms, attempts,"
        " last_error, parked_at_ms) VALUES ($1, 'submission', 1, $2, '', '', 1, 99, 10, 'refused', $3)",
        identifier,
        BODY,
        5 if parked else None,
    )


async def state(database: Database) -> dict[str, tuple[int, int, int | None]]:
    rows = await database.fetch("SELECT id, available_at_ms, attempts, parked_at_ms FROM outbox_messages")
    return {each["id"]: (each["available_at_ms"], each["attempts"], each["parked_at_ms"]) for each in rows}


# ---- dead letters ----------------------------------------------------------------------------------------------------


async def test_the_list_counts_and_shows_without_changing_anything(operations: QueueOperations, broker: Broker) -> None:
    await dead(broker, "a", "b", "c")
    for _ in range(5):  # looking again and again must not use up a delivery limit
        found = await operations.dlq_list({"limit": 2})
    submission, verdict = found["queues"]
    assert (submission["queue"], submission["messages"]) == ("submission.dlq", 3)
    assert [each["message_id"] for each in submission["first"]] == ["a", "b"]
    assert submission["first"][0] == {
        "message_id": "a",
        "reason": "rejected",
        "from": "submission.queue",
        "deaths": 1,
        "correlation_id": "c",
        "priority": 1,
        "about": "JudgeRequested s1",
    }
    assert (verdict["queue"], verdict["messages"], verdict["first"]) == ("verdict.dlq", 0, [])


async def test_one_dead_letter_is_shown_whole_even_when_nobody_can_read_it(
    operations: QueueOperations, broker: Broker
) -> None:
    await dead(broker, "a", body=b"\xff\xfe")
    shown = await operations.dlq_show({"message_id": "a"})
    assert shown["body"] == "base64://4="
    assert shown["about"] == "unreadable"
    assert shown["headers"]["x-death-routing-key"] == Topic.SUBMISSION
    with pytest.raises(NotFound, match="codewarz dlq list"):
        await operations.dlq_show({"message_id": "z"})


@pytest.mark.parametrize("count", ["many", "-1", "٣", "9" * 5000, ""])
async def test_a_count_of_deaths_that_somebody_made_up_is_none(
    operations: QueueOperations, broker: Broker, count: str
) -> None:
    await broker.declare(QUEUES)
    grave = next(each for each in QUEUES if each.name == "submission.dlq")
    forged = BrokerMessage(body=BODY, message_id="a", priority=1, headers={DEATH_COUNT: count})
    await broker.publish(grave.routing_key, forged)
    found = await operations.dlq_list({"queue": "submission.dlq"})
    assert [each["message_id"] for each in found["queues"][0]["first"]] == ["a"]


async def test_a_replayed_letter_is_alive_again_where_it_came_from(
    operations: QueueOperations, broker: Broker, database: Database
) -> None:
    await dead(broker, "a", "b", "c")
    assert await operations.dlq_replay({"message_id": "b", "by": "ann"}) == {"queue": "submission.dlq", "replayed": 1}
    (alive,) = await waiting(broker, "submission.queue")
    assert (alive.message_id, alive.body, alive.priority, dict(alive.headers)) == (
        "b",
        BODY,
        1,
        {"correlation-id": "c"},
    )
    assert [each.message_id for each in await waiting(broker, "submission.dlq")] == ["a", "c"]
    assert await noted(database) == [("operator ann", "dlq.replay", "submission.dlq", "1: b")]


async def test_letters_that_were_only_passed_over_stay_however_often(
    operations: QueueOperations, broker: Broker
) -> None:
    await dead(broker, "a", "b")
    for _ in range(10):
        with pytest.raises(NotFound):
            await operations.dlq_replay({"message_id": "z"})
    assert [each.message_id for each in await waiting(broker, "submission.dlq")] == ["a", "b"]


async def test_a_replayed_letter_that_is_rejected_again_is_a_dead_letter_again(
    operations: QueueOperations, broker: Broker
) -> None:
    await dead(broker, "a")
    await operations.dlq_replay({"message_id": "a"})
    delivery = await broker.get("submission.queue")
    assert delivery is not None
    await delivery.reject()
    (letter,) = await broker.peek("submission.dlq", 10)
    assert letter.message_id == "a"
    assert letter.headers["x-death-routing-key"] == Topic.SUBMISSION


async def test_so_many_of_a_queue_are_replayed_the_oldest_first(operations: QueueOperations, broker: Broker) -> None:
    await dead(broker, "a", "b", "c")
    assert (await operations.dlq_replay({"queue": "submission.dlq", "count": 2}))["replayed"] == 2
    assert [each.message_id for each in await waiting(broker, "submission.queue")] == ["a", "b"]
    with pytest.raises(Conflict, match=r"submission\.dlq has 1 messages"):
        await operations.dlq_replay({"queue": "submission.dlq", "count": 2})
    with pytest.raises(Invalid, match=r"submission.dlq, verdict.dlq\?"):
        await operations.dlq_replay({"count": 1})


async def test_purging_wants_the_count_of_what_is_there(
    operations: QueueOperations, broker: Broker, database: Database
) -> None:
    await dead(broker, "a", "b", topic=Topic.VERDICT)
    with pytest.raises(Conflict, match="--count 2"):
        await operations.dlq_purge({"queue": "verdict.dlq", "count": 1})
    assert await operations.dlq_purge({"queue": "verdict.dlq", "count": 2}) == {"queue": "verdict.dlq", "purged": 2}
    assert await waiting(broker, "verdict.dlq") == []
    assert await noted(database) == [("operator unknown", "dlq.purge", "verdict.dlq", "2: a, b")]


@pytest.mark.parametrize("bad", [{"queue": "submission.queue", "count": 0}, {"queue": "nothing", "count": 0}])
async def test_only_dead_letter_queues_can_be_purged(operations: QueueOperations, bad: dict[str, Any]) -> None:
    with pytest.raises(NotFound, match=r"there are submission.dlq, verdict.dlq"):
        await operations.dlq_purge(bad)


@pytest.mark.parametrize("count", [-1, True, "3", 2**40])
async def test_a_count_that_is_none_is_refused(operations: QueueOperations, count: object) -> None:
    with pytest.raises(Invalid, match="count is a whole number"):
        await operations.dlq_purge({"queue": "verdict.dlq", "count": cast("Any", count)})


# ---- what somebody put there who is none of us ------------------------------------------------------------------------


async def planted(broker: Broker, grave: str, identifier: str, body: bytes = BODY, **headers: str) -> None:
    """Put a message among the dead letters that has never been in another queue."""
    await broker.declare(QUEUES)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    await broker.publish(grave, BrokerMessage(body=body, message_id=identifier, priority=0, headers=headers))


@pytest.mark.parametrize("count", ["abc", "9" * 4999, "-1", "٣", "²", ""])
async def test_a_number_of_deaths_that_is_none_is_none(operations: QueueOperations, broker: Broker, count: str) -> None:
    await planted(broker, "submission.dlq", "a", x_death_count=count)
    (found, _) = (await operations.dlq_list({}))["queues"]
    assert found["first"][0]["deaths"] == 0
    assert (await operations.dlq_show({"message_id": "a"}))["deaths"] == 0


@pytest.mark.parametrize(
    "body", [b"[" * 50_000, b'{"type":' + b"[" * 50_000, b'{"type":"\xff"}', b"[]"], ids=lambda body: repr(body[:12])
)
async def test_what_a_letter_is_about_need_not_be_readable(
    operations: QueueOperations, broker: Broker, body: bytes
) -> None:
    await planted(broker, "submission.dlq", "a", body)
    assert (await operations.dlq_list({}))["queues"][0]["first"][0]["about"] == "unreadable"


async def test_a_letter_that_says_where_it_came_from_is_not_believed(
    operations: QueueOperations, broker: Broker
) -> None:
    await planted(broker, "verdict.dlq", "a", x_death_routing_key="x" * 5000)
    assert (await operations.dlq_replay({"message_id": "a"}))["replayed"] == 1
    assert [each.message_id for each in await waiting(broker, "verdict.queue")] == ["a"]


async def test_what_no_database_keeps_is_replaced_in_the_audit_log(
    operations: QueueOperations, broker: Broker, database: Database
) -> None:
    await planted(broker, "verdict.dlq", "a\0b\x1b[2J")
    await operations.dlq_purge({"queue": "verdict.dlq", "count": 1})
    assert await noted(database) == [("operator unknown", "dlq.purge", "verdict.dlq", "1: a\ufffdb\ufffd[2J")]


async def test_purging_goes_on_when_nothing_can_be_looked_at(
    operations: QueueOperations, broker: Broker, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dead(broker, "a", topic=Topic.VERDICT)

    async def peek(_queue: str, _limit: int) -> list[BrokerMessage]:
        raise EdgeLost("the frame is broken")

    monkeypatch.setattr(broker, "peek", peek)
    assert (await operations.dlq_purge({"queue": "verdict.dlq", "count": 1}))["purged"] == 1
    ((_, _, _, detail),) = await noted(database)
    assert detail == "1: (could not be looked at: the frame is broken)"


# ---- the outbox ------------------------------------------------------------------------------------------------------


async def test_the_outbox_is_counted_and_listed(operations: QueueOperations, database: Database) -> None:
    await row(database, "a")
    await row(database, "b", parked=True)
    status = await operations.outbox_status({})
    assert (status["waiting"], status["parked"]) == (1, 1)
    assert [each["id"] for each in (await operations.outbox_list({}))["items"]] == ["a", "b"]
    (parked,) = (await operations.outbox_list({"parked": True}))["items"]
    assert (parked["id"], parked["last_error"], parked["body"]) == ("b", "refused", BODY.decode())


async def test_a_parked_row_is_retried_and_wakes_the_relay(
    operations: QueueOperations, database: Database, clock: Clock
) -> None:
    await row(database, "a", parked=True)
    await row(database, "b", parked=True)
    async with database.listen("outbox") as wakeups:
        assert await operations.outbox_retry({"message_id": "a", "by": "ann"}) == {"changed": 1}
        await wakeups.wait()
    assert await state(database) == {"a": (clock.now_ms(), 0, None), "b": (99, 10, 5)}
    assert await operations.outbox_retry({"all": True}) == {"changed": 1}
    assert (await operations.outbox_status({}))["parked"] == 0
    assert sorted(each[1:] for each in await noted(database)) == [
        ("outbox.retry", "outbox", "1: a"),
        ("outbox.retry", "outbox", "1: b"),
    ]


async def test_a_row_is_parked_once(operations: QueueOperations, database: Database, clock: Clock) -> None:
    await row(database, "a")
    assert await operations.outbox_park({"message_id": "a"}) == {"changed": 1}
    assert (await state(database))["a"][2] == clock.now_ms()
    with pytest.raises(NotFound, match="codewarz outbox list"):
        await operations.outbox_park({"message_id": "a"})
    assert len(await noted(database)) == 1


async def test_retrying_nothing_in_particular_is_refused(operations: QueueOperations) -> None:
    with pytest.raises(Invalid, match="--all"):
        await operations.outbox_retry({})


async def test_what_could_not_be_noted_is_not_done(
    operations: QueueOperations, database: Database, broker: Broker, clock: Clock, rng: random.Random
) -> None:
    class ReadOnly:
        def transaction(self) -> object:
            raise Unavailable("this process's login may not do that in the database")

    nobody: Any = None
    may_not = QueueOperations(
        Neighbours(cast("Database", ReadOnly()), nobody, broker, nobody, nobody, nobody, nobody, clock, rng)
    )
    await dead(broker, "a")
    for refused in (
        may_not.dlq_replay({"message_id": "a"}),
        may_not.dlq_replay({"queue": "submission.dlq", "count": 1}),
        may_not.dlq_purge({"queue": "submission.dlq", "count": 1}),
    ):
        with pytest.raises(Unavailable, match="may not"):
            await refused
    assert [letter.message_id for letter in await broker.peek("submission.dlq", 10)] == ["a"]
    await operations.dlq_purge({"queue": "submission.dlq", "count": 1, "operator": "root"})
    assert [action for _, action, *_ in await noted(database)] == ["dlq.purge"]
