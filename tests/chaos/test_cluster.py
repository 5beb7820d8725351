"""What the processes of a cluster on this machine are given, and who can read it."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.system import Role
from chaos.cluster import Cluster
from chaos.engines.child import Child, write_private
from contracts.logins import Kind
from contracts.users import CODEWARZ, JUDGE
from edge.postgres import Address
from edge.rpc.url import RpcUrl

TOP = Path(__file__).resolve().parent.parent.parent
SECRETS = {f"CODEWARZ_{name}" for name in ("DATABASE", "REDIS", "BROKER", "RPC", "SECRET", "ADMIN_PASSWORD")}


@pytest.mark.parametrize("role", Role)
def test_a_role_gets_the_secrets_that_compose_gives_it_and_no_other(role: Role, tmp_path: Path) -> None:
    services: dict[str, Any] = yaml.safe_load((TOP / "compose.yaml").read_text())["services"]
    cluster = Cluster(tmp_path)
    for node in cluster.of(role):
        given = node.environment()
        assert given.keys() & SECRETS == services[role]["environment"].keys() & SECRETS
        text = " ".join(given.values())
        assert cluster.postgres.password not in text  # the owner's
        if role is Role.JUDGE:
            assert cluster.admin_password not in text


def test_each_role_has_a_login_of_its_own_and_operators_have_cores(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    users = {
        name: Address.parse(node.environment()["CODEWARZ_DATABASE"]).user
        for name, node in cluster.nodes.items()
        if Role.JUDGE not in node.roles
    }
    assert users == {f"{kind}-{number}": f"codewarz_{kind}" for kind in Kind for number in (1, 2)}
    assert Address.parse(cluster.urls("operator")["DATABASE"]).user == "codewarz_core"
    passwords = {Address.parse(cluster.urls(name)["DATABASE"]).password for name in users}
    assert len(passwords) == len(Kind)
    assert cluster.postgres.password not in "\n".join(cluster.exports())


def test_judges_have_a_secret_of_their_own_and_do_not_know_the_others(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    judges = [RpcUrl.parse(each.environment()["CODEWARZ_RPC"]) for each in cluster.of(Role.JUDGE)]
    others = [
        RpcUrl.parse(node.environment()["CODEWARZ_RPC"])
        for node in cluster.nodes.values()
        if Role.JUDGE not in node.roles
    ]
    others.append(RpcUrl.parse(cluster.urls("operator")["RPC"]))
    ((secret, judge_secret),) = {(each.secret, each.judge_secret) for each in others}
    assert {(each.secret, each.judge_secret) for each in judges} == {(judge_secret, "")}
    for node in cluster.of(Role.JUDGE):
        assert secret not in " ".join(node.environment().values())


def test_judges_have_users_of_their_own_at_redis_and_rabbitmq_and_know_no_others_password(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    for node in cluster.nodes.values():
        given = node.environment()
        user = JUDGE if Role.JUDGE in node.roles else CODEWARZ
        for engine in (cluster.redis, cluster.rabbitmq):
            others = [password for name, password in engine.passwords.items() if name != user]
            assert not [each for each in others if each in " ".join(given.values())]
        assert given["CODEWARZ_REDIS"] == cluster.redis.url_of(user)
        assert Role.GATEWAY in node.roles or given["CODEWARZ_BROKER"] == cluster.rabbitmq.url_of(user)


class Sleeper(Child):
    """Writes a password and waits."""

    name = "sleeper"

    def prepare(self) -> None:
        self.write("password", "hidden")

    def command(self) -> list[str]:
        return ["sh", "-c", "cat password; exec sleep 60"]

    def is_ready(self) -> bool:
        return "hidden" in self.last_words()


def test_the_folder_its_files_and_its_log_are_the_owners_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Sleeper(tmp_path / "sleeper") as child:
            found = {path: stat.S_IMODE(path.stat().st_mode) for path in (child.folder, *child.folder.iterdir())}
    finally:
        os.umask(before)
    assert found == {
        child.folder: 0o700,
        child.folder / "password": 0o600,
        child.folder / "log": 0o600,
    }


def test_a_password_is_at_no_moment_for_others_to_read(tmp_path: Path) -> None:
    seen: set[int] = set()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            for entry in os.scandir(tmp_path):
                try:
                    seen.add(stat.S_IMODE(entry.stat().st_mode))
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = os.umask(0)
    try:
        for _ in range(300):
            assert write_private(tmp_path / "password", "hidden").read_text() == "hidden"
            (tmp_path / "password").unlink()
    finally:
        os.umask(before)
        is_over.set()
        watcher.join()
    assert seen == {0o600}


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("as it was")
    (tmp_path / "password").symlink_to(tmp_path / "elsewhere")
    write_private(tmp_path / "password", "hidden")
    assert (tmp_path / "elsewhere").read_text() == "as it was"
    assert not (tmp_path / "password").is_symlink()


def test_every_login_verifies_the_server_where_that_has_a_certificate(tmp_path: Path, certificates: Path) -> None:
    cluster = Cluster(tmp_path, tls=certificates)
    for name in ("operator", *(node.name for node in cluster.nodes.values())):
        assert Address.parse(cluster.urls(name)["DATABASE"]).tls is not None
