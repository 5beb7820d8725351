"""The control socket: an operator's requests to a running tree, as lines of JSON over a unix socket.

A request is one line, `{"verb": "scale", "path": "judge/workers", "n": 12}`; the answer is one line,
`{"ok": true, "result": {...}}` or `{"ok": false, "error": "UnknownPath", "message": "..."}`. Who may open the socket may
do everything, so it is 0600 inside a folder that is nobody else's.
"""

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from traceback import format_exception
from typing import Any

import msgspec
import trio

from supervisor.errors import ControlError, OperatorError, SupervisorError
from supervisor.events import Kind
from supervisor.incarnation import one_line
from supervisor.tree import Tree

LINE_LIMIT = 64 * 1024
CONNECTIONS = 32
REQUEST_TIMEOUT_S = 30.0
"""A connection that sends nothing for so long is closed: idle ones must not use up `CONNECTIONS`."""
DISCARD_S = 2.0
SOCKET_PATH_LIMIT = 107  # sun_path of unix(7), less its NUL

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class BadRequest(SupervisorError):
    """What came over the socket is not a request; the text says what one looks like."""


async def serve_control(
    tree: Tree,
    path: Path,
    *,
    verbs: Mapping[str, Handler] | None = None,
    task_status: trio.TaskStatus[Path] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; started when it can be reached. `verbs` are the application's own, by name.

    Raises `ControlError` when somebody else serves that path or the folder is open to others.
    """
    handlers = {**tree_verbs(tree), **(verbs or {})}
    connections = trio.Semaphore(CONNECTIONS)

    async def serve(stream: trio.SocketStream) -> None:
        async with connections, stream:
            # The client may go at any time; nobody is left who could be told.
            with contextlib.suppress(trio.BrokenResourceError):
                await _serve_connection(tree, handlers, stream)

    with listening(path) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [listener], name="control socket")
            task_status.started(path)


def tree_verbs(tree: Tree) -> dict[str, Handler]:
    """The verbs every tree understands."""

    async def status(_: dict[str, Any]) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return dict(msgspec.to_builtins(tree.status()))

    async def scale(request: dict[str, Any]) -> dict[str, Any]:
        n = request.get("n")
        if not isinstance(n, int) or isinstance(n, bool):
            raise BadRequest('"scale" needs a whole number "n"')
        await tree.scale(_path(request), n)
        return {"path": _path(request), "n": n}

    def on_path(act: Callable[[str], Awaitable[None]]) -> Handler:
        async def handler(request: dict[str, Any]) -> dict[str, Any]:
            await act(_path(request))
            return {"path": _path(request)}

        return handler

    acts = {"restart": tree.restart, "stop": tree.stop, "start": tree.start, "drain": tree.drain}
    return {"status": status, "scale": scale, **{verb: on_path(act) for verb, act in acts.items()}}


def _path(request: dict[str, Any]) -> str:
    path = request.get("path")
    if not isinstance(path, str) or not path:
        raise BadRequest('this verb needs a "path" of the tree, for example "judge/workers"')
    return path


async def _serve_connection(tree: Tree, handlers: Mapping[str, Handler], stream: trio.SocketStream) -> None:
    buffer = bytearray()
    while True:
        with trio.move_on_after(REQUEST_TIMEOUT_S) as idle:
            line = await read_line(stream, buffer)
        if idle.cancelled_caught or line is None:
            return
        if len(line) > LINE_LIMIT:
            # What follows is the rest of that line: there is no telling where the next request begins.
            await stream.send_all(_no(BadRequest(f"a request has at most {LINE_LIMIT} bytes")))
            await stream.send_eof()
            await _discard(stream)
            return
        await stream.send_all(await _answer(tree, handlers, line))


async def _discard(stream: trio.SocketStream) -> None:
    """Closing with unread input resets the connection, and the client would never read why."""
    with trio.move_on_after(DISCARD_S):
        while await stream.receive_some(LINE_LIMIT):
            pass


async def read_line(stream: trio.abc.ReceiveStream, buffer: bytearray, limit: int = LINE_LIMIT) -> bytes | None:
    """The next line without its end, or more than `limit` bytes of one that is too long; None at the end."""
    searched = 0
    while (end := buffer.find(b"\n", searched)) < 0:
        searched = len(buffer)
        if searched > limit:
            return bytes(buffer)
        chunk = await stream.receive_some(16 * 1024)
        if not chunk:
            return None
        buffer += chunk
    line = bytes(buffer[:end])
    del buffer[: end + 1]
    return line


async def _answer(tree: Tree, handlers: Mapping[str, Handler], line: bytes) -> bytes:
    try:
        request = _decode(line)
        handler = handlers.get(str(request.get("verb")))
        if handler is None:
            raise BadRequest(f"there is no verb {request.get('verb')!r}; there are {', '.join(sorted(handlers))}")
        return msgspec.json.encode({"ok": True, "result": await handler(request)}) + b"\n"
    except (OperatorError, BadRequest) as exc:
        return _no(exc)
    except Exception as exc:  # noqa: BLE001  one bad handler must not take the socket away from the operator
        tree.log.emit(Kind.CRASHED, "control", detail=one_line(exc), traceback="".join(format_exception(exc)))
        return _no(exc)


def _decode(line: bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadRequest(f"a request is one line of JSON: {one_line(exc)}") from exc
    if not isinstance(request, dict):
        raise BadRequest('a request is a JSON object such as {"verb": "status"}')
    return request


def _no(exc: Exception) -> bytes:
    return msgspec.json.encode({"ok": False, "error": type(exc).__name__, "message": str(exc)}) + b"\n"


@contextlib.contextmanager
def listening(path: Path) -> Iterator[trio.SocketListener]:
    """A listening socket at `path`, which is removed afterwards. Of two that try, one wins, by a lock beside it."""
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        raise ControlError(f"the socket path {path} is longer than {SOCKET_PATH_LIMIT} bytes: choose a shorter folder")
    _private_folder(path.parent)
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise _taken(path) from exc
        _remove_stale(path)
        server = _bind(path)
        try:
            yield trio.SocketListener(trio.socket.from_stdlib_socket(server))
        finally:
            server.close()
            path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _private_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        raise ControlError(f"the folder {folder} of the control socket is open to others ({mode:04o}): chmod 700 it")


def _remove_stale(path: Path) -> None:
    """Nobody with our lock serves it; a socket file that answers nevertheless is somebody else's."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlError(f"{path} is there already and is no socket: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as exc:
            raise ControlError(f"cannot tell whether {path} is in use: {exc}") from exc
    raise _taken(path)


def _taken(path: Path) -> ControlError:
    return ControlError(f"another process serves {path}: stop that one first, or use another folder")


def _bind(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must be right from the first moment, so the umask and not a later chmod. It belongs to the whole process:
    # no await in between.
    before = os.umask(0o177)
    try:
        server.bind(os.fspath(path))
    except OSError as exc:
        server.close()
        raise ControlError(f"cannot create the control socket {path}: {exc}") from exc
    finally:
        os.umask(before)
    server.listen(CONNECTIONS)
    return server
