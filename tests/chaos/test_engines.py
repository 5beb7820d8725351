"""The private engines: they start, come back after a kill, stand still when frozen, and leave nothing behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.cluster import Cluster
from chaos.engines import Engine, Missing, Postgres, RabbitMq, Redis, Where
from chaos.engines import container as containers
from chaos.engines.container import PARENT, Container, NoContainer
from chaos.engines.engine import find
from sandbox import leftovers


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


def test_a_cluster_ends_each_engine_in_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RabbitMQ has a second process, the mapper, which nothing else would end."""
    ended: list[str] = []
    for kind in (Postgres, Redis, RabbitMq):
        monkeypatch.setattr(kind, "end", lambda engine: ended.append(engine.name))
    Cluster(tmp_path).end()
    assert sorted(ended) == ["postgres", "rabbitmq", "redis"]


# ---- in containers ---------------------------------------------------------------------------------------------------

IMAGES = {
    "POSTGRES_IMAGE": "codewarz-local/postgres",
    "REDIS_IMAGE": "codewarz-local/redis",
    "RABBITMQ_IMAGE": "codewarz-local/rabbitmq",
}
KINDS = pytest.mark.parametrize("kind", [Postgres, Redis, RabbitMq], ids=lambda kind: str(kind.name))


class Docker:
    """A Docker that has or has not got an image; ``told`` is what it was asked for."""

    def __init__(self, *, has_image: bool = True, orphans: str = "") -> None:
        self.told: list[tuple[str, ...]] = []
        self._has_image = has_image
        self._orphans = orphans

    def __call__(self, *words: str, must: bool = True, timeout_s: float = 0.0) -> str | None:
        self.told.append(words)
        if words[0] == "ps":
            return self._orphans
        if words[0] == "image" and not self._has_image:
            return None
        if words[0] == "pull":
            raise NoContainer("docker pull: no such host")
        return ""


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Docker:
    made = Docker()
    monkeypatch.setattr(containers, "docker", made)
    monkeypatch.setattr(containers, "_docker", lambda: "docker")
    for name in IMAGES:
        monkeypatch.delenv(name, raising=False)
    return made


def missing(*_words: str) -> str:
    raise Missing("it is not on this machine: sudo apt-get install it")


@KINDS
def test_a_container_has_no_rights_no_port_of_the_world_and_no_files_but_the_folder(
    kind: type[Engine], docker: Docker, tmp_path: Path
) -> None:
    engine = kind(tmp_path / "engine")
    engine.settle(Where.CONTAINERS)
    assert engine.container is not None
    words = engine.container.running(engine.command(), engine.environment())
    assert words[:3] == ["docker", "run", "--rm"]
    assert {"--cap-drop=ALL", "--security-opt=no-new-privileges", "--pull=never"} <= set(words)
    assert f"--label={PARENT}={leftovers.identity(os.getpid())}" in words
    assert [each for each in words if each.startswith("--volume")] == [
        f"--volume={engine.folder}:{engine.folder}",
        "--volume=/etc/passwd:/etc/passwd:ro",
    ]
    assert not [each for each in words if each.startswith(("--publish", "--privileged"))]
    assert not [each for each in words if engine.password in each], "for everybody to see"
    assert engine.image in words
    assert engine.place == f"container of {engine.image}"


@KINDS
def test_a_container_is_what_auto_takes_where_the_programs_are_missing(
    kind: type[Engine], docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "locate", lambda _self: "/usr/bin/it")
    engine = kind(tmp_path / "engine")
    engine.settle(Where.AUTO)
    assert (engine.container, engine.place) == (None, "")
    monkeypatch.setattr(kind, "locate", missing)
    with pytest.raises(Missing, match="apt-get install it"):
        engine.settle(Where.NATIVE)
    monkeypatch.setenv(kind.image_setting, "mine:1")
    engine.settle(Where.AUTO)
    assert engine.container is not None
    assert engine.container.image == "mine:1"


def test_where_there_is_neither_both_reasons_are_told(
    docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Redis, "locate", missing)
    monkeypatch.setattr(containers, "docker", Docker(has_image=False))
    with pytest.raises(
        Missing, match=r"apt-get install it\n.*no such host\n.*REDIS_IMAGE names another image than redis:7"
    ):
        Redis(tmp_path / "redis").settle(Where.AUTO)


def test_containers_of_somebody_who_is_no_more_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = leftovers.identity(os.getpid())
    made = Docker(orphans=f"aaa {mine}\nbbb {os.getpid()}.1\nccc 999999999.5\n")
    monkeypatch.setattr(containers, "docker", made)
    containers.remove_orphans()
    assert [words[-1] for words in made.told if words[0] == "rm"] == ["bbb", "ccc"]


def test_a_machine_without_docker_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="docker is not on this machine"):
        Redis(tmp_path / "redis").settle(Where.CONTAINERS)


@pytest.mark.skipif(
    os.environ.get("CODEWARZ_TEST_CONTAINERS") != "1",
    reason="wants Docker and images of the engines (deploy/local-images): CODEWARZ_TEST_CONTAINERS=1 asks for it",
)
@KINDS
def test_an_engine_in_a_container_lives_as_any_other(
    kind: type[Engine], engines_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, image in IMAGES.items():
        monkeypatch.setenv(name, os.environ.get(name, image))
    engine = kind(Path(tempfile.mktemp(dir=engines_folder)))
    engine.settle(Where.CONTAINERS)
    container = engine.container
    assert isinstance(container, Container)
    with engine:
        assert engine.is_ready()
        engine.kill()
        assert not engine.is_listening()
        engine.start()
        engine.freeze()
        assert engine.is_running
        assert not engine.is_ready()
        engine.thaw()
        assert engine.is_ready()
        if isinstance(engine, RabbitMq):
            assert "codewarz" in engine.control("list_users")
    assert not engine.is_listening()
    assert containers.docker("inspect", container.name, must=False) is None
