"""Errors on their way to the caller: the same class, the same words, bounded; and nothing of what nobody meant to say."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from contracts import errors
from contracts.errors import CodeWarzError, DeadlineExceeded, Duplicate, EdgeLost, FieldError, NotFound
from contracts.messages import ProblemBlob, Request
from contracts.ports import Handler
from edge.aio import AsyncioLoop
from edge.rpc import failures, http2
from edge.rpc.failures import FAILURE_HEADER, FAILURE_MAX, NotBegun, error_of, trailers_of
from edge.rpc.grpc import GrpcRpc
from tests.edge.grpc_parts import ASK, ask, serving, url_of


def raising(error: Exception) -> Handler:
    async def answer(request: Request[Any], *, timeout: float) -> Any:
        raise error

    return answer


# ---- as trailers -----------------------------------------------------------------------------------------------------

# Busy is Unavailable in words for people, who are at no end of a connection between processes, and NotPermitted concerns the user of the process that met it:
# both arrive as Unavailable.
HERE_ONLY = (errors.Busy, errors.NotPermitted)
EVERY_ERROR = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, CodeWarzError) and each not in HERE_ONLY
]


def full(kind: type[CodeWarzError]) -> CodeWarzError:
    if issubclass(kind, Duplicate):
        return kind("Ein Name wie „ada“ ist vergeben.", "users.username_key")
    found = (FieldError("/source", "is too long"), FieldError("", "всё"))
    return kind("What went wrong: 100 % of it, „in words“.\nAnd more.", errors=found, retry_after_s=0.5)


def rebuilt(error: CodeWarzError) -> CodeWarzError | NotBegun | None:
    return error_of(dict(trailers_of(error)), "core")


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_each_error_arrives_as_the_same_class_with_the_same_words(kind: type[CodeWarzError]) -> None:
    for error in (full(kind), *([] if issubclass(kind, Duplicate) else [kind("")])):
        arrived = rebuilt(error)
        assert type(arrived) is kind
        assert vars(arrived) == vars(error)
        assert str(arrived) == str(error)


@pytest.mark.parametrize("kind", HERE_ONLY)
def test_what_concerns_one_process_arrives_as_what_it_is_for_others(kind: type[CodeWarzError]) -> None:
    arrived = rebuilt(kind("The server is about to restart.", retry_after_s=2))
    assert type(arrived) is errors.Unavailable
    assert vars(arrived) == vars(kind("The server is about to restart.", retry_after_s=2))


def test_each_class_has_a_code_and_a_status_of_its_own() -> None:
    assert set(failures.STATUSES) == set(EVERY_ERROR)
    assert len({each.code for each in EVERY_ERROR}) == len(EVERY_ERROR)


def test_a_failure_is_bounded_and_says_what_fits() -> None:
    many = tuple(FieldError(f"/{number}" + "p" * 500, "ж" * 5000) for number in range(1000))
    trailers = dict(trailers_of(errors.Invalid("ж" * 100_000, errors=many)))
    assert sum(len(key) + len(value) + 32 for key, value in trailers.items()) < http2.HEADERS_MAX
    assert len(trailers[FAILURE_HEADER]) <= FAILURE_MAX * 4 / 3 + 4
    arrived = error_of(trailers, "core")
    assert isinstance(arrived, errors.Invalid)
    assert arrived.errors
    assert arrived.detail.endswith("…")


def test_a_class_of_an_edge_travels_as_the_nearest_that_everybody_knows() -> None:
    class Sideways(NotFound):
        code = "sideways"

    assert type(rebuilt(Sideways("gone"))) is NotFound
    assert type(rebuilt(errors.Invalid("half a \ud800 character"))) is errors.Invalid


@pytest.mark.parametrize(
    ("trailers", "kind"),
    [
        ({}, CodeWarzError),
        ({"grpc-status": "13", "grpc-message": "oh%20no"}, CodeWarzError),
        ({"grpc-status": "14", FAILURE_HEADER: "!!"}, EdgeLost),
        ({"grpc-status": "4"}, DeadlineExceeded),
        ({"grpc-status": "12"}, NotBegun),
        ({"grpc-status": "16"}, NotBegun),
    ],
)
def test_a_status_of_somebody_else_is_taken_for_what_it_rules_out(trailers: dict[str, str], kind: type) -> None:
    assert type(error_of(trailers, "core")) is kind


# ---- over the wire ---------------------------------------------------------------------------------------------------


async def test_a_duplicate_crosses_with_its_constraint(aio: AsyncioLoop, port: int) -> None:
    async with serving(aio, port, raising(Duplicate("taken", "users.email"))), GrpcRpc(url_of(port), aio) as rpc:
        with pytest.raises(Duplicate) as caught:
            await ask(rpc)
    assert caught.value.constraint == "users.email"


async def test_an_unexpected_error_is_logged_there_and_tells_the_caller_nothing(aio: AsyncioLoop, port: int) -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving(aio, port, raising(LookupError("secrets"))), GrpcRpc(url_of(port), aio) as rpc:
            with pytest.raises(CodeWarzError) as caught:
                await ask(rpc)
    assert type(caught.value) is CodeWarzError
    assert "secrets" not in caught.value.detail
    (line,) = (each for each in logs if each["event"] == "rpc_handler_failed")
    assert line["exc_info"]
    assert line["method"] == "/codewarz.v1.Core/GetProblem"


async def test_a_reply_of_the_wrong_kind_is_the_servers_fault(aio: AsyncioLoop, port: int) -> None:
    async def answer(request: Request[Any], *, timeout: float) -> Any:
        return ProblemBlob(problem_id="p", version=2**70, digest="", package=b"")

    async with serving(aio, port, answer), GrpcRpc(url_of(port), aio) as rpc:
        with pytest.raises(CodeWarzError) as caught:
            await ask(rpc)
        assert type(caught.value) is CodeWarzError
        with pytest.raises(NotFound, match="no answer to a GetProblem"):
            await rpc.call("leaderboard", ASK, timeout=1)
