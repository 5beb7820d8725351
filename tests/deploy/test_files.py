"""The files beside compose.yaml: passwords, the images' recipe, the health check, the judges' system call filter."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import trio

from actors.outbox import QUEUES
from chaos.engines import RabbitMq, Redis
from chaos.engines.users import rabbitmq_users, redis_users
from contracts.users import CODEWARZ, CONSOLE, JUDGE
from edge.aio import AsyncioLoop
from edge.rabbitmq import RabbitMqBroker
from tests.deploy.conftest import TOP, script
from tests.edge.conformance_broker import delete_queues


def make_secrets(path: Path) -> dict[str, str]:
    subprocess.run([TOP / "deploy/secrets", path], check=True, capture_output=True)
    return dict(
        line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and not line.startswith("#")
    )


def test_secrets_are_long_different_and_for_their_owner_only(tmp_path: Path) -> None:
    made = make_secrets(tmp_path / ".env")
    assert made.keys() == script("secrets").WANTED.keys()
    assert len(set(made.values())) == len(made)
    assert all(len(value) == 48 and value.isalnum() for value in made.values())
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [".env"]


def test_secrets_that_are_there_stay_and_so_does_everything_else(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# mine\nJUDGE_WORKERS=8\nREDIS_PASSWORD=kept\nRPC_SECRET=")
    (tmp_path / ".env").chmod(0o644)
    first = make_secrets(tmp_path / ".env")
    assert first["REDIS_PASSWORD"] == "kept"
    assert first["JUDGE_WORKERS"] == "8"
    assert len(first["RPC_SECRET"]) == 48
    assert (tmp_path / ".env").read_text().startswith("# mine\n")
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert make_secrets(tmp_path / ".env") == first


def written_by(service: dict[str, Any], folder: Path, program: str, **passwords: str) -> str:
    """Run the command of an engine of compose.yaml with somebody in the server's place who shows what it is given; return that."""
    shell, option, text = service["command"]
    text = text.replace("$$", "$").replace("/tmp/", f"{folder}/")
    for host, inside in (each.split(":")[:2] for each in service["volumes"] if each.startswith("./")):
        text = text.replace(inside, str(TOP / host))
    server = folder / program
    server.write_text(f"#!/bin/sh\n{SHOW[program]}")
    server.chmod(0o755)
    done = subprocess.run(
        [shell, option, text],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "MAXMEMORY": "1mb", **passwords},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


SHOW = {
    "redis-server": 'echo "$@"; cat',
    "rabbitmq-server": 'stat -c %a "${0%/*}/users.json"; env; cat "${0%/*}/users.json"',
}
STRANGE = "p #a's\\ \"w$o%s*"


def test_redis_gets_the_users_that_private_engines_have_whatever_their_passwords_are(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    shown = written_by(services["redis"], tmp_path, "redis-server", REDISCLI_AUTH=STRANGE, JUDGE_AUTH="other")
    assert shown.startswith("-\n" + redis_users({CODEWARZ: STRANGE, JUDGE: "other"}))
    assert "maxmemory 1mb\n" in shown
    assert STRANGE not in shown


def test_rabbitmq_gets_the_users_that_private_engines_have_whatever_their_passwords_are(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    passwords = {CODEWARZ: STRANGE, JUDGE: "other & more", CONSOLE: "third"}
    environment = {f"{user.upper()}_PASSWORD": password for user, password in passwords.items()}
    shown = written_by(services["rabbitmq"], tmp_path, "rabbitmq-server", **environment)
    assert shown.startswith("600\n")
    assert not [each for each in passwords.values() if each in shown], "the server knows none"
    made = json.loads(shown[shown.index("{") :])
    for user in made["users"]:
        salted = base64.b64decode(user["password_hash"])
        digest = hashlib.sha256(salted[:4] + passwords[user["name"]].encode()).digest()
        assert salted[4:] == digest, user["name"]
    private = json.loads(rabbitmq_users(passwords))
    for each in (*made["users"], *private["users"]):
        del each["password_hash"]
    assert made == private
    assert "load_definitions = /tmp/users.json" in (TOP / "deploy/rabbitmq.conf").read_text()


async def test_what_prove_tries_in_a_judges_place_is_refused_to_judges_and_not_to_others(
    redis_engine: Redis, rabbitmq_engine: RabbitMq
) -> None:
    async def tried(user: str) -> subprocess.CompletedProcess[bytes]:
        return await trio.run_process(
            [sys.executable, TOP / "deploy/refused"],
            env={"CODEWARZ_REDIS": redis_engine.url_of(user), "CODEWARZ_BROKER": rabbitmq_engine.url_of(user)},
            capture_stderr=True,
            check=False,
        )

    async with AsyncioLoop() as aio, RabbitMqBroker(rabbitmq_engine.url_of(CODEWARZ), aio) as broker:
        await broker.declare(QUEUES)
        done = await tried(JUDGE)
        assert (done.returncode, done.stderr) == (0, b"")
        done = await tried(CODEWARZ)
        assert done.returncode == 1
        for each in (b"redis: may GET board", b"rabbitmq: may declare a queue", b"rabbitmq: may purge events"):
            assert each in done.stderr
        assert b"FLUSHALL" not in done.stderr
        await aio.call(delete_queues, broker)
        channel = await aio.call(broker._link.channel)
        await aio.call(channel.queue_delete, "mine")
        await aio.call(channel.exchange_delete, "mine")


def test_nothing_goes_to_the_engine_that_an_image_is_not_made_of() -> None:
    lines = [line for line in (TOP / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert not let_in & {".env", ".git", "tests", "deploy", ".venv"}
    assert {
        "actors",
        "contracts",
        "edge",
        "sandbox",
        "supervisor",
        "chaos",
        "bench",
        "pyproject.toml",
        "constraints.txt",
    } <= let_in


def test_the_image_runs_as_nobody_special_under_an_init_and_says_how_it_is() -> None:
    lines = (TOP / "deploy/Dockerfile").read_text().splitlines()
    last = lines[max(at for at, line in enumerate(lines) if line.startswith("FROM")) :]
    assert [line for line in last if line.startswith("USER")] == ["USER 10001:10001"]
    assert 'ENTRYPOINT ["tini", "--", "codewarz"]' in last
    assert any(line.startswith("HEALTHCHECK") for line in last)
    assert "ARG BASE=debian:bookworm-slim" in lines
    assert not any("apt-get" in line or "pip" in line for line in last)


class _Health(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health/ready" else 404)
        self.end_headers()
        self.wfile.write(b'{"status": "as it is"}')

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...


@contextmanager
def answering(status: int) -> Iterator[int]:
    handler = type("Handler", (_Health,), {"status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def ask_health(port: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CODEWARZ_HTTP": f"0.0.0.0:{port}"}
    return subprocess.run(
        [TOP / "deploy/health"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_health_check_says_what_the_process_says() -> None:
    with answering(200) as port:
        assert ask_health(port).returncode == 0
    with answering(503) as port:
        unwell = ask_health(port)
        assert unwell.returncode == 1
        assert "as it is" in unwell.stderr
    gone = ask_health(port)
    assert gone.returncode == 1
    assert f"no answer on port {port}" in gone.stderr


def test_judges_may_call_what_docker_allows_and_what_a_sandbox_needs() -> None:
    added = script("seccomp/derive").ADDED
    profile = json.loads((TOP / "deploy/seccomp/judge.json").read_text())
    ours, dockers = profile["syscalls"][: len(added)], profile["syscalls"][len(added) :]
    assert {rule["names"][0]: rule["comment"] for rule in ours} == added
    assert all(rule["action"] == "SCMP_ACT_ALLOW" and len(rule["names"]) == 1 for rule in ours)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    for_everybody = {
        name for rule in dockers if not rule.keys() & {"includes", "excludes", "args"} for name in rule["names"]
    }
    assert len(for_everybody) > 300
    assert not for_everybody & {
        *added,
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "add_key",
        "ptrace",
        "userfaultfd",
        "io_uring_setup",
        "open_by_handle_at",
    }
    assert script("seccomp/derive").derive({**profile, "syscalls": dockers}) == profile
