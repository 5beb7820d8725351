"""A core in a process of its own, for tests that kill or freeze it. It answers GetProblem with its port as digest, and the problem "slow" never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

import trio

from contracts.messages import ProblemBlob, Request
from edge.aio import AsyncioLoop
from edge.rpc.grpc import GrpcRpc
from tests.edge.grpc_parts import is_listening

START_S = 30.0


class CorePeer:
    """Use as a context manager; ``start`` again after ``kill`` is the same address."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "tests.edge.grpc_peer", str(self.port)])
        deadline = time.monotonic() + START_S
        while not is_listening(self.port):
            assert self._process.poll() is None, "the peer ended at its start"
            assert time.monotonic() < deadline, "the peer did not start in time"
            time.sleep(0.02)  # a real process; nothing else runs here yet

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, which)


async def _serve(port: int) -> None:
    async def answer(request: Request[Any], *, timeout: float) -> Any:
        if getattr(request, "problem_id", "") == "slow":
            await trio.sleep_forever()
        return ProblemBlob(problem_id="p", version=1, digest=str(port), package=b"")

    async with AsyncioLoop() as aio, GrpcRpc(f"grpc://127.0.0.1:{port}", aio) as rpc, rpc.serve("core", answer):
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_serve, int(sys.argv[1]))
