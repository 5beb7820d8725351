"""What a process without the gateway's role answers over HTTP: health and metrics, for orchestrators and for Prometheus. Nothing else."""

from __future__ import annotations

import random

from quart import Response, g, request
from quart_trio import QuartTrio

from actors.gateway import correlation, health, problem_details
from actors.gateway.addresses import Network, client_address, is_direct_and_local
from actors.gateway.correlation import correlation_id
from contracts.errors import CodeWarzError


def make_monitor(what: health.Monitored, rng: random.Random, proxies: tuple[Network, ...] = ()) -> QuartTrio:
    """Return the application."""
    app = QuartTrio("actors.gateway.monitor", static_folder=None)
    app.register_blueprint(health.make_blueprint(what))

    @app.before_request
    async def open_door() -> None:
        peer = (request.scope.get("client") or ("unknown", 0))[0]
        g.address = client_address(peer, ",".join(request.headers.getlist("X-Forwarded-For")), proxies)

    @app.after_request
    async def close_door(response: Response) -> Response:
        response.headers[correlation.HEADER] = correlation_id(what.clock, rng)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response

    @app.errorhandler(CodeWarzError)
    async def ours(error: CodeWarzError) -> Response:
        is_local = is_direct_and_local(g.address, request.headers)
        problem = problem_details.of_error(error, correlation_id(what.clock, rng), is_local=is_local)
        return problem_details.response(problem)

    return app
