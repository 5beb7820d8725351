"""Routes of what pages are dressed in: static files and palettes. Nobody needs to be known here."""

from __future__ import annotations

from quart import Blueprint, Response, request

from actors.gateway.pages import palette
from actors.gateway.pages.assets import Assets


def add_files(pages: Blueprint, assets: Assets) -> None:
    """Serve the static files and the balloons' colours."""

    async def static_file(version: str, name: str) -> Response:
        answer = assets.answer(
            version,
            name,
            if_none_match=request.headers.get("If-None-Match", ""),
            accept_encoding=request.headers.get("Accept-Encoding", ""),
        )
        if answer is None:
            return Response("There is no such file.\n", status=404, content_type="text/plain; charset=utf-8")
        body, status, headers = answer
        return Response(body, status=status, headers=headers)

    async def palette_file(name: str) -> Response:
        css = palette.palette_css(name)
        if css is None:
            return Response("Not colours.\n", status=404, content_type="text/plain; charset=utf-8")
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(css, content_type="text/css; charset=utf-8", headers=headers)

    pages.add_url_rule("/static/<version>/<path:name>", view_func=static_file, methods=["GET"])
    pages.add_url_rule("/palette/<name>.css", view_func=palette_file, methods=["GET"])
