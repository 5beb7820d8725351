"""What every ``Database`` does. Collected by ``test_database.py``, which says against which variants."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from contracts.errors import Conflict, Duplicate, Invalid
from contracts.ports import Database, Wakeups

QUIET_S = 0.02  # long enough for a notification that must not come


@pytest.fixture
async def people(database: Database) -> Database:
    await database.execute(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, age BIGINT CHECK (age >= 0), team TEXT)"
    )
    await database.execute(
        "CREATE TABLE pets (owner INTEGER NOT NULL REFERENCES people(id), name TEXT NOT NULL, PRIMARY KEY (owner, name))"
    )
    await database.execute("INSERT INTO people (id, name, age) VALUES ($1, $2, $3)", 1, "Ada", 36)
    return database


async def names(database: Database) -> list[str]:
    return [row["name"] for row in await database.fetch("SELECT name FROM people ORDER BY id")]


async def is_quiet(wakeups: Wakeups) -> bool:
    with trio.move_on_after(QUIET_S):
        await wakeups.wait()
        return False
    return True


# ---- statements ------------------------------------------------------------------------------------------------------


async def test_rows_are_mappings_by_column_name(people: Database) -> None:
    rows = await people.fetch("SELECT id, name AS who FROM people")
    assert [dict(row) for row in rows] == [{"id": 1, "who": "Ada"}]


async def test_a_parameter_may_be_used_twice_and_in_any_order(people: Database) -> None:
    row = await people.fetch_one(
        "SELECT name FROM people WHERE name = $2 AND (age = $1 OR name = $2) AND age >= $1", 36, "Ada"
    )
    assert row is not None


async def test_a_dollar_inside_a_literal_is_no_parameter(people: Database) -> None:
    row = await people.fetch_one("SELECT 'costs $2; -- it''s' AS text, name FROM people WHERE id = $1", 1)
    assert row is not None
    assert row["text"] == "costs $2; -- it's"


async def test_fetch_one_gives_the_first_row_or_none(people: Database) -> None:
    await people.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 2, "Bob")
    first = await people.fetch_one("SELECT name FROM people ORDER BY id")
    assert first is not None
    assert first["name"] == "Ada"
    assert await people.fetch_one("SELECT name FROM people WHERE id = $1", 9) is None


async def test_execute_says_how_many_rows_it_changed(people: Database) -> None:
    await people.execute_many("INSERT INTO people (id, name) VALUES ($1, $2)", [(2, "Bob"), (3, "Cyd")])
    assert await people.execute("UPDATE people SET team = $1 WHERE id > $2", "red", 1) == 2
    assert await people.execute("DELETE FROM people WHERE id = $1", 9) == 0


async def test_returning_gives_rows_back(people: Database) -> None:
    row = await people.fetch_one("INSERT INTO people (id, name) VALUES ($1, $2) RETURNING id, name", 2, "Bob")
    assert row is not None
    assert (row["id"], row["name"]) == (2, "Bob")
    assert await names(people) == ["Ada", "Bob"]


@pytest.mark.parametrize("age", [0, 1, 2**53 + 1, 2**63 - 1, None])
async def test_integers_keep_64_bits(people: Database, age: int | None) -> None:
    await people.execute("UPDATE people SET age = $1", age)
    row = await people.fetch_one("SELECT age FROM people")
    assert row is not None
    assert row["age"] == age


async def test_bytes_keep_every_byte_and_truths_are_truths(database: Database) -> None:
    await database.execute("CREATE TABLE things (body BYTEA NOT NULL, is_good BOOLEAN NOT NULL, is_odd BOOLEAN)")
    body = bytes(range(256))
    await database.execute("INSERT INTO things VALUES ($1, $2, $3)", body, True, None)
    row = await database.fetch_one("SELECT * FROM things WHERE is_good AND is_odd IS NULL")
    assert row == {"body": body, "is_good": True, "is_odd": None}


async def test_a_sum_of_integers_is_an_integer(people: Database) -> None:
    await people.execute("INSERT INTO people (id, name, age) VALUES ($1, $2, $3)", 2, "Bob", 2**53)
    row = await people.fetch_one("SELECT sum(age) AS years, count(*) AS many FROM people")
    assert row == {"years": 2**53 + 36, "many": 2}
    assert row is not None
    assert type(row["years"]) is int


async def test_text_keeps_every_character(people: Database) -> None:
    text = "žluťoučký 🐎 'quoted' \"twice\" \\ $1 ?"
    await people.execute("UPDATE people SET name = $1", text)
    assert await names(people) == [text]


async def test_a_taken_name_is_a_duplicate_that_names_its_columns(people: Database) -> None:
    with pytest.raises(Duplicate) as caught:
        await people.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 2, "Ada")
    assert caught.value.constraint == "people.name"
    await people.execute("INSERT INTO pets VALUES ($1, $2)", 1, "Rex")
    with pytest.raises(Duplicate) as caught:
        await people.execute("INSERT INTO pets VALUES ($1, $2)", 1, "Rex")
    assert caught.value.constraint == "pets.owner,name"


async def test_a_missing_referent_is_a_conflict(people: Database) -> None:
    with pytest.raises(Conflict) as caught:
        await people.execute("INSERT INTO pets VALUES ($1, $2)", 9, "Rex")
    assert not isinstance(caught.value, Duplicate)


@pytest.mark.parametrize("age", [-1, 2**63, -(2**70)])
async def test_a_value_that_no_column_takes_is_invalid(people: Database, age: int) -> None:
    with pytest.raises(Invalid):
        await people.execute("UPDATE people SET age = $1", age)


@pytest.mark.parametrize("text", ["\ud800", "a\0b"], ids=["half a surrogate pair", "NUL"])
async def test_what_is_no_text_is_invalid(people: Database, text: str) -> None:
    with pytest.raises(Invalid):
        await people.execute("UPDATE people SET name = $1", text)
    with pytest.raises(Invalid):
        await people.execute_many("INSERT INTO people (id, name) VALUES ($1, $2)", [(2, "Bob"), (3, text)])
    assert await names(people) == ["Ada"]


async def test_many_rows_are_all_or_nothing(people: Database) -> None:
    with pytest.raises(Duplicate):
        await people.execute_many("INSERT INTO people (id, name) VALUES ($1, $2)", [(2, "Bob"), (3, "Ada")])
    assert await names(people) == ["Ada"]


# ---- transactions ----------------------------------------------------------------------------------------------------


async def test_a_transaction_commits_at_its_end(people: Database) -> None:
    async with people.transaction() as tx:
        await tx.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 2, "Bob")
        assert len(await tx.fetch("SELECT id FROM people")) == 2
    assert await names(people) == ["Ada", "Bob"]


async def test_a_raising_block_changes_nothing(people: Database) -> None:
    with pytest.raises(KeyError):
        async with people.transaction() as tx:
            await tx.execute("DELETE FROM people")
            raise KeyError
    assert await names(people) == ["Ada"]


async def test_a_cancelled_block_changes_nothing(people: Database) -> None:
    with trio.CancelScope() as scope:
        async with people.transaction() as tx:
            await tx.execute("DELETE FROM people")
            scope.cancel()
    assert scope.cancelled_caught
    assert await names(people) == ["Ada"]


async def test_nobody_sees_what_is_rolled_back(people: Database) -> None:
    seen: list[list[str]] = []

    async def look() -> None:
        seen.append(await names(people))

    async with trio.open_nursery() as nursery:
        with pytest.raises(KeyError):
            async with people.transaction() as tx:
                await tx.execute("DELETE FROM people")
                nursery.start_soon(look)
                await wait_all_tasks_blocked()
                raise KeyError
    assert seen == [["Ada"]]


async def test_locked_rows_lose_no_update(people: Database) -> None:
    async def birthday() -> None:
        async with people.transaction() as tx:
            row = await tx.fetch_one("SELECT age FROM people WHERE id = $1 FOR UPDATE", 1)
            assert row is not None
            await trio.lowlevel.checkpoint()
            await tx.execute("UPDATE people SET age = $1 WHERE id = $2", row["age"] + 1, 1)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(birthday)
    row = await people.fetch_one("SELECT age FROM people WHERE id = $1", 1)
    assert row is not None
    assert row["age"] == 46


async def test_two_claims_share_no_row(people: Database) -> None:
    await people.execute_many("INSERT INTO people (id, name) VALUES ($1, $2)", [(i, str(i)) for i in range(2, 21)])
    claimed: list[int] = []

    async def claim(team: str) -> None:
        async with people.transaction() as tx:
            rows = await tx.fetch(
                "UPDATE people SET team = $1 WHERE id IN "
                "(SELECT id FROM people WHERE team IS NULL ORDER BY id LIMIT 10 FOR UPDATE SKIP LOCKED) RETURNING id",
                team,
            )
        claimed.extend(row["id"] for row in rows)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(claim, "red")
        nursery.start_soon(claim, "blue")
    assert sorted(claimed) == list(range(1, 21))


async def test_what_is_put_off_runs_before_the_next_statement_in_its_order(people: Database) -> None:
    async with people.transaction() as tx:
        tx.later("INSERT INTO people (id, name) VALUES ($1, $2)", [(2, "Bob"), (3, "Cyd")])
        tx.later("INSERT INTO pets (owner, name) VALUES ($1, $2)", [(3, "Rex")])
        tx.later("UPDATE pets SET name = $1", [])  # no rows: nothing
        rows = await tx.fetch("SELECT p.name, t.name AS pet FROM people p JOIN pets t ON t.owner = p.id")
        assert [dict(row) for row in rows] == [{"name": "Cyd", "pet": "Rex"}]
        tx.later("UPDATE pets SET name = $1", [("Max",)])
    row = await people.fetch_one("SELECT name FROM pets")
    assert row is not None
    assert row["name"] == "Max"
    assert await names(people) == ["Ada", "Bob", "Cyd"]


async def test_a_transaction_may_consist_of_what_is_put_off(people: Database) -> None:
    async with people.transaction() as tx:
        tx.later("UPDATE people SET name = $1", [("Bea",)])
    assert await names(people) == ["Bea"]


async def test_what_is_put_off_and_fails_fails_what_comes_next(people: Database) -> None:
    with pytest.raises(Duplicate):
        async with people.transaction() as tx:
            tx.later("INSERT INTO people (id, name) VALUES ($1, $2)", [(2, "Bob"), (3, "Ada")])
            await tx.fetch("SELECT 1")
    with pytest.raises(Duplicate):
        async with people.transaction() as tx:
            tx.later("INSERT INTO people (id, name) VALUES ($1, $2)", [(2, "Bob"), (3, "Ada")])
    assert await names(people) == ["Ada"]


async def test_what_is_put_off_stays_on_its_side_of_a_savepoint(people: Database) -> None:
    async with people.transaction() as tx:
        tx.later("INSERT INTO people (id, name) VALUES ($1, $2)", [(2, "Bob")])
        with pytest.raises(Duplicate):
            async with tx.savepoint():
                tx.later("INSERT INTO people (id, name) VALUES ($1, $2)", [(3, "Ada")])
        with pytest.raises(KeyError):
            async with tx.savepoint():
                await tx.execute("UPDATE people SET team = $1", "red")
                tx.later("INSERT INTO people (id, name) VALUES ($1, $2)", [(4, "Dee")])
                raise KeyError
        async with tx.savepoint():
            tx.later("INSERT INTO people (id, name) VALUES ($1, $2)", [(5, "Eve")])
    rows = await people.fetch("SELECT name, team FROM people ORDER BY id")
    assert [(row["name"], row["team"]) for row in rows] == [("Ada", None), ("Bob", None), ("Eve", None)]


async def test_what_is_put_off_is_gone_with_its_transaction(people: Database) -> None:
    with pytest.raises(KeyError):
        async with people.transaction() as tx:
            await tx.fetch("SELECT 1")
            tx.later("DELETE FROM people", [()])
            raise KeyError
    with pytest.raises(RuntimeError):
        tx.later("DELETE FROM people", [()])
    assert await names(people) == ["Ada"]


async def test_a_savepoint_is_undone_alone(people: Database) -> None:
    async with people.transaction() as tx:
        await tx.execute("UPDATE people SET team = $1", "red")
        with pytest.raises(Duplicate):
            async with tx.savepoint():
                await tx.execute("UPDATE people SET age = $1", 1)
                await tx.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 2, "Ada")
        async with tx.savepoint():
            await tx.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 3, "Cyd")
    row = await people.fetch_one("SELECT age, team FROM people WHERE id = $1", 1)
    assert row is not None
    assert (row["age"], row["team"]) == (36, "red")
    assert await names(people) == ["Ada", "Cyd"]


async def test_savepoints_nest(people: Database) -> None:
    async with people.transaction() as tx, tx.savepoint():
        with pytest.raises(KeyError):
            async with tx.savepoint():
                async with tx.savepoint():
                    await tx.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 2, "Bob")
                raise KeyError
        await tx.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 3, "Cyd")
    assert await names(people) == ["Ada", "Cyd"]


async def test_a_cancelled_savepoint_leaves_the_transaction_whole(people: Database) -> None:
    async with people.transaction() as tx:
        with trio.CancelScope() as scope:
            async with tx.savepoint():
                await tx.execute("DELETE FROM people")
                scope.cancel()
                await tx.execute("DELETE FROM pets")
        await tx.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 2, "Bob")
    assert await names(people) == ["Ada", "Bob"]


async def test_a_cancelled_statement_leaves_the_database_usable(people: Database) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await people.execute("DELETE FROM people")
    assert scope.cancelled_caught
    assert await names(people) in (["Ada"], [])  # it may have happened
    await people.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 2, "Bob")


async def test_a_cancelled_wait_for_a_turn_disturbs_nobody(people: Database) -> None:
    async with trio.open_nursery() as nursery, people.transaction() as tx:
        await tx.execute("UPDATE people SET team = $1", "red")
        nursery.start_soon(people.execute, "UPDATE people SET team = $1", "blue")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await tx.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 2, "Bob")
    await people.execute("INSERT INTO people (id, name) VALUES ($1, $2)", 3, "Cyd")
    assert (await names(people))[-1] == "Cyd"


async def test_a_failed_statement_spoils_its_transaction(database: Database) -> None:
    await database.execute("CREATE TABLE t (x INTEGER UNIQUE)")
    with pytest.raises(RuntimeError, match="savepoint"):
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(Exception, match="exists already"):
                await tx.execute("INSERT INTO t VALUES (1)")
    assert await database.fetch("SELECT x FROM t") == []


async def test_a_transaction_is_over_after_its_block(database: Database) -> None:
    async with database.transaction() as tx:
        pass
    with pytest.raises(RuntimeError, match="over"):
        await tx.fetch("SELECT 1")


async def test_a_wrong_number_of_parameters_is_refused(database: Database) -> None:
    with pytest.raises(TypeError, match="takes 1 parameters and was given 2"):
        await database.fetch("SELECT $1", 1, 2)


# ---- notifications ---------------------------------------------------------------------------------------------------


async def test_a_commit_wakes_the_listener(people: Database) -> None:
    async with people.listen("house") as wakeups:
        async with people.transaction() as tx:
            await tx.fetch("SELECT pg_notify('house', '')")
            assert await is_quiet(wakeups)
        with trio.fail_after(5):
            await wakeups.wait()
        assert await is_quiet(wakeups)


async def test_many_notifications_become_few(people: Database) -> None:
    async with people.listen("house") as wakeups:
        for _ in range(50):
            await people.fetch("SELECT pg_notify('house', '')")
        woken = 0
        while not await is_quiet(wakeups):
            woken += 1
        assert 1 <= woken <= 5  # one, unless a server's last ones are still on their way when the first is received


async def test_a_rollback_wakes_nobody(people: Database) -> None:
    async with people.listen("house") as wakeups:
        with pytest.raises(KeyError):
            async with people.transaction() as tx:
                await tx.fetch("SELECT pg_notify('house', '')")
                raise KeyError
        async with people.transaction() as tx:
            with pytest.raises(KeyError):
                async with tx.savepoint():
                    await tx.fetch("SELECT pg_notify('house', '')")
                    raise KeyError
        await people.fetch("SELECT pg_notify('elsewhere', '')")
        assert await is_quiet(wakeups)


async def test_every_listener_wakes_and_a_cancelled_wait_misses_nothing(people: Database) -> None:
    async with people.listen("house") as first, people.listen("house") as second:
        assert await is_quiet(first)  # a cancelled wait
        await people.fetch("SELECT pg_notify('house', '')")
        with trio.fail_after(5):
            await first.wait()
            await second.wait()
