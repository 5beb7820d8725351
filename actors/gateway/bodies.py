"""Reading what a client sends: bounded in size and time, and never trusted.

Every failure is an error that names the fields (JSON pointers), whatever the input: NUL bytes, lone surrogates, huge numbers, deep nesting, truncated bodies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import trio
from quart_trio.wrappers.request import TrioBody, TrioRequest
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from actors.gateway.sentences import malformed, sentence
from contracts.errors import FieldError, Invalid, Malformed, TooLarge, UnsupportedMedia

T = TypeVar("T")

LINGER_S = 2.0
_MULTIPART_OVERHEAD = 16 * 1024
_PARTS_MAX = 8
_WHERE = re.compile(r" - at `\$(?P<path>[^`]*)`\Z")
_NAMED = re.compile(r"Object (?:missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")


class RequestTimedOutError(Invalid):
    """The body did not arrive in time."""

    code, status = "request_timeout", 408


class BoundedBody(TrioBody):
    """A body that forgets what exceeds its limit but still notices its end.

    Answering while the client still sends makes the kernel reset the connection, and the client may never see the answer: so a
    refusal first lets the body run out for a moment (``linger_if_sending``).
    """

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(None, None)
        self._limit = max_content_length or 0
        self.is_over = (expected_content_length or 0) > self._limit

    def append(self, data: bytes) -> None:
        """Keep data up to the limit."""
        if self.is_over or len(self._data) + len(data) > self._limit:
            self.is_over = True
            self._data.clear()
            self._has_data.set()
        else:
            super().append(data)

    async def read(self, limit: int, timeout_s: float) -> bytes:
        """Return the whole body; raises TooLarge above ``limit`` and a 408 after ``timeout_s``."""
        with trio.move_on_after(timeout_s) as scope:
            while not (self._complete.is_set() or self.is_over or len(self._data) > limit):
                self._has_data.clear()
                await self._has_data.wait()
        if scope.cancelled_caught:
            raise RequestTimedOutError(f"The body did not arrive within {timeout_s:g} s.")
        if self.is_over or len(self._data) > limit:
            self.is_over = True
            raise TooLarge(f"The body is larger than the {limit} bytes that this address takes.")
        return bytes(self._data)

    async def linger_if_sending(self) -> None:
        """Give a client that still sends a moment to finish, so that it reads the answer. What it sends is not kept: the answer is made."""
        self.is_over = True
        self._data.clear()
        with trio.move_on_after(LINGER_S):
            await self._complete.wait()


class BoundedRequest(TrioRequest):
    """A request whose body's bound depends on its address: only packages are large."""

    body_class = BoundedBody
    json_limit = 0
    package_limit = 0
    package_path = ""

    def __init__(self, method: str, scheme: str, path: str, *args: Any, **kwargs: Any) -> None:
        is_package = method == "POST" and path == self.package_path
        limit = self.package_limit + _MULTIPART_OVERHEAD if is_package else self.json_limit
        kwargs["max_content_length"] = limit
        super().__init__(method, scheme, path, *args, **kwargs)


def decode_json(raw: bytes, content_type: str | None, kind: type[T]) -> T:
    """Decode a JSON body into ``kind``; raises UnsupportedMedia, Malformed or Invalid with everything that is wrong with its fields."""
    media = (content_type or "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise UnsupportedMedia("The body must be JSON: send “Content-Type: application/json”.")
    try:
        body = msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid("The request is not valid.", errors=_all_errors(raw, kind, error)) from None
    except RecursionError:
        raise Malformed("The JSON is nested too deeply.") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise Malformed(malformed(_one_line(error))) from None
    nuls = [
        FieldError(pointer, "must not contain NUL characters")
        for pointer in _nul_pointers(msgspec.to_builtins(body), "")
    ]
    if nuls:
        raise Invalid("The request is not valid.", errors=tuple(nuls))
    return body


def decode_query(arguments: Mapping[str, str], kind: type[T]) -> T:
    """Convert the query string's arguments, of which unknown ones are ignored; raises Invalid."""
    given = {name: arguments[name] for name in _field_names(kind) if name in arguments}  # type: ignore[arg-type]  # a class is hashable
    nuls = tuple(
        FieldError(f"/{name}", "must not contain NUL characters") for name, value in given.items() if "\0" in value
    )
    if nuls:
        raise Invalid("The query is not valid.", errors=nuls)
    try:
        return msgspec.convert(given, kind, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise Invalid("The query is not valid.", errors=(_query_error(error, kind),)) from None


def _query_error(error: Exception, kind: type[Any]) -> FieldError:
    raw = _field_error(error, "")
    types = {f"/{each.encode_name}": each.type for each in msgspec.structs.fields(kind)}
    return _field_error(error, "", types.get(raw.pointer))


@lru_cache
def _field_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(each.encode_name for each in msgspec.structs.fields(kind))


def decode_multipart(raw: bytes, content_type: str | None, field: str) -> bytes:
    """Return the content of the file (or value) that a multipart form carries as ``field``; raises UnsupportedMedia, Malformed or Invalid."""
    media, _, parameters = (content_type or "").partition(";")
    found = re.search(r'boundary="?([0-9A-Za-z\'()+_,\-./:=? ]{1,70})"?', parameters)
    if media.strip().lower() != "multipart/form-data" or found is None:
        raise UnsupportedMedia(
            "The body must be a form with a file: send “Content-Type: multipart/form-data; boundary=…”."
        )
    try:
        content = _find_part(raw, found[1].rstrip().encode(), field)
    except ValueError as error:
        raise Malformed(f"The form cannot be read: {_one_line(error)}") from None
    if content is None:
        raise Invalid(
            "The request is not valid.", errors=(FieldError(f"/{field}", "is required: the package as a zip file"),)
        )
    return content


def _find_part(raw: bytes, boundary: bytes, field: str) -> bytes | None:
    decoder = MultipartDecoder(boundary, max_form_memory_size=len(raw) + 1, max_parts=_PARTS_MAX)
    decoder.receive_data(raw)
    decoder.receive_data(None)
    is_wanted, content, parts = False, None, bytearray()
    while True:
        event = decoder.next_event()
        if isinstance(event, Field | File):
            is_wanted = event.name == field and content is None
        elif isinstance(event, Data) and is_wanted:
            parts += event.data
            if not event.more_data:
                content, is_wanted = bytes(parts), False
        elif isinstance(event, Epilogue | NeedData):
            return content


def _all_errors(raw: bytes, kind: type[Any], first: msgspec.ValidationError) -> tuple[FieldError, ...]:
    """msgspec stops at the first error; people want to see all of them, so look at each field by itself."""
    try:
        value = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return (_field_error(first, ""),)
    if not isinstance(value, dict):
        return (FieldError("", "must be a JSON object"),)
    fields = {each.encode_name: each for each in msgspec.structs.fields(kind)}
    errors = [FieldError(_pointer(name), "is not a known field") for name in value if name not in fields]
    for name, each in fields.items():
        if name not in value:
            if each.required:
                errors.append(FieldError(_pointer(name), "is required"))
            continue
        try:
            # strict, and as JSON: the same rules as for the whole
            msgspec.json.decode(msgspec.json.encode(value[name]), type=each.type)
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            errors.append(_field_error(error, _pointer(name), each.type))
    return tuple(errors) or (_field_error(first, ""),)


def _field_error(error: Exception, prefix: str, kind: Any = None) -> FieldError:
    text = " ".join(str(error).split())  # uncut: the place comes last
    where, named = _WHERE.search(text), _NAMED.search(text)
    pointer = prefix
    if where is not None:
        for step in _STEP.finditer(where["path"]):
            pointer += _pointer(step["name"] or step["index"])
        text = text[: where.start()]
    if named is not None:
        pointer += _pointer(named["name"])
    return FieldError(pointer, sentence(text, kind))


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")[:100]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _nul_pointers(value: object, pointer: str) -> Iterator[str]:
    if isinstance(value, str):
        if "\0" in value:
            yield pointer
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _nul_pointers(each, pointer + _pointer(str(name)))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _nul_pointers(each, f"{pointer}/{number}")
