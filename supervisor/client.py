"""The other end of the control socket: one request, one answer."""

import os
from pathlib import Path
from typing import Any

import msgspec
import trio

from supervisor.control import read_line
from supervisor.errors import ControlError, NothingRunning, Refused

ANSWER_LIMIT = 16 * 1024 * 1024


async def request(socket_path: Path, verb: str, *, timeout: float = 120.0, **fields: Any) -> dict[str, Any]:
    """Ask the tree behind `socket_path`, waiting at most `timeout` seconds, and return its result.

    Raises `Refused` when the answer is no (its text is for people), `NothingRunning`, and `ControlError` when the other
    side does not answer as agreed.
    """
    try:
        with trio.fail_after(timeout):
            async with await trio.open_unix_socket(os.fspath(socket_path)) as stream:
                await stream.send_all(msgspec.json.encode({"verb": verb, **fields}) + b"\n")
                line = await read_line(stream, bytearray(), ANSWER_LIMIT)
    except trio.TooSlowError as exc:
        raise ControlError(f"no answer to {verb!r} within {timeout:g} s; the request may still be carried out") from exc
    except (FileNotFoundError, ConnectionRefusedError) as exc:
        raise NothingRunning(f"nothing is running at {socket_path}: start it first") from exc
    except (OSError, trio.BrokenResourceError) as exc:
        raise ControlError(f"cannot talk to {socket_path}: {exc}") from exc
    if line is None:
        raise ControlError(f"{socket_path} ended the connection without an answer to {verb!r}")
    return _result(line)


def _result(line: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise ControlError(f"the answer is not what a control socket says: {exc}") from exc
    if answer.get("ok") is True:
        return dict(answer["result"])
    raise Refused(str(answer.get("error")), str(answer.get("message")))
