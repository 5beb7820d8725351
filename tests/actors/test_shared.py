"""What a process of a cluster must be told before it starts."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from actors.edges import check_shared
from actors.settings import Settings, redacted
from actors.system import EVERY_ROLE, Role
from contracts.errors import Invalid

SECRET, JUDGES = "s" * 16, "j" * 16
ASKED = "core=h:7000&leaderboard=h:7001&judge=h:7002"


def check(*roles: Role, rpc: str, secret: str = "x" * 32) -> None:
    settings = Settings(
        _env_file=None,
        secret=SecretStr(secret),
        database="postgresql://u:p@h/n",
        redis="redis://:p@h:6379/0",
        broker="amqp://u:p@h:5672/",
        rpc=rpc,
    )
    check_shared(settings, frozenset(roles))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "rpc", [f"grpc://127.0.0.1:0?{ASKED}", f"grpc://0.0.0.0:7000?{ASKED}", f"grpc://:{SECRET[1:]}@0.0.0.0:7000?{ASKED}"]
)
def test_nobody_serves_without_a_secret_worth_the_name(role: Role, rpc: str) -> None:
    for roles in ([role], EVERY_ROLE):
        with pytest.raises(Invalid, match=r"CODEWARZ_RPC: .* at least 16 characters.*grpc://:SECRET@") as caught:
            check(*roles, rpc=rpc)
        assert SECRET[1:] not in caught.value.detail
    check(role, rpc=rpc.partition("://")[0] + f"://:{SECRET}@127.0.0.1:7000?{ASKED}")


def test_nor_with_a_short_one_for_judges() -> None:
    with pytest.raises(Invalid, match="judge_secret needs at least 16 characters"):
        check(Role.CORE, rpc=f"grpc://:{SECRET}@h:1?{ASKED}&judge_secret=short")
    check(Role.CORE, rpc=f"grpc://:{SECRET}@h:1?{ASKED}&judge_secret={JUDGES}")


def test_a_judge_is_not_told_the_secret_of_the_house() -> None:
    both = f"grpc://:{SECRET}@h:1?{ASKED}&judge_secret={JUDGES}"
    with pytest.raises(Invalid, match=r"CODEWARZ_RPC: a judge .* as its password, without judge_secret") as caught:
        check(Role.JUDGE, rpc=both)
    assert JUDGES not in caught.value.detail
    check(Role.JUDGE, Role.CORE, rpc=both)  # it has the database's password as well
    check(Role.JUDGE, rpc=f"grpc://:{JUDGES}@h:1?{ASKED}")


def test_a_gateway_among_others_makes_no_secret_of_its_own() -> None:
    asking = f"grpc://:{SECRET}@?{ASKED}"
    for roles in ([Role.GATEWAY], [Role.GATEWAY, Role.CORE]):
        with pytest.raises(Invalid, match=r"CODEWARZ_SECRET: .* the same for all"):
            check(*roles, rpc=asking, secret="")
        check(*roles, rpc=asking)
    check(Role.CORE, rpc=asking, secret="")


def test_the_whole_house_by_itself_needs_neither() -> None:
    check_shared(Settings(_env_file=None), EVERY_ROLE)


def test_no_secret_is_shown() -> None:
    shown = redacted(f"grpc://:{SECRET}@h:1?core=h:1&judge_secret={JUDGES}&judge=h:2")
    assert shown == "grpc://:…@h:1?core=h:1&judge_secret=…&judge=h:2"
