"""Errors on the wire: a ``CodeWarzError`` as a gRPC status with a ``Failure`` in the trailing metadata, and back to the same class with the same words.

Rule 1: a class that ``contracts.errors`` does not know travels as the nearest one that it does.
Rule 2: a failure is bounded: long texts are cut, and errors beyond what fits are left out. The trailers stay below what peers take as headers.
Rule 3: "not begun" is said only where no handler saw the request. It is the one answer after which the edge asks another server.
Rule 4: a status without a ``Failure`` is somebody else's (a proxy, another implementation): what may have happened stays open unless the status rules it out.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping

from google.protobuf.message import DecodeError
from grpclib.const import Status
from grpclib.metadata import decode_grpc_message, encode_grpc_message

from contracts import errors
from contracts.errors import CodeWarzError, DeadlineExceeded, Duplicate, EdgeLost, FieldError, Unavailable
from contracts.proto import failure_pb2

FAILURE_HEADER = "codewarz-failure-bin"
FAILURE_MAX = 6 * 1024  # bytes before base64; with it 8 KiB, which is what grpc implementations take by default
DETAIL_MAX = 1000  # characters
POINTER_MAX = 200
MESSAGE_MAX = 200  # characters of grpc-message, which is for people who look at the wire

STATUSES: Mapping[type[CodeWarzError], Status] = {
    CodeWarzError: Status.INTERNAL,
    errors.Malformed: Status.INVALID_ARGUMENT,
    errors.Unauthenticated: Status.UNAUTHENTICATED,
    errors.Forbidden: Status.PERMISSION_DENIED,
    errors.NotFound: Status.NOT_FOUND,
    errors.Conflict: Status.FAILED_PRECONDITION,
    errors.PreconditionFailed: Status.ABORTED,
    errors.TooLarge: Status.OUT_OF_RANGE,
    errors.UnsupportedMedia: Status.INVALID_ARGUMENT,
    errors.Invalid: Status.INVALID_ARGUMENT,
    errors.TooMany: Status.RESOURCE_EXHAUSTED,
    errors.Unavailable: Status.UNAVAILABLE,
    errors.DeadlineExceeded: Status.DEADLINE_EXCEEDED,
    errors.Collided: Status.ABORTED,
    errors.SetAside: Status.INTERNAL,
    errors.Unroutable: Status.INTERNAL,
    errors.PublishRefused: Status.INTERNAL,
    errors.EdgeLost: Status.UNAVAILABLE,
    errors.Duplicate: Status.ALREADY_EXISTS,
}
_BY_CODE = {each.code: each for each in STATUSES}


class NotBegun(Exception):
    """No handler saw the request, so it may be asked elsewhere; ``error`` is what the caller hears when there is no elsewhere."""

    def __init__(self, error: CodeWarzError) -> None:
        super().__init__(error.detail)
        self.error = error


def trailers_of(error: CodeWarzError, *, not_begun: bool = False) -> list[tuple[str, str]]:
    """Return the trailing headers that say this error."""
    kind = next(each for each in type(error).__mro__ if each in STATUSES)
    status = STATUSES[kind]
    return [
        ("grpc-status", str(status.value)),
        ("grpc-message", encode_grpc_message(_cut(error.detail, MESSAGE_MAX))),
        (FAILURE_HEADER, b64encode(_failure(error, kind, not_begun)).decode()),
    ]


def _failure(error: CodeWarzError, kind: type[CodeWarzError], not_begun: bool) -> bytes:
    failure = failure_pb2.Failure(
        code=kind.code, detail=_cut(error.detail, DETAIL_MAX), retry_after_s=error.retry_after_s, not_begun=not_begun
    )
    if isinstance(error, Duplicate):
        failure.constraint = _cut(error.constraint, POINTER_MAX)
    for each in error.errors:
        failure.errors.add(pointer=_cut(each.pointer, POINTER_MAX), detail=_cut(each.detail, DETAIL_MAX))
        if failure.ByteSize() > FAILURE_MAX:
            failure.errors.pop()
            break
    return failure.SerializeToString()


def _cut(text: str, most: int) -> str:
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.encode(errors="replace").decode()  # half a surrogate pair cannot be sent


def error_of(trailers: Mapping[str, str], who: str) -> CodeWarzError | NotBegun | None:
    """Return the error that the trailers say, None for success; ``who`` names the server for people."""
    status = trailers.get("grpc-status", "")
    if status == "0":
        return None
    try:
        text = trailers[FAILURE_HEADER]
        failure = failure_pb2.Failure.FromString(b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (KeyError, DecodeError, binascii.Error, ValueError):
        return _foreign(status, decode_grpc_message(trailers.get("grpc-message", ""))[:DETAIL_MAX], who)
    error = _rebuilt(failure)
    return NotBegun(error) if failure.not_begun else error


def _rebuilt(failure: failure_pb2.Failure) -> CodeWarzError:
    kind = _BY_CODE.get(failure.code, CodeWarzError)
    if issubclass(kind, Duplicate):
        return kind(failure.detail, failure.constraint)
    return kind(
        failure.detail,
        errors=tuple(FieldError(each.pointer, each.detail) for each in failure.errors),
        retry_after_s=failure.retry_after_s if failure.HasField("retry_after_s") else None,
    )


def _foreign(status: str, message: str, who: str) -> CodeWarzError | NotBegun:
    said = f"{who} answered with gRPC status {status or 'none'}: {message}"
    if status in [str(each.value) for each in (Status.UNIMPLEMENTED, Status.UNAUTHENTICATED, Status.PERMISSION_DENIED)]:
        return NotBegun(Unavailable(said, retry_after_s=1.0))
    if status == str(Status.DEADLINE_EXCEEDED.value):
        return DeadlineExceeded(said)
    if status in (str(Status.UNAVAILABLE.value), str(Status.CANCELLED.value)):
        return EdgeLost(said)
    return CodeWarzError(said)
