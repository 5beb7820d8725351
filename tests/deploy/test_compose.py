"""compose.yaml keeps its promises: some can be read in it, the rest is proven by bringing it up."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from actors.system import NEEDS, Role
from contracts.logins import Kind, parse
from edge.postgres import Address
from edge.rpc.url import RpcUrl
from tests.deploy.conftest import ASKED_FOR, TOP, VARIABLE, script

ENGINES = {"postgres", "redis", "rabbitmq"}
ROLES = {str(role) for role in Role}
ONE_SHOT = "migrate"
SERVES_NOBODY = {ONE_SHOT, "toolbox"}
Services = dict[str, dict[str, Any]]


def test_the_services_are_the_engines_the_roles_and_two_helpers(services: Services) -> None:
    assert set(services) == ENGINES | ROLES | SERVES_NOBODY
    assert {name for name, each in services.items() if each.get("scale") == 2} == ROLES
    assert [name for name, each in services.items() if each.get("profiles")] == ["toolbox"]


def test_every_service_is_limited(services: Services) -> None:
    for name, each in services.items():
        assert all(each.get(limit) for limit in ("mem_limit", "cpus", "pids_limit")), name
        assert each["logging"]["options"].keys() >= {"max-size", "max-file"}, name


def test_every_service_is_confined(services: Services) -> None:
    for name, each in services.items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in each["security_opt"], name
        assert not each.keys() & {
            "privileged",
            "cap_add",
            "devices",
            "pid",
            "ipc",
            "network_mode",
            "userns_mode",
            "cgroup_parent",
        }, name
        assert not any("seccomp" in option and "unconfined" in option for option in each["security_opt"]), name
        assert name in ROLES | SERVES_NOBODY or each["user"] == name, name  # our own images name their user themselves


def test_nobody_has_the_engines_socket(text: str) -> None:
    assert "docker.sock" not in text


def test_whoever_serves_says_whether_he_can_and_is_restarted(services: Services) -> None:
    for name, each in services.items():
        assert each["restart"] == ("no" if name == ONE_SHOT else "unless-stopped"), name
        if name in SERVES_NOBODY:
            assert each["healthcheck"] == {"disable": True}, name
        else:
            assert each["healthcheck"].keys() >= {"test", "interval", "timeout", "retries", "start_period"}, name


def test_images_are_variables(services: Services) -> None:
    for name, each in services.items():
        assert VARIABLE.fullmatch(each["image"]), name


def test_roles_start_after_the_schema_and_the_engines(services: Services) -> None:
    assert services[ONE_SHOT]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ROLES | {"toolbox"}:
        after = {other: each["condition"] for other, each in services[name]["depends_on"].items()}
        assert after == {
            "migrate": "service_completed_successfully",
            "redis": "service_healthy",
            "rabbitmq": "service_healthy",
        }


def test_a_role_gets_the_neighbours_that_it_touches_and_no_other(services: Services) -> None:
    for role in Role:
        given = {n.removeprefix("CODEWARZ_").lower() for n in services[role]["environment"]} & {
            "database",
            "redis",
            "broker",
            "rpc",
        }
        assert given == NEEDS[role] - {"sandbox"}, role
        assert services[role]["command"] == ["up", "--role", role]
    assert [role for role in ROLES if "CODEWARZ_SECRET" in services[role]["environment"]] == ["gateway"]


def test_judges_have_a_secret_of_their_own_and_do_not_know_the_others(services: Services) -> None:
    rpc = {role: RpcUrl.parse(ASKED_FOR.sub(r"\1", services[role]["environment"]["CODEWARZ_RPC"])) for role in ROLES}
    assert {role: (url.secret, url.judge_secret) for role, url in rpc.items()} == {
        role: ("JUDGE_RPC_SECRET", "") if role == "judge" else ("RPC_SECRET", "JUDGE_RPC_SECRET") for role in ROLES
    }
    secrets = set(ASKED_FOR.findall(str(services["judge"]["environment"])))
    assert secrets == {"JUDGE_REDIS_PASSWORD", "JUDGE_RABBITMQ_PASSWORD", "JUDGE_RPC_SECRET"}


def test_each_role_has_a_login_of_its_own_and_only_migrate_the_owners(services: Services) -> None:
    known = {
        name: {each for each in ASKED_FOR.findall(str(service.get("environment"))) if each.startswith("POSTGRES_")}
        for name, service in services.items()
    }
    owners = {"POSTGRES_PASSWORD"}
    assert {name: secrets for name, secrets in known.items() if secrets} == {
        "postgres": owners,
        "migrate": owners | {f"POSTGRES_{kind.upper()}_PASSWORD" for kind in Kind},
        **{str(kind): {f"POSTGRES_{kind.upper()}_PASSWORD"} for kind in Kind},
        "toolbox": {"POSTGRES_CORE_PASSWORD"},
    }
    migrate = services[ONE_SHOT]["environment"]
    logins = {each.kind: each for each in parse(ASKED_FOR.sub(r"\1", migrate["CODEWARZ_DATABASE_LOGINS"]))}
    for kind in Kind:
        url = Address.parse(ASKED_FOR.sub(r"\1", services[kind]["environment"]["CODEWARZ_DATABASE"]))
        assert (url.user, url.password) == (logins[kind].name, logins[kind].password)


def test_no_secret_is_written_down(services: Services, text: str) -> None:
    for name, each in services.items():
        for setting, value in each.get("environment", {}).items():
            is_secret = any(word in setting for word in ("PASSWORD", "PASS", "SECRET", "AUTH")) or "://" in str(value)
            assert not is_secret or ASKED_FOR.search(str(value)), f"{name}: {setting}"
    assert set(ASKED_FOR.findall(text)) == set(script("secrets").WANTED)


def test_networks_lead_nowhere_else(compose: dict[str, Any], services: Services) -> None:
    networks = compose["networks"]
    on = {name: set(each["networks"]) for name, each in services.items()}
    assert {name for name, each in networks.items() if each.get("internal")} == {"inside", "data"}
    assert on["judge"] == {"inside"}
    assert on["postgres"] == {"data"}
    assert on["redis"] == {"inside"}
    assert {name for name, each in services.items() if each.get("ports")} == {"gateway", "rabbitmq"}
    for name in ("front", "console"):
        assert networks[name]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}


def test_published_ports_are_on_the_loopback_address_unless_somebody_says_otherwise(services: Services) -> None:
    assert services["rabbitmq"]["ports"][0].startswith("127.0.0.1:")
    assert services["gateway"]["ports"][0].startswith("${GATEWAY_ADDRESS:-127.0.0.1}:")


def test_compose_itself_can_read_it_and_refuses_without_secrets(tmp_path: Path) -> None:
    command = _compose()
    if command is None:
        pytest.skip("Compose is not installed")
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    read = [*command, "--env-file", str(tmp_path / "env"), "-f", str(TOP / "compose.yaml"), "config", "--quiet"]
    (tmp_path / "env").touch()
    refused = subprocess.run(read, env=environment, cwd=TOP, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode != 0
    assert "run deploy/secrets first" in refused.stderr
    subprocess.run([TOP / "deploy/secrets", tmp_path / "env"], check=True, capture_output=True)
    done = subprocess.run(read, env=environment, cwd=TOP, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def _compose() -> list[str] | None:
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    ):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@pytest.mark.skipif(
    os.environ.get("CODEWARZ_TEST_COMPOSE") != "1",
    reason="builds images and brings the whole system up, which takes minutes: CODEWARZ_TEST_COMPOSE=1 asks for it",
)
def test_the_whole_system_judges_in_containers_and_survives_the_loss_of_some() -> None:
    proof = "deploy/local-images && exec deploy/prove --local"
    done = subprocess.run(
        [TOP / "deploy/with-docker", "bash", "-c", proof],
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2400,
        check=False,
    )
    if done.returncode == 2:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout
