"""The application: every route registered, and what surrounds each request.

Before: correlation id, Host, who is asking. After: security headers, measurements. Around: every error becomes problem details, or a page's error for a page.
"""

from __future__ import annotations

import re
from typing import Any, cast

import structlog
import trio
from quart import Response, g, request
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from actors.gateway import correlation, health, openapi, problem_details
from actors.gateway.addresses import client_address, is_direct_and_local
from actors.gateway.bodies import BoundedBody, BoundedRequest
from actors.gateway.correlation import correlation_id
from actors.gateway.dispatch import Dispatcher
from actors.gateway.identity import ACCESS_COOKIE, NOBODY, Doorkeeper, Keys
from actors.gateway.pages.render import error_page
from actors.gateway.pages.routes import make_pages
from actors.gateway.routing import Route
from actors.gateway.services import Services
from actors.gateway.table import API_PREFIX, ROUTES
from contracts.errors import CodeWarzError, Malformed

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_PROGRAMS = (API_PREFIX + "/", "/health/", "/metrics")  # answered with problem details; everything else is a page
_NAMELESS = ("/static/", "/health/", "/metrics")  # nobody needs to be known there
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"})
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._-]{1,253})(:[0-9]{1,5})?\Z")

_log = structlog.get_logger("gateway")


class Application(QuartTrio):
    """Routes by method and path alone: a hostile Host must not fail before anybody can answer for it."""

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """Return the routes as seen by ``request``."""
        if request is None:
            return super().create_url_adapter(None)
        query = request.query_string.decode("latin-1")
        return self.url_map.bind(
            "gateway", request.root_path, None, request.scheme, request.method, request.path, query
        )


def make_app(services: Services) -> QuartTrio:
    """Return the application: the API, health and metrics, and the pages."""
    app = Application("actors.gateway", static_folder=None)
    app.url_map.merge_slashes = False  # //api is not /api: no redirects that a client did not ask for
    app.config["MAX_CONTENT_LENGTH"] = None  # BoundedRequest bounds bodies by route
    app.request_class = _request_class(services)
    app.extensions["services"] = services
    keys = Keys(services.secret)
    dispatcher = Dispatcher(services, keys)
    for route in ROUTES:
        _add(app, route, dispatcher)
    app.register_blueprint(openapi.make_blueprint(services))
    app.register_blueprint(health.make_blueprint(services.monitored))
    app.register_blueprint(make_pages(services))
    _surround(app, services, keys)
    _map_errors(app, services)
    return app


def _request_class(services: Services) -> type[BoundedRequest]:
    class Request(BoundedRequest):
        """This application's bounds."""

        json_limit = services.limits.json_body
        package_limit = services.limits.package
        package_path = API_PREFIX + "/problems"

    return Request


def _add(app: QuartTrio, route: Route, dispatcher: Dispatcher) -> None:
    async def view(**path: str) -> Response:
        return await dispatcher.run(route, path)

    rule = API_PREFIX + route.path.replace("{", "<").replace("}", ">")
    app.add_url_rule(rule, endpoint=f"api.{route.name}", view_func=view, methods=[route.method])


def _surround(app: QuartTrio, services: Services, keys: Keys) -> None:
    doorkeeper = Doorkeeper(services.database, services.redis, services.clock, keys)

    @app.before_request
    async def open_door() -> None:
        g.started = trio.current_time()
        g.identity = NOBODY
        peer = (request.scope.get("client") or ("unknown", 0))[0]
        forwarded_for = ",".join(request.headers.getlist("X-Forwarded-For"))
        g.address = client_address(peer, forwarded_for, services.proxies)
        structlog.contextvars.bind_contextvars(correlation_id=correlation_id(services.clock, services.rng))
        if request.headers.get("Host") is not None and _HOST.match(request.headers["Host"]) is None:
            raise Malformed("The Host header is not a host name.")
        if not request.path.startswith(_NAMELESS):
            g.identity = await doorkeeper.identify(
                request.headers.get("Authorization"), request.cookies.get(ACCESS_COOKIE)
            )

    @app.after_request
    async def close_door(response: Response) -> Response:
        response.headers[correlation.HEADER] = correlation_id(services.clock, services.rng)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        if services.is_secure_cookie:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if not request.path.startswith("/static/"):
            response.headers.setdefault("Cache-Control", "no-store")
        _measure(services, response)
        if response.status_code >= 400:
            await cast("BoundedBody", request.body).linger_if_sending()
        return response


def _measure(services: Services, response: Response) -> None:
    route = request.url_rule.rule if request.url_rule is not None else "unmatched"
    method = request.method if request.method in _METHODS else "other"
    if "started" in g:
        took_s = trio.current_time() - g.started
        services.meter.observe(
            "http_request_seconds", took_s, method=method, route=route, status=str(response.status_code)
        )
    _log.debug("request", method=method, route=route, status=response.status_code)


def _map_errors(app: QuartTrio, services: Services) -> None:
    async def show(problem: problem_details.ProblemDetails, headers: dict[str, str]) -> Response:
        if request.path.startswith(_PROGRAMS):
            response = problem_details.response(problem)
        else:
            response = await error_page(problem.status, problem.detail, problem.correlation_id)
        response.headers.update(headers)
        return response

    @app.errorhandler(CodeWarzError)
    async def ours(error: CodeWarzError) -> Response:
        if error.status >= 500:
            _log.warning("refused", status=error.status, code=error.code, detail=error.detail)
        headers = dict(g.get("headers", {}))
        wait_s = problem_details.retry_after_s(error)
        if wait_s is not None:
            headers["Retry-After"] = problem_details.whole_seconds(wait_s)
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="codewarz"'
        is_local = is_direct_and_local(g.address, request.headers)
        problem = problem_details.of_error(error, correlation_id(services.clock, services.rng), is_local=is_local)
        return await show(problem, headers)

    @app.errorhandler(HTTPException)
    async def frameworks(error: HTTPException) -> Response:
        if error.code is None or error.code < 400:
            return cast("Response", error.get_response())
        headers = {name: value for name, value in error.get_headers() if name == "Allow"}
        return await show(problem_details.of_http(error, correlation_id(services.clock, services.rng)), headers)

    @app.errorhandler(Exception)
    async def bug(error: Exception) -> Response:
        _log.error("bug", path=request.path, exc_info=error)
        return await show(problem_details.of_error(CodeWarzError(""), correlation_id(services.clock, services.rng)), {})


def registered_api_routes(app: QuartTrio) -> set[tuple[str, str]]:
    """Return (method, rule) of everything registered under the API's prefix."""
    found: set[tuple[str, str]] = set()
    rules: list[Any] = list(app.url_map.iter_rules())
    for rule in rules:
        if rule.rule.startswith(API_PREFIX + "/"):
            found |= {(method, rule.rule) for method in rule.methods - {"HEAD", "OPTIONS"}}
    return found
