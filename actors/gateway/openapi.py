"""OpenAPI 3.1, generated from the table of routes and its Structs: it says what the code does, because it is read from it."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Blueprint, Response, request

from actors.gateway.dispatch import CSRF_HEADER, conditional
from actors.gateway.identity import ACCESS_COOKIE
from actors.gateway.problem_details import MEDIA_TYPE, ProblemDetails
from actors.gateway.routing import EventStream, Route, Who
from actors.gateway.services import Services
from actors.gateway.table import API_PREFIX, ROUTES

PATH = API_PREFIX + "/openapi.json"
_REASONS = {
    200: "Done", 201: "Made", 202: "Accepted", 204: "Done, nothing to say", 304: "Not modified", 400: "Cannot be read", 401: "Not signed in",
    403: "Not allowed, or the CSRF token is missing", 404: "Not there, or not for you", 408: "The body came too slowly", 409: "Collides with what is there",
    412: "It was changed since the ETag in If-Match",
    413: "Too large", 415: "Wrong media type", 422: "Not valid", 429: "Too many requests", 500: "Our fault", 503: "Away for a moment", 504: "No answer in time",
}  # fmt: skip


def make_blueprint(services: Services) -> Blueprint:
    """Return the route that serves the document."""
    blueprint = Blueprint("openapi", __name__)
    document = msgspec.json.encode(make_document(ROUTES, services.version))

    @blueprint.get(PATH)
    async def openapi() -> Response:
        response = conditional(
            Response(document, content_type="application/json"), request.headers.get("If-None-Match")
        )
        response.headers["Cache-Control"] = "no-cache"
        return response

    return blueprint


def make_document(routes: tuple[Route, ...], version: str) -> dict[str, Any]:
    """Return the document as plain data."""
    types: list[Any] = [ProblemDetails]
    for route in routes:
        types += [kind for kind in (route.body, route.answer) if _is_struct(kind)]
    unique = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(unique, ref_template="#/components/schemas/{name}")
    of_type = dict(zip(unique, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(API_PREFIX + route.path, {})[route.method.lower()] = _operation(route, of_type)
    paths[PATH] = {"get": _own_operation()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "CodeWarz",
            "version": version,
            "description": "Times are ISO 8601 UTC with milliseconds, durations end in _ms, memory in _kb, identifiers are opaque strings. Errors are RFC 9457"
            f" problem details. A session's cookie needs the {CSRF_HEADER} header on everything but GET; a personal API token (Bearer) does not.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": ACCESS_COOKIE},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _operation(route: Route, of_type: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name.replace(".", "_"),
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": _responses(route, of_type),
        "security": [] if route.who is Who.ANYONE else [{"session": []}, {"token": []}],
    }
    if route.who is Who.ANYONE:
        operation["security"] = [{}, {"session": []}, {"token": []}]
    elif route.who is Who.SESSION:
        operation["security"] = [{"session": []}]
    if route.description:
        operation["description"] = route.description
    if route.file_field is not None:
        schema = {
            "type": "object",
            "properties": {route.file_field: {"type": "string", "format": "binary"}},
            "required": [route.file_field],
        }
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    elif route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": of_type[route.body]}}}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 64},
        }
        for name in route.path_parameters
    ]
    if route.query is not None:
        (reference,), components = msgspec.json.schema_components([route.query], ref_template="{name}")
        schema = components.pop(reference["$ref"])
        for name, each in schema["properties"].items():
            is_required = name in schema.get("required", [])
            parameters.append(
                {"name": name, "in": "query", "required": is_required, "schema": _inline(each, components)}
            )
    if route.is_unsafe and not route.is_csrf_exempt:
        parameters.append({"name": CSRF_HEADER, "in": "header", "required": False, "schema": {"type": "string"}})
    return parameters


def _inline(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """A query's values are scalars or null; null cannot be said in a query string, so it is left out."""
    if "$ref" in schema:
        return dict(components[schema["$ref"]]) | {key: value for key, value in schema.items() if key == "default"}
    options = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    return options[0] if len(options) == 1 else schema


_EVENT = {
    "type": "object",
    "description": "One event of the stream, by the names of its lines; send the last `id` back as Last-Event-ID to go on from there",
    "properties": {
        "event": {"type": "string", "description": "What kind of event it is"},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer", "minimum": 0, "description": "Milliseconds to wait before connecting again"},
    },
    "required": ["event", "data"],
}


def _responses(route: Route, of_type: dict[Any, Any]) -> dict[str, Any]:
    headers = {"x-correlation-id": {"schema": {"type": "string"}}}
    done: dict[str, Any] = {"description": _REASONS[route.status], "headers": headers}
    if route.answer is EventStream:
        done["content"] = {"text/event-stream": {"schema": _EVENT}}
    elif _is_struct(route.answer):
        done["content"] = {"application/json": {"schema": of_type[route.answer]}}
    responses: dict[str, Any] = {str(route.status): done}
    if route.is_cacheable:
        responses["304"] = {"description": _REASONS[304]}
    for status in sorted(route.statuses()):
        responses[str(status)] = {
            "description": _REASONS[status],
            "content": {MEDIA_TYPE: {"schema": of_type[ProblemDetails]}},
        }
    return responses


def _own_operation() -> dict[str, Any]:
    return {
        "operationId": "openapi",
        "tags": ["openapi"],
        "summary": "This document",
        "parameters": [],
        "responses": {
            "200": {"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}},
            "304": {"description": _REASONS[304]},
            **{
                str(status): {
                    "description": _REASONS[status],
                    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
                }
                for status in (400, 401, 500, 503)
            },
        },
        "security": [{}],
    }
