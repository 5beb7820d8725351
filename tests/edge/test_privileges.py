"""Logins and their privileges on a real server: made as they should be, and no more; made again, nothing changes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import asyncpg
import pytest
import trio

from chaos.engines import Postgres
from contracts.errors import NotPermitted, Unavailable
from contracts.logins import TABLES, Access, Kind, parse
from contracts.ports import Database
from edge.aio import AsyncioLoop
from edge.migrations import MigrationError, alone, load_migrations, migrate
from edge.postgres import PostgresDatabase
from edge.postgres.privileges import enforce
from tests.conftest import SQL
from tests.edge.conftest import FixedWall
from tests.postgres import LOGINS, enforced, opened_as_each, opened_postgres

Each = dict[Kind, PostgresDatabase]
MIGRATIONS = load_migrations(SQL, "postgres")
NAMES = {login.kind: login.name for login in LOGINS}


@pytest.fixture
async def owner(postgres_engine: Postgres, wall: FixedWall) -> AsyncIterator[PostgresDatabase]:
    async with opened_postgres(postgres_engine.url) as opened:
        await migrate(opened, MIGRATIONS, wall)
        yield opened


@pytest.fixture
async def each(owner: PostgresDatabase, postgres_engine: Postgres) -> AsyncIterator[Each]:
    """The database for each login, with the grants made."""
    await enforced(owner)
    async with opened_as_each(postgres_engine.url) as opened:
        yield opened


async def one(database: Database, sql: str, *parameters: str) -> object:
    row = await database.fetch_one(sql, *parameters)
    assert row is not None
    return next(iter(row.values()))


async def is_refused(database: Database, sql: str) -> bool:
    try:
        await database.fetch(sql)
    except Unavailable as error:
        return isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError)
    return False


# ---- what is wanted --------------------------------------------------------------------------------------------------


async def test_every_table_has_a_decision_and_every_decision_a_table(owner: PostgresDatabase) -> None:
    rows = await owner.fetch(
        "SELECT relname, string_agg(attname, ' ') AS columns FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f') GROUP BY relname"
    )
    there = {row["relname"]: set(row["columns"].split()) for row in rows}
    assert there.keys() == TABLES.keys(), "say in contracts/logins.py who may touch it"
    for table, decided in TABLES.items():
        for access in decided.values():
            for columns in access.values():
                assert set(columns) <= there[table], table


# ---- made so ---------------------------------------------------------------------------------------------------------


async def test_made_twice_is_made_once(owner: PostgresDatabase, each: Each) -> None:
    before = await owner.fetch("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    assert await enforced(owner) == []
    assert await owner.fetch("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1") == before


async def test_what_it_says_has_no_password_and_neither_has_the_servers_log(
    owner: PostgresDatabase, postgres_engine: Postgres
) -> None:
    (core, *_) = logins = parse("core=logged_core:never-shown-password-1 gateway=logged_gateway:never-shown-password-2")
    async with owner.transaction() as tx:
        await tx.execute("SET LOCAL log_statement = 'all'")
        said = await enforce(tx, logins)
    assert f"made the login {core.name}" in said
    assert 'GRANT SELECT ("id", "user_id", "revoked_at_ms") ON TABLE sessions TO "logged_gateway"' in [
        line.replace('"revoked_at_ms", "user_id"', '"user_id", "revoked_at_ms"') for line in said
    ]
    log = (postgres_engine.folder / "log").read_text()
    assert "SCRAM-SHA-256$4096:" in log
    assert "never-shown" not in log + "".join(said) + repr(logins)
    await forget(owner, *logins)


async def forget(owner: PostgresDatabase, *logins: object) -> None:
    for login in logins:
        name = getattr(login, "name", login)
        await owner.execute(f"DROP OWNED BY {name}")
        await owner.execute(f"DROP ROLE {name}")


async def test_none_has_any_power(owner: PostgresDatabase, each: Each) -> None:
    for name in NAMES.values():
        row = await owner.fetch_one("SELECT * FROM pg_roles WHERE rolname = $1", name)
        assert row is not None
        assert {key for key, value in row.items() if value is True} == {"rolcanlogin"}


async def test_a_password_that_was_changed_is_set_and_the_old_one_is_refused(
    owner: PostgresDatabase, each: Each, postgres_engine: Postgres
) -> None:
    await owner.execute(f"ALTER ROLE {NAMES[Kind.GATEWAY]} PASSWORD 'another one'")
    assert await enforced(owner) == [f"set the password of {NAMES[Kind.GATEWAY]}"]
    assert await one(each[Kind.GATEWAY], "SELECT 1") == 1
    changed = parse(f"core={NAMES[Kind.CORE]}:a-password-that-is-new")
    assert "set the password of codewarz_core" in await alone(owner, lambda tx: enforce(tx, changed))
    with pytest.raises(Unavailable, match="refuses the user 'codewarz_core'"):
        await each[Kind.CORE].fetch("SELECT 1")
    await enforced(owner)
    assert await one(each[Kind.CORE], "SELECT 1") == 1


async def test_what_somebody_added_by_hand_is_taken_away_and_what_they_took_comes_back(
    owner: PostgresDatabase, each: Each
) -> None:
    core, gateway, leaderboard = NAMES.values()
    for statement in (
        f"ALTER ROLE {gateway} CREATEDB CREATEROLE REPLICATION BYPASSRLS INHERIT",
        f"GRANT pg_read_all_data, pg_execute_server_program TO {gateway}",
        f"GRANT INSERT ON users TO {gateway}",
        f"GRANT SELECT ON users TO {leaderboard}",
        f"GRANT SELECT (password_hash) ON users TO {leaderboard}",
        f"GRANT SELECT ON verdicts TO {core} WITH GRANT OPTION",
        f"GRANT CREATE ON SCHEMA public TO {leaderboard}",
        f"GRANT CREATE ON DATABASE codewarz TO {leaderboard}",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "GRANT SELECT ON users TO PUBLIC",
        f"REVOKE SELECT ON contests FROM {gateway}",
        f"REVOKE SELECT (source) ON submissions FROM {gateway}",
    ):
        await owner.execute(statement)
    said = await enforced(owner)
    assert await enforced(owner) == []
    assert f'GRANT SELECT ON TABLE contests TO "{gateway}"' in said
    assert await is_refused(each[Kind.LEADERBOARD], "SELECT password_hash FROM users")
    assert await is_refused(each[Kind.LEADERBOARD], "CREATE TABLE mine (x INTEGER)")
    assert await is_refused(each[Kind.GATEWAY], "INSERT INTO users SELECT * FROM users")
    assert await is_refused(each[Kind.GATEWAY], "COPY (SELECT 1) TO PROGRAM 'true'")
    await each[Kind.GATEWAY].fetch("SELECT source FROM submissions")
    await each[Kind.LEADERBOARD].fetch("SELECT id, username FROM users")
    await test_none_has_any_power(owner, each)


async def test_what_a_login_set_for_itself_is_reset(owner: PostgresDatabase, each: Each) -> None:
    core = each[Kind.CORE]
    await owner.execute('CREATE DATABASE "els ewhere"')
    try:
        for statement in (
            "ALTER ROLE codewarz_core SET search_path = pg_catalog",
            "ALTER ROLE codewarz_core IN DATABASE codewarz SET default_transaction_read_only = on",
            'ALTER ROLE codewarz_core IN DATABASE "els ewhere" SET work_mem = 64',
        ):
            await core.execute(statement)
        assert await enforced(owner) == [
            'ALTER ROLE "codewarz_core" RESET ALL',
            'ALTER ROLE "codewarz_core" IN DATABASE "els ewhere" RESET ALL',
            'ALTER ROLE "codewarz_core" IN DATABASE codewarz RESET ALL',
        ]
        assert await owner.fetch("SELECT * FROM pg_db_role_setting WHERE setrole = 'codewarz_core'::regrole") == []
        assert await enforced(owner) == []
    finally:
        await owner.execute('DROP DATABASE "els ewhere"')


async def test_a_login_that_could_not_connect_can(owner: PostgresDatabase, each: Each) -> None:
    await owner.execute("ALTER ROLE codewarz_core NOLOGIN CONNECTION LIMIT 0 VALID UNTIL '2001-01-01'")
    assert await enforced(owner) == [
        "ALTER ROLE \"codewarz_core\" LOGIN CONNECTION LIMIT -1 VALID UNTIL 'infinity'",
    ]
    assert await one(each[Kind.CORE], "SELECT 1") == 1
    assert await enforced(owner) == []


async def test_nobody_calls_a_function_of_the_schema_and_triggers_fire_all_the_same(
    owner: PostgresDatabase, each: Each
) -> None:
    await owner.execute("CREATE FUNCTION secret(x integer) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM users'")
    await owner.execute("CREATE PROCEDURE \"De lete\"() LANGUAGE sql AS 'DELETE FROM audit_log'")
    await owner.execute("GRANT EXECUTE ON FUNCTION secret TO codewarz_gateway")
    assert sorted(await enforced(owner)) == [
        'REVOKE EXECUTE ON ROUTINE "De lete"() FROM PUBLIC CASCADE',
        'REVOKE EXECUTE ON ROUTINE secret(integer) FROM "codewarz_gateway" CASCADE',
        "REVOKE EXECUTE ON ROUTINE secret(integer) FROM PUBLIC CASCADE",
    ]
    for kind in Kind:
        assert await is_refused(each[kind], "SELECT secret(1)")
        assert await is_refused(each[kind], 'CALL "De lete"()')
        assert await one(owner, "SELECT has_function_privilege($1, 'outbox_wakeup()', 'EXECUTE')", NAMES[kind]) is False
    async with each[Kind.CORE].listen("outbox") as wakeups:
        await each[Kind.CORE].execute(
            "INSERT INTO outbox_messages VALUES ('a', 'verdict', 0, $1, '', '', 1, 1, 0, '', NULL, NULL, NULL)", b"{}"
        )
        with trio.fail_after(5):
            await wakeups.wait()


async def test_the_functions_of_an_extension_are_for_whom_it_made_them(owner: PostgresDatabase, each: Each) -> None:
    await owner.execute("CREATE FUNCTION extra() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    await owner.execute("ALTER EXTENSION plpgsql ADD FUNCTION extra()")
    try:
        await owner.execute("GRANT EXECUTE ON FUNCTION extra TO codewarz_gateway")
        assert await enforced(owner) == ['REVOKE EXECUTE ON ROUTINE extra() FROM "codewarz_gateway" CASCADE']
        assert await one(owner, "SELECT has_function_privilege('codewarz_gateway', 'extra()', 'EXECUTE')") is True
    finally:
        await owner.execute("ALTER EXTENSION plpgsql DROP FUNCTION extra()")


@pytest.mark.parametrize(
    ("grant", "revoke", "named"),
    [
        ("USAGE ON SCHEMA annex TO", "USAGE ON SCHEMA annex FROM", "schema annex"),
        ("SELECT ON annex.papers TO", "SELECT ON annex.papers FROM", "table annex.papers"),
        ("SELECT (x) ON annex.papers TO", "SELECT (x) ON annex.papers FROM", "table annex.papers"),
        (
            "EXECUTE ON FUNCTION pg_read_file(text) TO",
            "EXECUTE ON FUNCTION pg_read_file(text) FROM",
            r"function pg_catalog.pg_read_file\(",
        ),
        ("SET ON PARAMETER log_statement TO", "SET ON PARAMETER log_statement FROM", "parameter ACL log_statement"),
    ],
)
async def test_a_grant_beyond_the_schema_is_named(
    owner: PostgresDatabase, each: Each, grant: str, revoke: str, named: str
) -> None:
    await owner.execute("CREATE SCHEMA annex")
    try:
        await owner.execute("CREATE TABLE annex.papers (x INTEGER)")
        await owner.execute(f"GRANT {grant} codewarz_gateway")
        with pytest.raises(MigrationError, match=f"the login codewarz_gateway was granted something on {named}"):
            await enforced(owner)
        await owner.execute(f"REVOKE {revoke} codewarz_gateway")
        assert await enforced(owner) == []
    finally:
        await owner.execute("DROP SCHEMA annex CASCADE")


async def test_what_it_would_be_granted_of_later_tables_is_named(owner: PostgresDatabase, each: Each) -> None:
    default = "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
    await owner.execute(f"{default} GRANT SELECT ON TABLES TO codewarz_gateway")
    with pytest.raises(MigrationError, match=r"granted something on default acl .*in schema public on tables"):
        await enforced(owner)
    await owner.execute(f"{default} REVOKE SELECT ON TABLES FROM codewarz_gateway")
    assert await enforced(owner) == []


async def test_what_others_were_granted_is_theirs(owner: PostgresDatabase, each: Each) -> None:
    await owner.execute("CREATE ROLE of_backups LOGIN")
    await owner.execute("GRANT SELECT ON users TO of_backups")
    assert await enforced(owner) == []
    assert await one(owner, "SELECT has_table_privilege('of_backups', 'users', 'SELECT')") is True
    await forget(owner, "of_backups")


async def test_a_table_of_a_later_migration_gets_what_is_decided_and_nothing_undecided(
    owner: PostgresDatabase, each: Each
) -> None:
    await owner.execute("CREATE TABLE later (id SERIAL PRIMARY KEY, x INTEGER, secret TEXT)")
    await owner.execute("ALTER TABLE users ADD COLUMN secret TEXT")
    decided: dict[str, dict[Kind, Access]] = {
        **TABLES,
        "later": {Kind.CORE: {"SELECT": (), "INSERT": ()}, Kind.GATEWAY: {"SELECT": ("id", "x")}},
    }
    assert await enforced(owner) == ['GRANT USAGE ON SEQUENCE later_id_seq TO "codewarz_core"']
    assert await is_refused(each[Kind.CORE], "SELECT x FROM later")
    assert len(await alone(owner, lambda tx: enforce(tx, LOGINS, decided))) == 2
    await each[Kind.CORE].execute("INSERT INTO later (x) VALUES (1)")
    assert await one(each[Kind.GATEWAY], "SELECT x FROM later") == 1
    assert await is_refused(each[Kind.GATEWAY], "SELECT secret FROM later")
    assert await is_refused(each[Kind.GATEWAY], "SELECT secret FROM users")


async def test_an_owner_who_is_no_superuser_will_do_when_it_may_make_roles(
    owner: PostgresDatabase, postgres_engine: Postgres, wall: FixedWall
) -> None:
    await owner.execute("CREATE ROLE modest LOGIN CREATEROLE PASSWORD 'modest'")
    await owner.execute("CREATE DATABASE modest OWNER modest")
    logins = parse(" ".join(f"{kind}=modest_{kind}:password-of-{kind}" for kind in Kind))
    url = re.sub("//[^@]*@", "//modest:modest@", postgres_engine.url_of("modest"))
    async with AsyncioLoop() as aio, PostgresDatabase(url, aio) as database:
        assert len(await migrate(database, MIGRATIONS, wall)) == len(MIGRATIONS)
        assert "made the login modest_core" in await alone(database, partial(enforce, logins=logins))
        # It may not see what passwords the server has.
        assert await alone(database, partial(enforce, logins=logins)) == [
            f"set the password of {login.name}" for login in logins
        ]
    async with AsyncioLoop() as aio:
        url = re.sub("//[^@]*@", "//modest_leaderboard:password-of-leaderboard@", url)
        async with PostgresDatabase(url, aio) as leaderboard:
            await leaderboard.fetch("SELECT id, username FROM users")
            assert await is_refused(leaderboard, "SELECT email FROM users")
            assert await is_refused(leaderboard, "CREATE TABLE mine (x INTEGER)")
    await owner.execute("DROP DATABASE modest WITH (FORCE)")
    await forget(owner, *logins, "modest")


# ---- refused ---------------------------------------------------------------------------------------------------------


async def test_nobodys_login_is_taken_over(owner: PostgresDatabase) -> None:
    await owner.execute("CREATE ROLE almighty LOGIN SUPERUSER")
    await owner.execute("CREATE ROLE landlord LOGIN")
    await owner.execute("CREATE TABLE land (x INTEGER)")
    await owner.execute("ALTER TABLE land OWNER TO landlord")
    for name, why in (("almighty", "a superuser"), ("codewarz", "a superuser"), ("landlord", "the owner of something")):
        with pytest.raises(MigrationError, match=f"{name} is .*{why}"):
            await alone(owner, lambda tx, name=name: enforce(tx, parse(f"core={name}:long-enough-password")))  # type: ignore[misc]
    with pytest.raises(MigrationError, match="there is no login nobody_made_it"):
        await alone(owner, lambda tx: enforce(tx, parse("core=nobody_made_it")))
    assert await one(owner, "SELECT rolsuper FROM pg_roles WHERE rolname = 'almighty'") is True
    await owner.execute("DROP TABLE land")
    await forget(owner, "almighty", "landlord")


async def test_who_owns_something_in_another_database_is_refused(
    owner: PostgresDatabase, postgres_engine: Postgres
) -> None:
    await owner.execute("CREATE ROLE absentee LOGIN")
    await owner.execute("CREATE DATABASE abroad")
    try:
        async with AsyncioLoop() as aio, PostgresDatabase(postgres_engine.url_of("abroad"), aio) as abroad:
            await abroad.execute("CREATE TABLE land (x INTEGER)")
            await abroad.execute("ALTER TABLE land OWNER TO absentee")
        for words in ("core=absentee", "core=absentee:long-enough-password"):
            with pytest.raises(MigrationError, match="absentee is the owner of something on this server"):
                await alone(owner, partial(enforce, logins=parse(words)))
    finally:
        await owner.execute("DROP DATABASE abroad WITH (FORCE)")
        await owner.execute("DROP ROLE absentee")


async def test_a_login_that_we_did_not_make_gets_no_password_and_is_not_changed(owner: PostgresDatabase) -> None:
    await owner.execute("CREATE ROLE of_somebody LOGIN PASSWORD 'as it was' CONNECTION LIMIT 50")
    await owner.execute("ALTER ROLE of_somebody SET work_mem = 64")
    before = await owner.fetch("SELECT * FROM pg_authid WHERE rolname = 'of_somebody'")
    with pytest.raises(MigrationError, match=r"of_somebody was made by somebody else: .* without a password"):
        await alone(owner, partial(enforce, logins=parse("core=of_somebody:long-enough-password")))
    logins = parse("core=of_somebody")
    for power, statement in (
        ("ALTER ROLE of_somebody CREATEDB", 'ALTER ROLE "of_somebody" NOCREATEDB'),
        ("ALTER ROLE of_somebody NOLOGIN", 'ALTER ROLE "of_somebody" LOGIN'),
        ("GRANT pg_monitor TO of_somebody", 'REVOKE pg_monitor FROM "of_somebody"'),
    ):
        await owner.execute(power)
        with pytest.raises(MigrationError, match=f"of_somebody was made by somebody else.* say `{statement}`"):
            await alone(owner, partial(enforce, logins=logins))
        await owner.execute(statement)
    await alone(owner, partial(enforce, logins=logins))
    assert await owner.fetch("SELECT * FROM pg_authid WHERE rolname = 'of_somebody'") == before
    await forget(owner, *logins)


async def test_an_owner_who_may_not_make_roles_sees_to_the_grants_of_those_that_others_made(
    owner: PostgresDatabase, postgres_engine: Postgres, wall: FixedWall
) -> None:
    await owner.execute("CREATE ROLE meek LOGIN PASSWORD 'meek'")
    await owner.execute("CREATE ROLE meek_core LOGIN PASSWORD 'meek_core'")
    await owner.execute("CREATE DATABASE meek OWNER meek")
    url = re.sub("//[^@]*@", "//meek:meek@", postgres_engine.url_of("meek"))
    async with AsyncioLoop() as aio, PostgresDatabase(url, aio) as database:
        await migrate(database, MIGRATIONS, wall)
        with pytest.raises(MigrationError, match=r"login meek may make no logins: .*`core=meek_core`"):
            await alone(database, partial(enforce, logins=parse("core=meek_core:long-enough-password")))
        assert await alone(database, partial(enforce, logins=parse("core=meek_core")))
        assert await alone(database, partial(enforce, logins=parse("core=meek_core"))) == []
    await owner.execute("DROP DATABASE meek WITH (FORCE)")
    await forget(owner, "meek_core", "meek")


async def test_who_owns_the_tables_and_not_the_database_is_told_what_its_owner_has_to_say(
    owner: PostgresDatabase, postgres_engine: Postgres, wall: FixedWall
) -> None:
    await owner.execute("CREATE ROLE tenant LOGIN PASSWORD 'tenant'")
    await owner.execute("CREATE ROLE tenant_gateway LOGIN")
    await owner.execute("CREATE DATABASE rented")
    rented = postgres_engine.url_of("rented")
    logins = parse("gateway=tenant_gateway")
    async with (
        AsyncioLoop() as aio,
        PostgresDatabase(rented, aio) as landlord,
        PostgresDatabase(re.sub("//[^@]*@", "//tenant:tenant@", rented), aio) as tenant,
    ):
        await landlord.execute("GRANT CREATE, USAGE ON SCHEMA public TO tenant")
        await migrate(tenant, MIGRATIONS, wall)
        with pytest.raises(MigrationError, match=r"login tenant does not own .* database") as refused:
            await alone(tenant, partial(enforce, logins=logins))
        statements = re.findall("`([^`]*)`", str(refused.value))
        assert "REVOKE TEMPORARY ON DATABASE rented FROM PUBLIC CASCADE" in statements
        for statement in statements:
            await landlord.execute(statement)
        assert await alone(tenant, partial(enforce, logins=logins))
        assert await alone(tenant, partial(enforce, logins=logins)) == []
    await owner.execute("DROP DATABASE rented WITH (FORCE)")
    await forget(owner, "tenant_gateway", "tenant")


async def test_a_login_that_somebody_else_made_keeps_its_password(owner: PostgresDatabase) -> None:
    await owner.execute("CREATE ROLE made_elsewhere LOGIN PASSWORD 'as it was'")
    kept = await one(owner, "SELECT rolpassword FROM pg_authid WHERE rolname = 'made_elsewhere'")
    logins = parse("leaderboard=made_elsewhere")
    said = await alone(owner, lambda tx: enforce(tx, logins))
    assert "GRANT" in " ".join(said)
    assert await one(owner, "SELECT rolpassword FROM pg_authid WHERE rolname = 'made_elsewhere'") == kept
    await forget(owner, *logins)


@pytest.mark.parametrize("kind", [Kind.GATEWAY, Kind.LEADERBOARD])
async def test_who_only_reads_writes_nothing(each: Each, kind: Kind) -> None:
    for table in TABLES:
        for statement in (f"INSERT INTO {table} DEFAULT VALUES", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            assert await is_refused(each[kind], statement), statement
    for statement in (
        "UPDATE users SET role = 'admin'",
        "SELECT id FROM users FOR UPDATE",
        "CREATE TEMPORARY TABLE mine (x INTEGER)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT lo_create(0)",
        "SELECT lo_creat(0)",
        "SELECT pg_logical_emit_message(false, 'x', 'y')",
        "SELECT pg_logical_emit_message(false, 'x', ''::bytea)",
        "SELECT token_hash FROM refresh_tokens",
        "SELECT package FROM problem_versions",
        "SELECT * FROM audit_log",
        "SELECT * FROM schema_migrations",
    ):
        assert await is_refused(each[kind], statement), statement


async def test_a_leaderboard_sees_no_secret_and_no_program(each: Each) -> None:
    for statement in (
        "SELECT password_hash FROM users",
        "SELECT email FROM users",
        "SELECT * FROM users",
        "SELECT token_hash FROM api_tokens",
        "SELECT source FROM submissions",
        "SELECT output FROM verdicts",
        "SELECT id FROM sessions",
        "SELECT body FROM outbox_messages",
    ):
        assert await is_refused(each[Kind.LEADERBOARD], statement), statement


@pytest.mark.parametrize("kind", Kind)
async def test_nobody_changes_the_schema_or_leaves_the_database(each: Each, kind: Kind) -> None:
    for statement in (
        "CREATE TABLE mine (x INTEGER)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE users ADD COLUMN x INTEGER",
        "DROP TABLE users",
        "CREATE INDEX mine ON users (id)",
        "CREATE TRIGGER mine AFTER INSERT ON users FOR EACH STATEMENT EXECUTE FUNCTION outbox_wakeup()",
        "ALTER TABLE outbox_messages DISABLE TRIGGER outbox_wakeup",
        "CREATE ROLE mine",
        "COMMENT ON ROLE codewarz_core IS 'mine'",
        "CREATE DATABASE mine",
        "SET ROLE codewarz",
        "ALTER SYSTEM SET fsync = off",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY users (id) FROM PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/mine'",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_ls_dir('.')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
        "INSERT INTO schema_migrations VALUES (99, 'mine', '', 0)",
        "UPDATE verdicts SET verdict = 'AC'",
        "DELETE FROM audit_log",
        "UPDATE users SET role = 'admin'",
    ):
        assert await is_refused(each[kind], statement), statement


# ---- what must go on working -----------------------------------------------------------------------------------------


async def test_core_is_woken_by_the_trigger_and_may_lock_and_keep_for_a_moment(each: Each) -> None:
    core = each[Kind.CORE]
    async with core.listen("outbox") as wakeups:
        await core.execute(
            "INSERT INTO outbox_messages VALUES ('a', 'verdict', 0, $1, '', '', 1, 1, 0, '', NULL, NULL, NULL)", b"{}"
        )
        with trio.fail_after(5):
            await wakeups.wait()
        await core.fetch("SELECT pg_notify('outbox', '')")
        with trio.fail_after(5):
            await wakeups.wait()
    async with core.transaction() as tx:
        await tx.fetch("SELECT pg_advisory_xact_lock(1, 2)")
        await tx.execute("CREATE TEMPORARY TABLE moment (x INTEGER) ON COMMIT DROP")
        await tx.execute("INSERT INTO moment VALUES (1)")


async def test_whoever_may_not_migrate_sees_that_nothing_is_missing_or_says_who_may(
    owner: PostgresDatabase, each: Each, wall: FixedWall
) -> None:
    core = each[Kind.CORE]
    assert await migrate(core, MIGRATIONS, wall) == []
    await owner.execute("DELETE FROM schema_migrations WHERE version > 3")
    with pytest.raises(MigrationError, match=r"lacks migration 4 \(outbox_turn\) and 1 more, .* login codewarz_core"):
        await migrate(core, MIGRATIONS, wall)
    await owner.execute("DROP TABLE schema_migrations")
    with pytest.raises(MigrationError, match="run `codewarz migrate` as the database's owner"):
        await migrate(core, MIGRATIONS, wall)


async def test_whoever_lacks_a_grant_is_told_once_how_to_come_by_it(
    owner: PostgresDatabase, each: Each, told: list[Any]
) -> None:
    core = each[Kind.CORE]
    await owner.execute("REVOKE SELECT ON users FROM codewarz_core")
    for name in ("hidden", "hidden as well"):
        with pytest.raises(NotPermitted, match=r"codewarz migrate as the owner \(permission denied for table users\)"):
            await core.fetch("SELECT * FROM users WHERE username = $1", name)
    with pytest.raises(NotPermitted, match=r"permission denied for table audit_log"):
        async with core.transaction() as tx:
            await tx.fetch("SELECT * FROM audit_log")
    assert [(each["event"], each["log_level"], each["user"], each["refusal"]) for each in told] == [
        ("not_permitted", "error", "codewarz_core", "permission denied for table users"),
        ("not_permitted", "error", "codewarz_core", "permission denied for table audit_log"),
    ]
    assert "codewarz migrate" in told[0]["remedy"]
    assert "hidden" not in str(told)


async def test_whoever_may_not_even_connect_is_told_as_well(
    owner: PostgresDatabase, each: Each, told: list[Any]
) -> None:
    await owner.execute("REVOKE CONNECT ON DATABASE codewarz FROM PUBLIC, codewarz_core")
    try:
        with pytest.raises(NotPermitted, match="permission denied for database"):
            await each[Kind.CORE].fetch("SELECT 1")
    finally:
        await owner.execute("GRANT CONNECT ON DATABASE codewarz TO PUBLIC")
    assert [each["event"] for each in told] == ["not_permitted"]
