"""From a request to a handler and back: one pipeline for every route of the table.

Order: shape of the path → who → CSRF → limit → body and query → handler → encoding. What is cheap and what reveals nothing comes first.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec
from quart import Response, g, request

from actors.gateway.bodies import BoundedBody, decode_json, decode_multipart, decode_query
from actors.gateway.identity import Identity, Keys
from actors.gateway.limits import Rule, Standing, address_prefix
from actors.gateway.routing import Answer, Call, Route, Who
from actors.gateway.services import Services
from contracts.errors import Forbidden, NotFound, TooMany, Unauthenticated

CSRF_HEADER = "x-csrf-token"
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")


class Dispatcher:
    """Runs routes with one set of services."""

    def __init__(self, services: Services, keys: Keys) -> None:
        self._services = services
        self._keys = keys

    async def run(self, route: Route, path: dict[str, str]) -> Response:
        """Answer the current request by ``route``; raises CodeWarzError for everything that is wrong with it."""
        call = self.call()
        for value in path.values():
            if _ID.match(value) is None:
                raise NotFound("There is no such thing here.")
        self._admit(route, call.identity)
        self._check_csrf(route, call)
        standing = self._limit(route, call)
        arguments: dict[str, Any] = dict(path)
        if route.body is not None or route.file_field is not None:
            arguments["body"] = await self._body(route)
        if route.query is not None:
            arguments["query"] = decode_query(request.args, route.query)
        answer = await route.handler(call, **arguments)
        return self._respond(route, call, answer, standing)

    def call(self) -> Call:
        """Return the current request as handlers see it."""
        return Call(self._services, g.identity, g.correlation_id, g.address, request.headers, request.cookies)

    def _admit(self, route: Route, identity: Identity) -> None:
        caller = identity.caller
        if route.who is Who.ANYONE:
            return
        if route.who is Who.SESSION and identity.expired is not None:
            return
        if caller is None:
            raise Unauthenticated("Your session has run out; refresh it." if identity.expired else "Sign in first.")
        if route.who is Who.SESSION and caller.session_id is None:
            raise Forbidden("This needs a session, not an API token.")
        if route.who is Who.STAFF and not caller.is_staff:
            raise Forbidden("Only staff may do this.")

    def _check_csrf(self, route: Route, call: Call) -> None:
        if not route.is_unsafe or route.is_csrf_exempt:
            return
        holder = call.identity.caller or call.identity.expired
        if holder is None or holder.session_id is None:
            return  # nobody to be abused, or an API token, which no browser sends by itself
        self.require_csrf(holder.session_id)

    def require_csrf(self, session_id: str) -> None:
        """Raise Forbidden unless the request carries the session's token."""
        if not self._keys.is_csrf_token(session_id, request.headers.get(CSRF_HEADER, "")):
            raise Forbidden(
                f"The {CSRF_HEADER} header is missing or wrong: send the csrf_token that signing in and auth/me return."
            )

    def _limit(self, route: Route, call: Call) -> Standing | None:
        if route.limit is None:
            return None
        rule: Rule = getattr(self._services.limits, route.limit)
        is_user = call.caller is not None and not rule.by_address
        client = call.user.user_id if is_user else address_prefix(call.address)
        standing = self._services.limiter.take(rule, client)
        if standing.retry_after_s is not None:
            g.headers = standing.headers()
            self._services.meter.count("rate_limited", rule=standing.rule.name)
            raise TooMany("Too many requests; wait a little.", retry_after_s=standing.retry_after_s)
        return standing

    async def _body(self, route: Route) -> Any:
        limits = self._services.limits
        body: BoundedBody = request.body  # type: ignore[assignment]  # BoundedRequest makes no other
        content_type = request.headers.get("Content-Type")
        if route.file_field is not None:
            raw = await body.read(limits.package + 16 * 1024, limits.package_timeout_s)
            return decode_multipart(raw, content_type, route.file_field)
        assert route.body is not None
        return decode_json(await body.read(limits.json_body, limits.json_timeout_s), content_type, route.body)

    def _respond(self, route: Route, call: Call, answer: Answer[Any], standing: Standing | None) -> Response:
        if answer.response is not None:
            return headers_only(answer.response) if request.method == "HEAD" else answer.response
        if answer.body is None:
            response = Response(b"", status=route.status)
            response.headers.pop("Content-Type", None)
        else:
            response = Response(msgspec.json.encode(answer.body), status=route.status, content_type="application/json")
        if route.is_cacheable:
            response = conditional(response, request.headers.get("If-None-Match"))
        if standing is not None:
            response.headers.update(standing.headers())
        response.headers.update(answer.headers)
        if call.identity.caller is not None or not route.is_cacheable:
            response.headers["Cache-Control"] = "no-store"
        else:
            response.headers["Cache-Control"] = "no-cache"
        response.headers["Vary"] = "Cookie, Authorization"
        if answer.finish is not None:
            answer.finish(response)
        return response


def headers_only(stream: Response) -> Response:
    """Return what HEAD gets of a stream: sending the stream itself to nobody would never end."""
    response = Response(b"", status=stream.status_code, headers=stream.headers)
    response.headers.pop("Content-Length", None)
    return response


def etag_of(body: bytes) -> str:
    """Return the strong ETag of an encoded answer."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def conditional(response: Response, if_none_match: str | None) -> Response:
    """Put an ETag on an answer, and turn it into 304 when the client has this very answer."""
    body: bytes = response.response.data  # type: ignore[attr-defined]  # made of bytes just now
    etag = etag_of(body)
    if if_none_match is not None and _matches(if_none_match, etag):
        response = Response(b"", status=304)
        response.headers.pop("Content-Type", None)
    response.headers["ETag"] = etag
    return response


def _matches(if_none_match: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")[:32]]
    return etag in tags or "*" in tags
