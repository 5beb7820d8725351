"""The private engines: they start, come back after a kill, stand still when frozen, and leave nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chaos.cluster import Cluster
from chaos.engines import Engine, Missing, Postgres, RabbitMq, Redis, Where
from chaos.engines import container as containers
from chaos.engines.child import Child
from chaos.engines.container import PARENT, NoContainer
from chaos.engines.engine import find
from sandbox import leftovers

ROOT = Path(__file__).parents[2]


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


class Breeding(Child):
    """A server that has another child every moment, as PostgreSQL has while clients come and go."""

    name = "breeding"

    def command(self) -> Sequence[str]:
        return ["sh", "-c", "n=0; while [ $n -lt 2000 ]; do sleep 60 & n=$((n + 1)); done; wait"]

    def is_ready(self) -> bool:
        return len(self._family()) > 20


def test_a_killed_server_leaves_nobody_however_many_are_just_born(tmp_path: Path) -> None:
    server = Breeding(tmp_path / "breeding")
    for _ in range(5):
        server.start()
        server.kill()
        assert [each for each in Path("/proc").glob("[0-9]*") if is_of(each, server.folder)] == []


def is_of(process: Path, folder: Path) -> bool:
    """Whether a process runs there and has not ended."""
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False


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
MINE = f"{leftovers.namespace()}/{leftovers.identity(os.getpid())}"
KINDS = pytest.mark.parametrize("kind", [Postgres, Redis, RabbitMq], ids=lambda kind: str(kind.name))


class Docker:
    """A Docker that has or has not got an image; ``told`` is what it was asked for."""

    def __init__(self, *, has_image: bool = True, orphans: str = "", options: str = "") -> None:
        self.told: list[tuple[str, ...]] = []
        self._has_image = has_image
        self._options = options
        self._orphans = orphans

    def __call__(self, *words: str, must: bool = True, timeout_s: float = 0.0) -> str | None:
        self.told.append(words)
        if words[0] == "info":
            return self._options
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
    for name in ("DOCKER_HOST", *IMAGES):
        monkeypatch.delenv(name, raising=False)
    return made


def missing(*_words: str) -> str:
    raise Missing("it is not on this machine: sudo apt-get install it")


@KINDS
def test_a_container_has_no_rights_one_port_of_the_loopback_address_and_no_files_but_the_folder(
    kind: type[Engine], docker: Docker, tmp_path: Path
) -> None:
    engine = kind(tmp_path / "engine")
    engine.settle(Where.CONTAINERS)
    assert engine.container is not None
    words = engine.container.running(engine.command(), engine.environment())
    assert words[:3] == ["docker", "run", "--rm"]
    assert {"--cap-drop=ALL", "--security-opt=no-new-privileges", "--pull=never", "--read-only"} <= set(words)
    assert not {"--memory", "--cpus", "--pids-limit", "--ulimit"} - {each.partition("=")[0] for each in words}
    assert f"--label={PARENT}={MINE}" in words
    assert [each for each in words if each.startswith("--volume")] == [
        f"--volume={engine.folder}:{engine.folder}",
        "--volume=/etc/passwd:/etc/passwd:ro",
    ]
    assert [each for each in words if each.startswith(("--publish", "--network", "--privileged"))] == [
        f"--publish=127.0.0.1:{engine.port}:{engine.port}"
    ]
    assert not [each for each in words if engine.password in each], "for everybody to see"
    assert engine.image in words
    assert engine.place == f"container of {engine.image}"
    assert engine.bind_address == "0.0.0.0"


@KINDS
def test_a_tool_runs_beside_the_server_or_labelled_and_with_no_network_by_itself(
    kind: type[Engine], docker: Docker, tmp_path: Path
) -> None:
    engine = kind(tmp_path / "engine")
    engine.settle(Where.CONTAINERS)
    assert engine.container is not None
    assert engine.container.once(["tool"], {}, is_running=True)[:2] == ["docker", "exec"]
    alone = engine.container.once(["tool"], {}, is_running=False)
    assert {"--rm", "--network=none", f"--label={PARENT}={MINE}"} <= set(alone)
    assert not [each for each in alone if each.startswith("--publish")]


@KINDS
def test_its_image_is_that_of_compose_yaml(kind: type[Engine]) -> None:
    compose = (Path(__file__).parent.parent.parent / "compose.yaml").read_text()
    assert f"image: ${{{kind.image_setting}:-{kind.image}}}\n" in compose


@KINDS
def test_a_container_is_what_auto_takes_where_the_programs_are_missing(
    kind: type[Engine], docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "locate", lambda _self: "/usr/bin/it")
    engine = kind(tmp_path / "engine")
    engine.settle(Where.AUTO)
    assert (engine.container, engine.place, engine.bind_address) == (None, "native", "127.0.0.1")
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
    said: list[str] = []
    monkeypatch.setattr(Redis, "locate", missing)
    monkeypatch.setattr(containers, "docker", Docker(has_image=False))
    with pytest.raises(
        Missing, match=r"apt-get install it\n.*no such host\n.*REDIS_IMAGE names another image than redis:7"
    ):
        Redis(tmp_path / "redis").settle(Where.AUTO, said.append)
    assert said == ["pulling redis:7 …"], "it may take minutes"


def test_a_cluster_tells_all_that_is_missing_and_each_reason_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for kind in (Postgres, Redis, RabbitMq):
        monkeypatch.setattr(kind, "locate", missing)
    with pytest.raises(Missing) as told:
        Cluster(tmp_path).start()
    assert str(told.value).splitlines() == [
        "it is not on this machine: sudo apt-get install it",
        "no container: docker is not on this machine: sudo apt-get install docker.io",
    ]


@pytest.mark.parametrize("option", ["rootless", "userns"])
def test_a_docker_whose_users_are_not_the_machines_is_refused(
    option: str, docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "docker", Docker(options=f"[name=seccomp,profile=default name={option}]"))
    with pytest.raises(Missing, match=f"no container: .*{option}"):
        Redis(tmp_path / "redis").settle(Where.CONTAINERS)


def test_a_docker_of_another_machine_is_refused(
    docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://elsewhere")
    with pytest.raises(Missing, match="ssh://elsewhere is not this machine's"):
        Redis(tmp_path / "redis").settle(Where.CONTAINERS)


def test_a_docker_that_cannot_be_reached_says_how_it_could(
    docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*words: str, must: bool = True, timeout_s: float = 0.0) -> str | None:
        raise NoContainer(f"docker {words[0]}: permission denied")

    monkeypatch.setattr(containers, "docker", refused)
    with pytest.raises(Missing, match=r"permission denied\n  \(start it, .* group docker"):
        Redis(tmp_path / "redis").settle(Where.CONTAINERS)


def test_containers_of_somebody_who_is_no_more_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    here = leftovers.namespace()
    listed = [MINE, f"{here}/{os.getpid()}.1", f"{here}/999999999.5", "pid:[1]/999999999.5", "somebody's"]
    made = Docker(orphans="\n".join(f"{number} {parent}" for number, parent in enumerate(listed)))
    monkeypatch.setattr(containers, "docker", made)
    containers.remove_orphans()
    assert [words[-1] for words in made.told if words[0] == "rm"] == ["1", "2"], "not those that we cannot tell of"


def test_a_machine_without_docker_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="docker is not on this machine"):
        Redis(tmp_path / "redis").settle(Where.CONTAINERS)


def test_whoever_may_not_install_is_told_of_what_is_missing_and_of_nothing_else(
    tmp_path: Path, engines_folder: Path
) -> None:
    """As an ordinary user of Debian, whose PATH has no sbin."""
    anybody = tmp_path / "id"
    anybody.write_text("#!/bin/sh\necho 1000\n")
    anybody.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / "engines", "package-of-a-test"],
        env={"PATH": f"{tmp_path}:/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    told = re.fullmatch(r"not installed: (.+)   \(sudo apt-get install (.+)\)\n", done.stderr)
    assert told is not None, done.stderr
    assert told[1] == told[2]
    kinds = {"postgresql": Postgres, "redis-server": Redis, "rabbitmq-server": RabbitMq}
    missing = {package for package, kind in kinds.items() if not is_here(kind(engines_folder / package))}
    assert set(told[1].split()) == missing | {"package-of-a-test"}


def is_here(engine: Engine) -> bool:
    try:
        engine.locate()
    except Missing:
        return False
    return True
