"""Other implementations of gRPC and ours: grpclib's own client and server, and the one that is written in C++."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
import trio
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.server import Server, Stream

from contracts.errors import CodeWarzError, EdgeLost, NotFound, Unavailable
from contracts.messages import GetProblem, GetWork, ProblemBlob, Request
from contracts.proto import core_pb2
from edge.aio import AsyncioLoop
from edge.rpc.grpc import GrpcRpc
from tests.edge.grpc_parts import ASK, ask, serving, url_of

GET_PROBLEM = "/codewarz.v1.Core/GetProblem"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


async def answer(request: Request[Any], *, timeout: float) -> Any:
    assert isinstance(request, GetProblem)
    if request.problem_id == "none":
        raise NotFound("there is no problem „none“")
    if request.problem_id == "slow":
        await trio.sleep_forever()
    return ProblemBlob(problem_id="p", version=1, digest="d", package=b"x" * 300_000)


# ---- our server ------------------------------------------------------------------------------------------------------


async def test_grpclibs_client_is_served(aio: AsyncioLoop, port: int) -> None:
    async def ask_there() -> tuple[core_pb2.ProblemBlob, GRPCError]:
        async with Channel("127.0.0.1", port) as channel:
            get = UnaryUnaryMethod(channel, GET_PROBLEM, core_pb2.GetProblemRequest, core_pb2.ProblemBlob)
            found = await get(core_pb2.GetProblemRequest(problem_id="p", version=1))
            with pytest.raises(GRPCError) as caught:
                await get(core_pb2.GetProblemRequest(problem_id="none", version=1), timeout=5)
            return found, caught.value

    async with serving(aio, port, answer):
        found, error = await aio.call(ask_there)
    assert len(found.package) == 300_000
    assert (error.status, error.message) == (Status.NOT_FOUND, "there is no problem „none“")


async def test_the_client_of_grpc_itself_is_served(aio: AsyncioLoop, port: int) -> None:
    def ask_there() -> list[Any]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            get = channel.unary_unary(
                GET_PROBLEM,
                request_serializer=core_pb2.GetProblemRequest.SerializeToString,
                response_deserializer=core_pb2.ProblemBlob.FromString,
            )
            said: list[Any] = [get(core_pb2.GetProblemRequest(problem_id="p", version=1), timeout=20).digest]
            for problem in ("none", "slow"):
                try:
                    get(core_pb2.GetProblemRequest(problem_id=problem, version=1), timeout=0.5)
                except grpc.RpcError as error:
                    said.append(error.code())
            nothing = channel.unary_unary("/codewarz.v1.Core/Nothing", lambda _: b"", lambda _: b"")
            try:
                nothing(None, timeout=5)
            except grpc.RpcError as error:
                said.append(error.code())
            return said

    async with serving(aio, port, answer):
        said = await trio.to_thread.run_sync(ask_there)
    codes = grpc.StatusCode
    assert said == ["d", codes.NOT_FOUND, codes.DEADLINE_EXCEEDED, codes.UNIMPLEMENTED]


async def test_health_is_told_to_everybody_for_each_service(aio: AsyncioLoop, port: int) -> None:
    async def check(*names: str) -> list[Any]:
        async with Channel("127.0.0.1", port) as channel:
            found: list[Any] = []
            for name in names:
                try:
                    found.append((await HealthStub(channel).Check(HealthCheckRequest(service=name))).status)
                except GRPCError as error:
                    found.append(error.status)
            return found

    names = ("", "codewarz.v1.Core", "codewarz.v1.Judge", "codewarz.v1.Nothing")
    async with GrpcRpc(f"grpc://:s3cret@127.0.0.1:{port}", aio) as rpc:
        assert await aio.call(check, *names) == [NOT_SERVING, NOT_SERVING, NOT_SERVING, Status.NOT_FOUND]
        async with rpc.serve("core", answer):
            assert await aio.call(check, *names) == [SERVING, SERVING, NOT_SERVING, Status.NOT_FOUND]
        assert await aio.call(check, *names[:2]) == [NOT_SERVING, NOT_SERVING]


# ---- our client ------------------------------------------------------------------------------------------------------


class OtherCore:
    """A core on grpclib's own server, which fails as no server of ours does."""

    async def get(self, stream: Stream[core_pb2.GetProblemRequest, core_pb2.ProblemBlob]) -> None:
        request = await stream.recv_message()
        assert request is not None
        match request.problem_id:
            case "p":
                await stream.send_message(core_pb2.ProblemBlob(problem_id="p", digest="other", package=b"x" * 300_000))
            case "crash":
                raise LookupError("in there")
            case "reset":
                await stream.cancel()
            case "unavailable":
                raise GRPCError(Status.UNAVAILABLE, "tired")

    def __mapping__(self) -> dict[str, Handler]:
        return {
            GET_PROBLEM: Handler(self.get, Cardinality.UNARY_UNARY, core_pb2.GetProblemRequest, core_pb2.ProblemBlob)
        }


async def test_grpclibs_server_is_understood(aio: AsyncioLoop, port: int) -> None:
    servers: list[Server] = []

    async def start() -> None:
        servers.append(Server([OtherCore()]))
        await servers[0].start("127.0.0.1", port)

    async def stop() -> None:
        servers[0].close()
        await servers[0].wait_closed()

    await aio.call(start)
    async with GrpcRpc(url_of(port), aio) as rpc:
        assert await ask(rpc) == "other"
        for problem, kind in (("crash", CodeWarzError), ("reset", EdgeLost), ("unavailable", EdgeLost)):
            with pytest.raises(kind):
                await rpc.call("core", GetProblem(problem_id=problem, version=1), timeout=5)
        with pytest.raises(Unavailable, match="status 12"):
            await rpc.call("core", GetWork(submission_id="s", attempt=1), timeout=5)
        assert (await rpc.call("core", ASK, timeout=5)).package == b"x" * 300_000
    await aio.call(stop)
