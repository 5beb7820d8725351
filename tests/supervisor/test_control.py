"""The control socket: who may use it, what it answers, and what bad input does (nothing)."""

import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

# ruff: noqa: ASYNC240  a look at the file beside the socket is what these tests are about
import pytest
import trio

from supervisor import ControlError, Kind, NothingRunning, Pool, Refused, request, serve_control
from supervisor.control import LINE_LIMIT, listening
from tests.supervisor.growing import Grown, actor, growing, idle


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[Grown]:
    async def double(request: dict[str, Any]) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"twice": request["number"] * 2}

    async with growing(actor("a"), Pool("p", idle, 1, 3)) as grown, trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[Path]) -> None:
            await serve_control(grown.tree, path, verbs={"double": double}, task_status=task_status)

        await nursery.start(serve)
        yield grown
        nursery.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


async def raw(path: Path, data: bytes) -> list[dict[str, Any]]:
    async with await trio.open_unix_socket(os.fspath(path)) as stream:
        await stream.send_all(data)
        await stream.send_eof()
        received = b""
        async for chunk in stream:
            received += chunk
    return [json.loads(line) for line in received.splitlines()]


async def test_only_the_owner_may_open_it(path: Path) -> None:
    async with served(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


async def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ControlError, match=r"open to others \(0755\): chmod 700 it"), listening(tmp_path / "c.sock"):
        pass


async def test_the_umask_is_as_before(path: Path) -> None:
    before = os.umask(0o022)
    try:
        with listening(path):
            assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


async def test_a_stale_socket_is_replaced(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    async with served(path):
        assert (await request(path, "status"))["name"] == "root"


async def test_a_live_one_is_refused_and_left_alone(path: Path) -> None:
    async with served(path):
        with pytest.raises(ControlError, match="another process serves"), listening(path):
            pass
        assert (await request(path, "status"))["name"] == "root"


async def test_a_live_one_without_our_lock_is_refused_too(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(path))
        other.listen()
        with pytest.raises(ControlError, match="another process serves"), listening(path):
            pass


async def test_a_file_that_is_no_socket_is_not_removed(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("precious")
    with pytest.raises(ControlError, match="is no socket"), listening(path):
        pass
    assert path.read_text() == "precious"


async def test_a_path_that_is_too_long_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="longer than 107 bytes"), listening(tmp_path / ("x" * 120)):
        pass


async def test_the_verbs_act(path: Path) -> None:
    async with served(path) as grown:
        row = grown.tree.status().row
        await request(path, "stop", path="a")
        assert row("a").state == "running", "a row is a snapshot"
        assert grown.tree.status().row("a").state == "stopped"
        await request(path, "start", path="a")
        await request(path, "restart", path="root/a")
        assert grown.tree.status().row("a").incarnation == 3
        await request(path, "drain", path="a")
        await request(path, "scale", path="p", n=3)
        status = await request(path, "status")
        assert [row["path"] for row in status["rows"]][-3:] == ["root/p/1", "root/p/2", "root/p/3"]


async def test_an_application_has_verbs_of_its_own(path: Path) -> None:
    async with served(path):
        assert await request(path, "double", number=21) == {"twice": 42}


async def test_a_handler_that_fails_answers_and_is_told(path: Path) -> None:
    async with served(path) as grown:
        with pytest.raises(Refused, match="number"):
            await request(path, "double")
        assert [event.path for event in grown.events if event.kind is Kind.CRASHED] == ["control"]
        assert await request(path, "double", number=1) == {"twice": 2}


async def test_the_answer_no_has_a_kind_and_a_text(path: Path) -> None:
    async with served(path):
        with pytest.raises(Refused, match="there is no 'x' in root") as caught:
            await request(path, "restart", path="x")
        assert caught.value.kind == "UnknownPath"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"hello", "one line of JSON"),
        (b"", "one line of JSON"),
        (b'"status"', "a JSON object"),
        (b"\xff\xfe", "one line of JSON"),
        (b"[" * 20_000, "one line of JSON"),
        (b"{}", "there is no verb None"),
        (b'{"verb": ["status"]}', "there is no verb"),
        (b'{"verb": "destroy"}', "there are double, drain, restart, scale, start, status, stop"),
        (b'{"verb": "stop"}', 'needs a "path"'),
        (b'{"verb": "stop", "path": 7}', 'needs a "path"'),
        (b'{"verb": "scale", "path": "p"}', 'whole number "n"'),
        (b'{"verb": "scale", "path": "p", "n": true}', 'whole number "n"'),
        (b'{"verb": "scale", "path": "p", "n": -1}', "0 to 3 workers"),
        (b'{"verb": "scale", "path": "a", "n": 1}', "is no pool"),
    ],
)
async def test_bad_input_is_answered_and_the_connection_goes_on(path: Path, line: bytes, message: str) -> None:
    async with served(path):
        bad, good = await raw(path, line + b'\n{"verb": "status"}\n')
        assert bad["ok"] is False
        assert message in bad["message"]
        assert good["ok"] is True


async def test_a_huge_line_is_answered_and_the_connection_ends(path: Path) -> None:
    async with served(path):
        async with await trio.open_unix_socket(os.fspath(path)) as stream:
            await stream.send_all(b"x" * (LINE_LIMIT + 20_000))
            answer = b""
            async for chunk in stream:
                answer += chunk
        assert b"at most 65536 bytes" in answer
        assert (await request(path, "status"))["name"] == "root"


async def test_a_client_that_goes_in_the_middle_disturbs_nobody(path: Path) -> None:
    async with served(path):
        for data in (b'{"verb": "sta', b'{"verb": "status"}\n'):
            stream = await trio.open_unix_socket(os.fspath(path))
            await stream.send_all(data)
            await stream.aclose()
        assert (await request(path, "status"))["name"] == "root"


async def test_without_a_server_there_is_nothing_running(path: Path) -> None:
    with pytest.raises(NothingRunning, match="start it first"):
        await request(path, "status")
