"""What every template can use, and the two ways to answer with one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from quart import Blueprint, Response, g, render_template, request

from actors.gateway import problem_details
from actors.gateway.identity import NOBODY, Identity
from actors.gateway.pages import palette, present
from actors.gateway.pages.assets import Assets
from actors.gateway.services import Services
from actors.problems import statement_to_html
from contracts.errors import CodeWarzError

HERE = Path(__file__).parent
_DESCRIPTIONS = 64  # contests whose description is kept as HTML
# A page is made for one reader at one moment; the back button may still show it from memory.
_CACHE = {"Cache-Control": "private, no-cache", "Vary": "Cookie"}


def identity() -> Identity:
    """Return who asks for the current page; nobody where the request never came to the door (a malformed one)."""
    found: Identity = g.get("identity", NOBODY)
    return found


def prepare(pages: Blueprint, assets: Assets, services: Services) -> None:
    """Give templates their filters and what every page shows."""

    def colour_class(problem: Any) -> str:
        return palette.colour_class(problem.colour, problem.label)

    pages.add_app_template_global(assets.url, "static_url")
    pages.add_app_template_global(present.cell_text, "cell_text")
    pages.add_app_template_global(present.length, "length")
    pages.add_app_template_filter(colour_class, "colour_class")
    pages.add_app_template_filter(lru_cache(_DESCRIPTIONS)(statement_to_html), "markdown")
    for name in (
        "at_ms",
        "countdown",
        "judging_summary",
        "limit_memory",
        "limit_time",
        "mark_of",
        "memory",
        "moment",
        "points",
    ):
        pages.add_app_template_filter(getattr(present, name), name)

    def shared() -> dict[str, Any]:
        who = identity()
        return {
            "csrf_token": who.csrf_token,
            "now_ms": services.clock.now_ms(),
            "path": request.path,
            "version": services.version,
            "viewer": who.caller,
        }

    pages.app_context_processor(shared)


async def page(template: str, *, status: int = 200, **context: Any) -> Response:
    """Answer with a template."""
    return Response(
        await render_template(template, **context),
        status=status,
        content_type="text/html; charset=utf-8",
        headers=_CACHE,
    )


_TITLES = {
    400: "That did not make sense",
    403: "Not for you",
    404: "Nothing here",
    405: "Not that way",
    422: "That is not possible",
    429: "A little too fast",
    503: "One moment, please",
    504: "One moment, please",
}


async def error_page(status: int, detail: str, correlation_id: str = "") -> Response:
    """Answer with what is wrong, for people. A server error says nothing of the inside, only the id that finds it in the logs."""
    if status >= 500 and status not in _TITLES:
        detail = "Something broke on our side, and it is in our logs. Nothing that you submitted was lost."
    return await page(
        "error.html",
        status=status,
        code=status,
        title=_TITLES.get(status, "Something broke" if status >= 500 else "That did not work"),
        detail=detail,
        correlation_id=correlation_id if status >= 500 else "",
    )


async def error_of(error: CodeWarzError) -> Response:
    """Answer with an error of ours."""
    answer = await error_page(error.status, problem_details.told(error), g.get("correlation_id", ""))
    if error.retry_after_s is not None:
        answer.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return answer
