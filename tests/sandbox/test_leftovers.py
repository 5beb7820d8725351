"""What a killed server left behind is ended, and nothing else; and who is killed first."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox import leftovers
from sandbox.bwrap import BwrapProvider
from sandbox.bwrap_box import BwrapBox
from sandbox.provider import BoxLimits
from tests.sandbox.conftest import boxes

GONE = "4194303.1"  # no process number is that high by default, and none began one tick after boot


@pytest.fixture
def sleepers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def sleeper(stack: ExitStack, mark: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        ["sleep", "60"],
        env={**leftovers.marked_environment(), "PATH": "/usr/bin:/bin", "CODEWARZ_BOX_OF": mark},
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    give_up_at = time.monotonic() + 10
    while mark.encode() not in Path(f"/proc/{process.pid}/environ").read_bytes():  # empty in the middle of an exec
        assert time.monotonic() < give_up_at
    return process


def test_a_bubblewrap_whose_server_is_gone_is_ended(sleepers: ExitStack) -> None:
    orphan = sleeper(sleepers, f"{leftovers.namespace()}/{GONE}")
    assert leftovers.end_orphans() >= 1
    assert orphan.wait(10) == -signal.SIGKILL


def test_one_of_a_server_in_a_container_is_left_alone(sleepers: ExitStack) -> None:
    foreign = sleeper(sleepers, f"pid:[1]/{GONE}")
    leftovers.end_orphans()
    assert foreign.pid not in {pid for pid, _ in leftovers.marked()}
    assert foreign.poll() is None


def test_one_of_a_server_that_is_there_is_left_alone(sleepers: ExitStack) -> None:
    ours = sleeper(sleepers, leftovers.marked_environment()["CODEWARZ_BOX_OF"])
    leftovers.end_orphans()
    assert ours.pid in {pid for pid, _ in leftovers.marked()}
    assert ours.poll() is None


def blame(pid: int | str) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def test_where_memory_runs_out_a_box_goes_before_its_server(box: BwrapBox) -> None:
    before = blame("self")
    assert before < 500
    assert {blame(pid) for pid in (box.agent_pid, *boxes())} == {500}
    another = await BwrapProvider().open(BoxLimits())
    await another.close()
    assert blame("self") == before
