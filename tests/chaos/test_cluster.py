"""What the processes of a cluster are given; nothing of it is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.system import Role
from chaos.cluster import Cluster
from edge.rpc.url import RpcUrl


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_judges_have_a_secret_of_their_own_and_do_not_know_the_others(cluster: Cluster) -> None:
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
        given = node.environment()
        assert not given.keys() & {"CODEWARZ_DATABASE", "CODEWARZ_SECRET", "CODEWARZ_ADMIN_PASSWORD"}
        assert not [name for name, value in given.items() if secret in value]
