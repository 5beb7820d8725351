"""Every bound of every field of every request and reply: found by walking the types, so that a new one is held to its own without anybody thinking of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import trio
from google.protobuf.message import Message

from chaos.engines.child import free_port
from contracts.errors import EdgeLost, Invalid, Malformed, Unavailable
from contracts.messages import GetWork, Judged, PersistVerdict, Request, UpdateLeaderboard
from contracts.verdicts import TestResult, Verdict
from edge.aio import AsyncioLoop
from edge.rpc import wire
from edge.rpc.failures import error_of, trailers_of
from edge.rpc.grpc import GrpcRpc
from edge.rpc.wire import METHODS, Method
from tests.edge.grpc_parts import serving, url_of

inspect = msgspec.inspect
Spoil = Callable[[Message], None]
Holder = Callable[[Message], Any]


@dataclass(frozen=True)
class Bound:
    """One bound of one field: where it is, and how a message is made to break it."""

    pointer: str
    name: str
    spoil: Spoil
    is_enum: bool = False

    def __str__(self) -> str:
        return f"{self.pointer} {self.name}"


def example(kind: msgspec.inspect.Type) -> Any:
    """Return one value within the bounds of a type: none of it is None or empty, so that every field is there."""
    match kind:
        case inspect.IntType(ge=least):
            return max(least or 0, 1)
        case inspect.StrType(pattern=pattern):
            assert pattern is None or re.search(pattern, "x1")
            return "x1"
        case inspect.BytesType():
            return b"x"
        case inspect.BoolType():
            return True
        case inspect.EnumType(cls=cls):
            return next(iter(cls))
        case inspect.VarTupleType(item_type=item):
            return (example(item),)
        case inspect.UnionType(types=types):
            return example(next(each for each in types if not isinstance(each, inspect.NoneType)))
        case inspect.StructType(cls=cls, fields=fields):
            return cls(**{each.name: example(each.type) for each in fields})
        case _:
            raise AssertionError(f"no example of {kind}: teach this test what its bounds are")


def broken(kind: msgspec.inspect.Type) -> Iterator[tuple[str, Any]]:
    """Return for each bound of a value its name and a value beyond it. A kind of bound that is not known here fails, so none is passed over."""
    bounds = {
        name: value
        for name in ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")
        if (value := getattr(kind, name, None)) is not None
    }
    for name, value in bounds.items():
        match name:
            case "ge":
                yield name, value - 1
            case "le":
                yield name, value + 1
            case "max_length" if isinstance(kind, inspect.StrType):
                yield name, "x" * (value + 1)
            case "max_length" if isinstance(kind, inspect.VarTupleType):
                yield name, value + 1
            case "pattern":
                for each in ("", "\0", "ä", "x" * 100_000, "x\n"):
                    assert re.search(value, each) is None
                    yield f"{name} {each[:3]!r}", each
            case _:
                raise AssertionError(f"{name} of {kind}: teach this test how it is broken")


def bounds(kind: msgspec.inspect.Type, field: str, pointer: str, holder: Holder) -> Iterator[Bound]:
    """Return the bounds of one field and of all below it; ``holder`` finds the message that has the field."""
    match kind:
        case inspect.UnionType(types=types):
            for each in types:
                if not isinstance(each, inspect.NoneType):
                    yield from bounds(each, field, pointer, holder)
        case inspect.StructType(fields=fields):
            yield from inner_bounds(fields, pointer, lambda root: getattr(holder(root), field))
        case inspect.VarTupleType(item_type=item):
            for name, many in broken(kind):
                yield Bound(pointer, name, repeating(holder, field, many))
            if isinstance(item, inspect.StructType):
                yield from inner_bounds(item.fields, f"{pointer}/0", lambda root: getattr(holder(root), field)[0])
            else:
                assert not list(broken(item)), "bounds of plain values in a tuple: teach this test"
        case inspect.EnumType():
            yield Bound(pointer, "enum", setting(holder, field, 99), is_enum=True)
        case _:
            for name, value in broken(kind):
                yield Bound(pointer, name, setting(holder, field, value))


def inner_bounds(fields: Sequence[msgspec.inspect.Field], pointer: str, holder: Holder) -> Iterator[Bound]:
    for each in fields:
        yield from bounds(each.type, each.name, f"{pointer}/{each.name}", holder)


def setting(holder: Holder, field: str, value: Any) -> Spoil:
    return lambda root: setattr(holder(root), field, value)


def repeating(holder: Holder, field: str, many: int) -> Spoil:
    def spoil(root: Message) -> None:
        values = getattr(holder(root), field)
        values.extend([values[0]] * (many - len(values)))

    return spoil


def fields_of(kind: Any) -> Iterator[Bound]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    yield from inner_bounds(info.fields, "", lambda root: root)


def struct_of(method: Method) -> Any:
    """Return what a reply is, without None; None where it is no struct."""
    kind = wire._some(wire._reply_type(method.request))
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def inside(method: Method, root: Message) -> Message:
    """Return the message of the struct itself: a reply that may be None is the only field of one."""
    is_optional = struct_of(method) is not wire._reply_type(method.request)
    return getattr(root, root.DESCRIPTOR.fields[0].name) if is_optional else root


REQUESTS = [pytest.param(m, b, id=f"{m.path} {b}") for m in METHODS.values() for b in fields_of(m.request)]
REPLIES = [
    pytest.param(m, b, id=f"{m.path} {b}") for m in METHODS.values() if struct_of(m) for b in fields_of(struct_of(m))
]


def test_the_walk_finds_what_it_should() -> None:
    found = {each.id for each in (*REQUESTS, *REPLIES)}
    for expected in (
        "/codewarz.v1.Core/PersistVerdict /tests/0/cpu_ms le",
        "/codewarz.v1.Core/PersistVerdict /tests max_length",
        "/codewarz.v1.Core/PersistVerdict /change/submitted_at_ms ge",
        "/codewarz.v1.Leaderboard/UpdateLeaderboard /event/change/contest_id pattern '\\x00'",
        "/codewarz.v1.Core/CreateContest /settings/rules enum",
    ):
        assert expected in found
    assert len(found) > 100


@pytest.mark.parametrize("method", [pytest.param(each, id=each.path) for each in METHODS.values()])
def test_what_is_within_its_bounds_arrives(method: Method) -> None:
    request = example(inspect.type_info(method.request))
    assert method.decode_request(method.encode_request(request)) == request
    reply = wire._reply_type(method.request)
    if reply is not type(None):
        answer = example(inspect.type_info(reply))
        assert method.decode_reply(method.encode_reply(answer)) == answer


@pytest.mark.parametrize(("method", "bound"), REQUESTS)
def test_a_request_beyond_a_bound_is_refused_with_its_field(method: Method, bound: Bound) -> None:
    message = method._request.encode(example(inspect.type_info(method.request)))
    bound.spoil(message)
    with pytest.raises(Malformed if bound.is_enum else Invalid) as raised:
        method.decode_request(message.SerializeToString())
    trailers = dict(trailers_of(raised.value))
    assert trailers["grpc-status"] == "3"  # INVALID_ARGUMENT
    heard = error_of(trailers, "core")
    assert isinstance(heard, type(raised.value))
    if not bound.is_enum:
        assert [each.pointer for each in heard.errors] == [bound.pointer]
        assert heard.errors[0].detail.startswith("Expected ")


@pytest.mark.parametrize(("method", "bound"), REPLIES)
def test_a_reply_beyond_a_bound_is_the_neighbours_fault(method: Method, bound: Bound) -> None:
    message = method._reply.encode(example(inspect.type_info(struct_of(method))))
    bound.spoil(inside(method, message))
    with pytest.raises(EdgeLost, match="no reply"):
        method.decode_reply(message.SerializeToString())


def test_a_reply_that_is_none_of_ours_is_the_neighbours_fault() -> None:
    with pytest.raises(EdgeLost, match="no reply"):
        METHODS["core", GetWork].decode_reply(b"\xff\xff")


VERDICT = PersistVerdict(submission_id="s", attempt=1, fencing=1, verdict=Verdict.AC)
EVENT = Judged(submission_id="s", attempt=0, verdict=Verdict.AC, score=0)
BEYOND: list[tuple[str, Request[Any], str]] = [
    ("core", msgspec.structs.replace(VERDICT, tests=(TestResult(1, Verdict.AC, 2**60, 1, 1),)), "/tests/0/cpu_ms"),
    ("core", GetWork(submission_id="a\0b", attempt=1), "/submission_id"),
    ("leaderboard", UpdateLeaderboard(event=EVENT), "/event/attempt"),
]


def leaderboard_too(port: int) -> str:
    return f"grpc://?core=127.0.0.1:{port}&leaderboard=127.0.0.1:{port}"


@pytest.mark.parametrize(("service", "request_", "pointer"), BEYOND, ids=[each[2] for each in BEYOND])
async def test_no_handler_sees_a_request_beyond_its_bounds(service: str, request_: Request[Any], pointer: str) -> None:
    seen: list[object] = []

    async def handler(request: Request[Any], *, timeout: float) -> Any:
        seen.append(request)

    port = free_port()
    with trio.fail_after(30):
        async with (
            AsyncioLoop() as aio,
            GrpcRpc(f"grpc://127.0.0.1:{port}", aio) as server,
            server.serve(service, handler),
            GrpcRpc(leaderboard_too(port), aio) as client,
        ):
            with pytest.raises(Invalid) as raised:
                await client.call(service, request_, timeout=5)
    assert [each.pointer for each in raised.value.errors] == [pointer]
    assert seen == []


async def test_an_answer_beyond_its_bounds_crashes_nobody() -> None:
    answers = [EVENT, None]

    async def handler(request: Request[Any], *, timeout: float) -> Any:
        return answers.pop(0)

    port = free_port()
    with trio.fail_after(30):
        async with AsyncioLoop() as aio, serving(aio, port, handler), GrpcRpc(url_of(port), aio) as client:
            with pytest.raises(Unavailable):
                await client.call("core", VERDICT, timeout=5)
            assert await client.call("core", VERDICT, timeout=5) is None
