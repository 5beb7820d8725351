"""``codewarz migrate`` and what cores do at their start, on a real PostgreSQL: the owner changes the schema and the logins, others wait for that."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from pydantic import SecretStr
from structlog.testing import capture_logs

from actors.edges import Edges, open_edges
from actors.remote import migrate_database
from actors.settings import Settings
from chaos.engines import Postgres
from contracts.errors import Invalid
from contracts.logins import Kind
from edge.clock import SystemClock
from edge.migrations import MigrationError
from edge.postgres import PostgresDatabase
from supervisor import Actor, Supervisor, Tree
from tests.conftest import NoMeter
from tests.postgres import LOGINS, enforced, opened_postgres, url_of

WORDS = " ".join(f"{login.kind}={login.name}:{login.password}" for login in LOGINS)
CODEWARZ = Path(sys.executable).with_name("codewarz")


@pytest.fixture
async def owner(postgres_engine: Postgres) -> AsyncIterator[PostgresDatabase]:
    async with opened_postgres(postgres_engine.url) as opened:
        yield opened


def settings_of(url: str, data: Path, logins: str = "") -> Settings:
    return Settings(_env_file=None, database=url, data=data, database_logins=SecretStr(logins))


def tree_of(edges: Edges) -> Tree:
    """Return a process that has nothing but its database."""
    actor = Actor("database", edges.actors[0].run)
    return Tree(Supervisor("house", (actor,)), rng=random.Random(1), wall_clock=time.time)


async def test_the_owner_makes_schema_and_logins_and_the_second_time_nothing(
    owner: PostgresDatabase, postgres_engine: Postgres, tmp_path: Path
) -> None:
    settings = settings_of(postgres_engine.url, tmp_path, WORDS)
    first = await migrate_database(settings)
    assert first.applied[0] == "0001_house"
    assert 'GRANT SELECT ON TABLE contests TO "codewarz_gateway"' in first.privileges
    assert await migrate_database(settings) == ([], [])
    for kind in Kind:
        rows = await owner.fetch("SELECT has_any_column_privilege($1, 'users', 'SELECT') AS may", f"codewarz_{kind}")
        assert rows == [{"may": True}]


async def test_a_database_that_was_made_before_there_were_logins_gets_them_and_keeps_what_it_has(
    owner: PostgresDatabase, postgres_engine: Postgres, tmp_path: Path
) -> None:
    assert (await migrate_database(settings_of(postgres_engine.url, tmp_path))).privileges == []
    await owner.execute("INSERT INTO audit_log VALUES ('a', 1, 'root', 'x', 'y', '')")
    upgraded = await migrate_database(settings_of(postgres_engine.url, tmp_path, WORDS))
    assert upgraded.applied == []
    assert 'GRANT INSERT ON TABLE audit_log TO "codewarz_core"' in upgraded.privileges
    assert len(await owner.fetch("SELECT id FROM audit_log")) == 1


async def test_whoever_may_not_is_told_at_once(
    owner: PostgresDatabase, postgres_engine: Postgres, tmp_path: Path
) -> None:
    await enforced(owner)
    with trio.fail_after(10), pytest.raises(MigrationError, match="login codewarz_core may not change it"):
        await migrate_database(settings_of(url_of(postgres_engine.url, Kind.CORE), tmp_path))


async def test_an_owner_who_may_make_no_logins_is_told_at_once(
    owner: PostgresDatabase, postgres_engine: Postgres, tmp_path: Path
) -> None:
    await owner.execute("CREATE ROLE humble LOGIN PASSWORD 'humble'")
    await owner.execute("GRANT ALL ON SCHEMA public TO humble")
    try:
        url = re.sub("//[^@]*@", "//humble:humble@", postgres_engine.url)
        with trio.fail_after(10), pytest.raises(MigrationError, match="login humble may make no logins"):
            await migrate_database(settings_of(url, tmp_path, "core=made_by_humble:long-enough-password"))
    finally:
        await owner.execute("DROP OWNED BY humble CASCADE")
        await owner.execute("DROP ROLE humble")


async def test_an_embedded_database_has_no_logins(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="CODEWARZ_DATABASE_LOGINS"):
        await migrate_database(settings_of("", tmp_path, WORDS))


async def test_the_verb_says_what_it_did_and_no_password(
    owner: PostgresDatabase, postgres_engine: Postgres, tmp_path: Path
) -> None:
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "CODEWARZ_DATABASE": postgres_engine.url,
        "CODEWARZ_DATABASE_LOGINS": WORDS,
        "CODEWARZ_DATA": str(tmp_path),
    }

    async def migrate(*words: str) -> str:
        command = [str(CODEWARZ), "migrate", *words]
        done = await trio.run_process(command, env=environment, cwd=tmp_path, capture_stdout=True, capture_stderr=True)
        assert not any(login.password in f"{done.stdout!r}{done.stderr!r}" for login in LOGINS)
        return done.stdout.decode()

    said = await migrate()
    assert said.startswith("applied: 0001_house")
    assert 'GRANT SELECT ("id", "username") ON TABLE users TO "codewarz_leaderboard"' in said
    assert json.loads(await migrate("-o", "json")) == {"applied": [], "privileges": []}
    environment["CODEWARZ_DATABASE"] = url_of(postgres_engine.url, Kind.CORE)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        await migrate()  # with logins to make, and no right to
    assert refused.value.returncode == 1
    assert b"Traceback" not in refused.value.stderr


async def test_a_core_that_may_not_migrate_waits_in_place_until_the_owner_has(
    owner: PostgresDatabase, postgres_engine: Postgres, tmp_path: Path, nursery: trio.Nursery
) -> None:
    await enforced(owner)
    settings = settings_of(url_of(postgres_engine.url, Kind.CORE), tmp_path)
    with capture_logs() as logs:
        edges = await open_edges(settings, frozenset({"database"}), NoMeter(), SystemClock(), random.Random(1))
        assert edges.aio is not None
        async with edges.aio:
            tree = tree_of(edges)
            await nursery.start(tree.run)
            with trio.fail_after(10):
                while not logs:
                    await trio.sleep(0.02)
            assert "run `codewarz migrate` as the database's owner" in logs[0]["error"]
            await migrate_database(settings_of(postgres_engine.url, tmp_path, WORDS))
            said = len(logs)
            await trio.sleep(2.5)  # longer than the longest pause between two looks
            assert len(logs) <= said + 1
            assert {row.restarts for row in tree.status().rows} == {0}
            await tree.shutdown()


async def test_a_core_that_is_the_owner_migrates_at_its_start(
    owner: PostgresDatabase, postgres_engine: Postgres, tmp_path: Path, nursery: trio.Nursery
) -> None:
    settings = settings_of(postgres_engine.url, tmp_path)
    edges = await open_edges(settings, frozenset({"database"}), NoMeter(), SystemClock(), random.Random(1))
    assert edges.aio is not None
    async with edges.aio:
        tree = tree_of(edges)
        await nursery.start(tree.run)
        assert len(await owner.fetch("SELECT version FROM schema_migrations")) >= 5
        await tree.shutdown()
