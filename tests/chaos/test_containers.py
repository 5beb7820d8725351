"""The engines in real containers: CODEWARZ_TEST_CONTAINERS=1 asks for it.

It takes Docker and the images of ``deploy/local-images engines``, or those that POSTGRES_IMAGE, REDIS_IMAGE and RABBITMQ_IMAGE name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.engines import Engine, Postgres, RabbitMq, Redis, Where
from chaos.engines.container import PARENT, docker, remove_orphans
from chaos.engines.redis import ADMINISTRATOR

KINDS = (Postgres, Redis, RabbitMq)
CODEWARZ = Path(sys.executable).with_name("codewarz")
CLUSTER_S = 120.0

pytestmark = pytest.mark.skipif(
    os.environ.get("CODEWARZ_TEST_CONTAINERS") != "1",
    reason="wants Docker and images of the engines (deploy/local-images engines): CODEWARZ_TEST_CONTAINERS=1 asks for it",
)


@pytest.fixture(autouse=True)
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS:
        if kind.image_setting not in os.environ:
            monkeypatch.setenv(kind.image_setting, f"codewarz-local/{kind.name}")


@pytest.fixture(params=KINDS, ids=lambda kind: str(kind.name))
def kind(request: pytest.FixtureRequest) -> type[Engine]:
    found: type[Engine] = request.param
    return found


@pytest.fixture
def engine(kind: type[Engine], engines_folder: Path) -> Iterator[Engine]:
    made = kind(Path(tempfile.mktemp(dir=engines_folder)))
    if isinstance(made, Redis):
        made.is_persistent = True
    made.settle(Where.CONTAINERS)
    with made:
        yield made
    assert not made.is_listening()
    assert left(made.port) == []


def left(port: int) -> list[str]:
    return (docker("ps", "--all", "--quiet", f"--filter=label={PARENT}", f"--filter=name=-{port}$") or "").split()


def remember(engine: Engine) -> None:
    if isinstance(engine, Postgres):
        engine.run(["psql", "--quiet", engine.url, "-c", "CREATE TABLE kept ()"])
    elif isinstance(engine, Redis):
        assert b"+OK" in engine._ask(
            f"AUTH {ADMINISTRATOR} {engine.password}\r\nSET kept 1\r\nWAITAOF 1 0 0\r\nQUIT\r\n"
        )
    elif isinstance(engine, RabbitMq):
        engine.control("add_vhost", "kept")


def remembers(engine: Engine) -> bool:
    if isinstance(engine, Postgres):
        return "kept" in engine.run(["psql", engine.url, "-c", r"\dt"])
    if isinstance(engine, Redis):
        return b"$1\r\n1" in engine._ask(f"AUTH {ADMINISTRATOR} {engine.password}\r\nGET kept\r\nQUIT\r\n")
    assert isinstance(engine, RabbitMq)
    return "kept" in engine.control("list_vhosts")


def test_it_comes_back_at_its_port_with_its_data(engine: Engine) -> None:
    remember(engine)
    engine.end()
    assert left(engine.port) == []
    engine.start()
    assert remembers(engine)
    engine.kill()
    assert not engine.is_running
    assert not engine.is_listening()
    engine.start()
    assert remembers(engine)


def test_a_frozen_one_answers_nobody_until_it_is_thawed_and_can_be_killed(engine: Engine) -> None:
    engine.freeze()
    assert engine.is_running
    assert not engine.is_ready()
    engine.thaw()
    assert engine.is_ready()
    engine.freeze()
    engine.kill()
    assert left(engine.port) == []


@pytest.mark.parametrize("then", ["start", "end"])
def test_it_is_replaced_or_removed_when_what_watches_it_is_gone(engine: Engine, then: str) -> None:
    """As on a full disk, where ``docker run`` cannot write to the log."""
    assert engine.process is not None
    engine.process.kill()
    engine.process.wait()
    outlived = left(engine.port)
    assert outlived != []
    if then == "start":
        engine.start()
        assert left(engine.port) != outlived
        assert engine.is_ready()
    else:
        engine.end()
        assert left(engine.port) == []


def test_it_is_as_confined_as_it_is_asked_to_be(engine: Engine) -> None:
    (found,) = json.loads(docker("inspect", *left(engine.port)) or "")
    ports = found["NetworkSettings"]["Ports"]
    assert [each for each in ports.values() if each] == [[{"HostIp": "127.0.0.1", "HostPort": str(engine.port)}]]
    assert engine.password not in json.dumps(found["Args"] + found["Config"]["Cmd"] + found["Config"]["Env"])
    assert found["HostConfig"]["Memory"] > 0 < found["HostConfig"]["NanoCpus"]


def test_it_encrypts(kind: type[Engine], engines_folder: Path, certificates: Path) -> None:
    engine = kind(Path(tempfile.mktemp(dir=engines_folder)), tls=certificates)
    engine.settle(Where.CONTAINERS)
    with engine:
        assert engine.is_ready()
        if isinstance(engine, Postgres):
            within = engine.url.replace(str(certificates), str(engine.folder))
            assert "TLS" in engine.run(["psql", within, "-c", r"\conninfo"])


def test_what_a_killed_process_leaves_is_removed_by_the_next(engines_folder: Path) -> None:
    folder = Path(tempfile.mktemp(dir=engines_folder))
    leaves = (
        "import os, pathlib, signal\n"
        "from chaos.engines import Redis, Where\n"
        f"redis = Redis(pathlib.Path({str(folder)!r}))\n"
        "redis.settle(Where.CONTAINERS)\n"
        "redis.start()\n"
        "print(redis.port, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", leaves], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert left(int(done.stdout)) != []
    remove_orphans()
    assert left(int(done.stdout)) == []


@pytest.mark.sandbox
def test_a_cluster_judges_on_them_and_survives_the_loss_of_one() -> None:
    words = ("chaos", "run", "kill-redis", "--engines", "containers", "-o", "json")
    done = subprocess.run([CODEWARZ, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    (outcome,) = json.loads(done.stdout)["scenarios"]
    assert outcome["violations"] == [], outcome
    assert outcome["accepted"] == outcome["judged"] > 10


@pytest.mark.sandbox
def test_a_cluster_says_which_engines_are_containers_and_leaves_none(tmp_path: Path) -> None:
    said = tmp_path / "said"
    one_of_each = [word for role in ("gateways", "cores", "leaderboards", "judges") for word in (f"--{role}", "1")]
    before = docker("ps", "--all", "--quiet", f"--filter=label={PARENT}")
    with said.open("wb") as out:
        cluster = subprocess.Popen([CODEWARZ, "cluster", *one_of_each, "--engines", "containers"], stdout=out)
    try:
        give_up_at = time.monotonic() + CLUSTER_S
        while "Ctrl-C ends it" not in said.read_text():
            assert cluster.poll() is None, said.read_text()
            assert time.monotonic() < give_up_at, said.read_text()
            time.sleep(0.2)
    finally:
        cluster.terminate()
        cluster.wait(60)
    assert said.read_text().count("(container of ") == len(KINDS)
    assert docker("ps", "--all", "--quiet", f"--filter=label={PARENT}") == before
