"""The private engines: they start, come back after a kill, stand still when frozen, and leave nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.engines import Engine, Missing, Postgres, RabbitMq, Redis
from chaos.engines.engine import find


@pytest.fixture(params=[Postgres, Redis], ids=lambda kind: str(kind.name))
def engine(request: pytest.FixtureRequest, engines_folder: Path) -> Iterator[Engine]:
    made: Engine = request.param(Path(tempfile.mktemp(dir=engines_folder)))
    try:
        made.start()
    except Missing as error:
        pytest.skip(str(error))
    yield made
    made.end()


def test_a_killed_engine_is_down_and_comes_back_at_its_port(engine: Engine) -> None:
    engine.kill()
    assert not engine.is_running
    assert not engine.is_listening()
    engine.start()
    assert engine.is_ready()


def test_a_frozen_engine_answers_nobody_until_it_is_thawed(engine: Engine) -> None:
    engine.freeze()
    assert engine.is_running
    assert not engine.is_ready()
    engine.thaw()
    assert engine.is_ready()


def test_the_end_leaves_nothing_and_a_second_end_is_nothing(engine: Engine) -> None:
    engine.end()
    engine.end()
    assert not engine.is_listening()
    engine.erase()
    assert not engine.folder.exists()


def test_an_engine_whose_port_is_taken_says_so(engine: Engine) -> None:
    other = type(engine)(engine.folder.with_name("other"), port=engine.port)
    with pytest.raises(RuntimeError, match=f"listens on port {engine.port}"):
        other.start()


def test_an_engine_that_ends_at_its_start_gives_its_last_words(engine: Engine) -> None:
    engine.end()
    for each in (engine.folder / "redis.conf", engine.folder / "data" / "postgresql.conf"):
        if each.exists():
            each.write_text("nonsense 1 2 3\n")
    with pytest.raises(RuntimeError, match=r"ended at its start:\n(?s:.*)(nonsense|syntax error)"):
        engine.start()


def test_rabbitmq_speaks_amqp_and_obeys_its_control(rabbitmq_engine: RabbitMq) -> None:
    assert rabbitmq_engine.is_ready()
    assert "codewarz" in rabbitmq_engine.control("list_users")


def test_a_program_that_is_nowhere_is_missing_with_the_command_that_mends_it() -> None:
    with pytest.raises(Missing, match="sudo apt-get install something"):
        find("no-such-program", "something")
