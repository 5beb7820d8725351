"""Structs on the wire: nothing is lost, nothing is added, and both descriptions are the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import messages
from contracts.errors import Invalid, Malformed
from contracts.messages import (
    AttachProblem,
    CreateContest,
    CreateUser,
    GetWork,
    PersistVerdict,
    Request,
    Submit,
    VerifyProblem,
)
from contracts.proto import common_pb2, core_pb2, failure_pb2, judge_pb2, leaderboard_pb2
from edge.rpc import wire
from edge.rpc.wire import METHODS, PATHS, SERVICES, Method

ROOT = Path(__file__).parent.parent.parent
METHOD_CASES = [pytest.param(each, id=each.path) for each in METHODS.values()]


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type, by msgspec's own account of it."""
    return _values(msgspec.inspect.type_info(kind))


def _values(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case msgspec.inspect.IntType(ge=least, le=most):
            return st.integers(-(2**63) if least is None else least, 2**63 - 1 if most is None else most)
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern)
        case msgspec.inspect.StrType():
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
        case msgspec.inspect.BytesType():
            return st.binary(max_size=20)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case msgspec.inspect.VarTupleType(item_type=item):
            return st.lists(_values(item), max_size=3).map(tuple)
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([_values(each) for each in types])
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{each.name: _values(each.type) for each in fields})
        case _:
            raise AssertionError(f"no values of {kind}")


def requests() -> list[type[Request[Any]]]:
    return [each for each in vars(messages).values() if isinstance(each, type) and Request in each.__bases__]


# ---- the round trip --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHOD_CASES)
@settings(max_examples=20)
@given(data=st.data())
def test_what_was_sent_is_what_arrives(method: Method, data: st.DataObject) -> None:
    request = data.draw(values_of(method.request))
    assert method.decode_request(method.encode_request(request)) == request
    reply = data.draw(values_of(wire._reply_type(method.request)))
    arrived = method.decode_reply(method.encode_reply(reply))
    assert arrived == reply
    assert type(arrived) is type(reply)


def test_none_is_not_empty_and_absent_is_not_zero() -> None:
    submit = METHODS["core", Submit]
    common = {"submission_id": "", "user_id": "", "problem_id": "", "language": "", "source": "", "correlation_id": ""}
    for stdin in (None, ""):
        sent = Submit(stdin=stdin, **common)  # type: ignore[arg-type]
        assert submit.decode_request(submit.encode_request(sent)).stdin == stdin  # type: ignore[attr-defined]
    attach = METHODS["core", AttachProblem]
    free = AttachProblem(contest_id="c", problem_id="p", label="A", points=0)
    assert attach.decode_request(attach.encode_request(free)) == free


def test_a_field_that_the_sender_does_not_know_has_its_default() -> None:
    create = METHODS["core", CreateUser]
    older = core_pb2.CreateUserRequest(user_id="u", username="ada", email="e", password_hash="h").SerializeToString()
    assert create.decode_request(older) == CreateUser(user_id="u", username="ada", email="e", password_hash="h")
    attach = core_pb2.AttachProblemRequest(contest_id="c", problem_id="p", label="A").SerializeToString()
    assert METHODS["core", AttachProblem].decode_request(attach).points == 100_00  # type: ignore[attr-defined]


def test_bytes_that_are_no_message_are_malformed() -> None:
    create = METHODS["core", CreateUser]
    for broken in (
        b"\xff\xff",
        core_pb2.CreateUserRequest(role=99).SerializeToString(),  # type: ignore[arg-type]
    ):
        with pytest.raises(Malformed):
            create.decode_request(broken)
    with pytest.raises(Malformed, match="settings is missing"):
        METHODS["core", CreateContest].decode_request(core_pb2.CreateContestRequest(contest_id="c").SerializeToString())
    unspecified = core_pb2.PersistVerdictRequest(submission_id="s").SerializeToString()
    with pytest.raises(Malformed, match="0 is no Verdict"):
        METHODS["core", PersistVerdict].decode_request(unspecified)


@pytest.mark.parametrize(
    "request_", [GetWork(submission_id="s", attempt=2**63), GetWork(submission_id="\ud800", attempt=1)]
)
def test_values_that_have_no_form_on_the_wire_are_invalid(request_: GetWork) -> None:
    with pytest.raises(Invalid, match="cannot be sent"):
        METHODS["core", GetWork].encode_request(request_)


# ---- one description ------------------------------------------------------------------------------------------------


def test_every_request_has_one_method_and_every_method_its_request() -> None:
    served = [request for _, request in METHODS]
    assert sorted(each.__name__ for each in served) == sorted(each.__name__ for each in requests())
    assert len(set(served)) == len(served) == len(PATHS)


def test_the_services_are_those_of_the_port() -> None:
    assert set(SERVICES) == {"core", "leaderboard", "judge"}
    assert PATHS["/codewarz.v1.Judge/VerifyProblem"][1].request is VerifyProblem


@pytest.mark.parametrize("method", METHOD_CASES)
def test_messages_have_the_fields_of_their_structs(method: Method) -> None:
    service, name = method.path.strip("/").split("/")
    described = SERVICES[service.rpartition(".")[2].lower()].methods_by_name[name]
    assert {each.name for each in msgspec.structs.fields(method.request)} == set(described.input_type.fields_by_name)
    reply = wire._reply_type(method.request)
    if isinstance(reply, type) and issubclass(reply, msgspec.Struct):
        assert {each.name for each in msgspec.structs.fields(reply)} == set(described.output_type.fields_by_name)
        assert described.output_type.name == reply.__name__
    else:
        assert described.output_type.name == f"{name}Reply"


def test_no_message_is_left_over() -> None:
    seen: set[str] = set()

    def visit(descriptor: Any) -> None:
        if descriptor.name not in seen:
            seen.add(descriptor.name)
            for field in descriptor.fields:
                if field.type == FieldDescriptor.TYPE_MESSAGE:
                    visit(field.message_type)

    for service in SERVICES.values():
        for method in service.methods:
            visit(method.input_type)
            visit(method.output_type)
    modules = (common_pb2, core_pb2, leaderboard_pb2, judge_pb2)
    assert seen == {name for module in modules for name in module.DESCRIPTOR.message_types_by_name}


class Extra(msgspec.Struct, frozen=True):
    submission_id: str
    attempt: int
    more: int


class Other(msgspec.Struct, frozen=True):
    submission_id: str
    attempt: str


class Loose(msgspec.Struct, frozen=True):
    submission_id: str
    attempt: int | None


class Either(msgspec.Struct, frozen=True):
    submission_id: str
    attempt: int | str


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Extra, r"differ in \['more'\]"),
        (Other, "is not of the type"),
        (Loose, "one of them is optional"),
        (Either, "of unions"),
    ],
)
def test_a_difference_is_found_at_import(kind: type[msgspec.Struct], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        wire._struct_plan(kind, SERVICES["core"].methods_by_name["GetWork"].input_type)


def test_the_generated_code_is_that_of_the_proto_files(tmp_path: Path) -> None:
    sources = sorted(each.relative_to(ROOT) for each in (ROOT / "contracts" / "proto").glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*command, *map(str, sources)], cwd=ROOT, check=True)
    made = {each.name: each.read_text() for each in (tmp_path / "contracts" / "proto").iterdir()}
    kept = {each.name: each.read_text() for each in (ROOT / "contracts" / "proto").glob("*_pb2.py*")}
    assert made == kept, "run `make proto`"
    assert failure_pb2.Failure.DESCRIPTOR.full_name == "codewarz.v1.Failure"
