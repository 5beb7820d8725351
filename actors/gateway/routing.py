"""The table of routes: everything that dispatch enforces and OpenAPI describes, taken from one declaration.

A handler's own signature is part of it: ``body`` and ``query`` parameters name the Structs to decode, ``Answer[T]`` what comes back, every other
parameter a part of the path. So the documentation cannot say anything else than the code does, and mypy checks both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from quart import Response
from werkzeug.datastructures import Headers

from actors.gateway.identity import Caller, Identity
from actors.gateway.services import Limits, Services
from contracts.errors import Unauthenticated
from contracts.ids import make_id

T = TypeVar("T")
Handler = Callable[..., Awaitable["Answer[Any]"]]


class Who(StrEnum):
    """Who may come in; what they may see there is the handler's business."""

    ANYONE = "anyone"
    USER = "user"
    STAFF = "staff"
    SESSION = "session"  # somebody signed in by cookie, even when the access token has just run out


class EventStream:
    """The body of an answer that is a stream of server-sent events."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What a handler returns. ``finish`` may touch the response last (cookies); ``response`` replaces it (streams)."""

    body: T
    headers: Mapping[str, str] = field(default_factory=dict)
    finish: Callable[[Response], None] | None = None
    response: Response | None = None


@dataclass(frozen=True)
class Call:
    """One request, after the door: who asks, and what the handler may use."""

    services: Services
    identity: Identity
    correlation_id: str
    address: str
    headers: Headers
    cookies: Mapping[str, str]

    @property
    def caller(self) -> Caller | None:
        """Who asks, None for anonymous."""
        return self.identity.caller

    @property
    def user(self) -> Caller:
        """Who asks, where the route lets nobody else in."""
        if self.identity.caller is None:
            raise Unauthenticated("Sign in first.")
        return self.identity.caller

    @property
    def is_staff(self) -> bool:
        """Whether staff asks."""
        return self.caller is not None and self.caller.is_staff

    @property
    def now_ms(self) -> int:
        """The wall time."""
        return self.services.clock.now_ms()

    def new_id(self) -> str:
        """Return a new identifier."""
        return make_id(self.now_ms, self.services.rng)


@dataclass(frozen=True)
class Route:
    """One line of the table. ``limit`` names a rule of ``Limits``; ``also`` lists statuses beyond those that follow from the rest."""

    method: str
    path: str
    handler: Handler
    summary: str
    description: str
    tag: str
    who: Who
    status: int
    limit: str | None
    also: tuple[int, ...]
    is_cacheable: bool
    is_csrf_exempt: bool
    file_field: str | None
    body: type[Any] | None
    query: type[Any] | None
    answer: Any
    path_parameters: tuple[str, ...]

    @property
    def is_unsafe(self) -> bool:
        """Whether it changes something, so that a session must prove the request came from its own page."""
        return self.method not in ("GET", "HEAD", "OPTIONS")

    @property
    def name(self) -> str:
        """The operation's identifier: the handler's name."""
        return f"{self.tag}.{self.handler.__name__}"

    def statuses(self) -> set[int]:
        """Return every error status that may be answered, for the documentation."""
        found = {400, 401, 408, 413, 429, 500, 503, 504, *self.also}
        if self.who is Who.STAFF or self.is_unsafe:
            found.add(403)
        if self.path_parameters:
            found.add(404)
        if self.body is not None or self.file_field is not None:
            found |= {415, 422}
        if self.query is not None or self.path_parameters:
            found.add(422)
        return found


class Routes:
    """The routes of one family."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.table: list[Route] = []

    def add(
        self,
        method: str,
        path: str,
        *,
        who: Who = Who.ANYONE,
        status: int = 200,
        limit: str | None = None,
        also: tuple[int, ...] = (),
        is_cacheable: bool = False,
        is_csrf_exempt: bool = False,
        file_field: str | None = None,
    ) -> Callable[[Handler], Handler]:
        """Register the decorated handler; its docstring's first line is the summary."""
        if limit is not None and limit not in Limits.__dataclass_fields__:
            raise ValueError(f"no limit is called {limit!r}")

        def register(handler: Handler) -> Handler:
            hints = get_type_hints(handler)
            answer = hints.pop("return")
            if get_origin(answer) is not Answer:
                raise TypeError(f"{handler} must return Answer[…]")
            hints.pop("call")
            body, query = hints.pop("body", None), hints.pop("query", None)
            if file_field is not None:
                body = None
            parameters = tuple(part[1:-1] for part in path.split("/") if part.startswith("{"))
            if set(parameters) != set(hints):
                raise TypeError(f"{handler} takes {sorted(hints)} but its path has {sorted(parameters)}")
            summary, _, description = (handler.__doc__ or "").strip().partition("\n")
            self.table.append(
                Route(
                    method=method,
                    path=path,
                    handler=handler,
                    summary=summary.rstrip("."),
                    description=" ".join(description.split()),
                    tag=self.tag,
                    who=who,
                    status=status,
                    limit=limit,
                    also=also,
                    is_cacheable=is_cacheable,
                    is_csrf_exempt=is_csrf_exempt,
                    file_field=file_field,
                    body=body,
                    query=query,
                    answer=get_args(answer)[0],
                    path_parameters=parameters,
                )
            )
            return handler

        return register
