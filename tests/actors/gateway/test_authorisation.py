"""Every route × everybody who may ask: who gets in, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from actors.gateway.app import registered_api_routes
from actors.gateway.table import API_PREFIX, ROUTES
from contracts.messages import CreateApiToken, Kind, Role, Submit, Verification
from tests.actors.gateway.conftest import House, Visitor

TIMES = {"start": "2027-01-16T08:00:00Z", "end": "2027-01-16T13:00:00Z"}
FORM = {
    "data": b'--b\r\nContent-Disposition: form-data; name="package"; filename="p.zip"\r\n\r\nPK\r\n--b--\r\n',
    "headers": {"Content-Type": "multipart/form-data; boundary=b"},
}

# (method, path, what is sent) → anonymous, the owner, another contestant, staff. The owner is ada: of the submission, the run and the token.
MATRIX: list[tuple[str, str, dict[str, Any], tuple[int, int, int, int]]] = [
    ("POST", "/auth/signup", {"json": {}}, (422, 422, 422, 422)),
    ("POST", "/auth/signin", {"json": {}}, (422, 422, 422, 422)),
    ("POST", "/auth/refresh", {}, (401, 401, 401, 401)),
    ("POST", "/auth/signout", {}, (401, 204, 204, 204)),
    ("POST", "/auth/signout/everywhere", {}, (401, 204, 204, 204)),
    ("GET", "/auth/me", {}, (401, 200, 200, 200)),
    ("GET", "/auth/tokens", {}, (401, 200, 200, 200)),
    ("POST", "/auth/tokens", {"json": {"name": "x"}}, (401, 201, 201, 201)),
    ("DELETE", "/auth/tokens/t-ada", {}, (401, 204, 404, 404)),
    ("GET", "/contests", {}, (200, 200, 200, 200)),
    ("GET", "/contests/open", {}, (200, 200, 200, 200)),
    ("GET", "/contests/secret", {}, (404, 404, 404, 200)),
    ("POST", "/contests", {"json": {"title": "T", "rules": "icpc", **TIMES}}, (401, 403, 403, 201)),
    ("PATCH", "/contests/open", {"json": {"title": "New"}}, (401, 403, 403, 200)),
    ("POST", "/contests/open/registration", {}, (401, 200, 200, 200)),
    ("POST", "/contests/secret/registration", {}, (401, 404, 404, 200)),
    ("DELETE", "/contests/open/registration", {}, (401, 409, 204, 204)),
    ("GET", "/contests/open/problems", {}, (200, 200, 200, 200)),
    ("GET", "/contests/later/problems", {}, (404, 404, 404, 200)),
    ("GET", "/contests/secret/problems", {}, (404, 404, 404, 200)),
    ("POST", "/contests/open/problems", {"json": {"problem_id": "sub", "label": "B"}}, (401, 403, 403, 201)),
    ("DELETE", "/contests/later/problems/mul", {}, (401, 403, 403, 204)),
    ("DELETE", "/contests/later/problems?problem_id=mul", {}, (401, 403, 403, 204)),
    ("GET", "/problems", {}, (200, 200, 200, 200)),
    ("GET", "/problems/add", {}, (200, 200, 200, 200)),
    ("GET", "/problems/mul", {}, (404, 404, 404, 200)),
    ("GET", "/problems/private", {}, (404, 404, 404, 200)),
    ("GET", "/problems/veiled", {}, (404, 404, 404, 200)),
    ("POST", "/problems", FORM, (401, 403, 403, 201)),
    ("POST", "/submissions", {"json": {"problem_id": "sub", "language": "c", "source": "x"}}, (401, 202, 202, 202)),
    ("POST", "/submissions", {"json": {"problem_id": "mul", "language": "c", "source": "x"}}, (401, 404, 404, 202)),
    (
        "POST",
        "/submissions",
        {"json": {"problem_id": "veiled", "contest_id": "secret", "language": "c", "source": "x"}},
        (401, 404, 404, 202),
    ),
    ("GET", "/submissions", {}, (401, 200, 200, 200)),
    ("GET", "/submissions/s-ada", {}, (401, 200, 404, 200)),
    ("GET", "/submissions/r-ada", {}, (401, 404, 404, 404)),
    ("GET", "/submissions/s-ada/stream", {}, (401, 200, 404, 200)),
    ("POST", "/runs", {"json": {"problem_id": "sub", "language": "c", "source": "x"}}, (401, 202, 202, 202)),
    ("GET", "/runs/r-ada", {}, (401, 200, 404, 200)),
    ("GET", "/runs/s-ada", {}, (401, 404, 404, 404)),
    ("GET", "/leaderboard/open", {}, (200, 200, 200, 200)),
    ("GET", "/leaderboard/secret", {}, (404, 404, 404, 200)),
    ("GET", "/leaderboard/open?view=jury", {}, (403, 403, 403, 200)),
    ("GET", "/leaderboard/open/users/ada", {}, (200, 200, 200, 200)),
    ("GET", "/leaderboard/open/users/ada?view=jury", {}, (403, 403, 403, 200)),
    ("GET", "/leaderboard/stream/open", {}, (200, 200, 200, 200)),
    ("GET", "/leaderboard/stream/secret", {}, (404, 404, 404, 200)),
    ("GET", "/leaderboard/stream/open?view=jury", {}, (403, 403, 403, 200)),
    ("POST", "/rejudgings", {"json": {"problem_id": "add", "dry_run": True}}, (401, 403, 403, 202)),
    ("GET", "/openapi.json", {}, (200, 200, 200, 200)),
]


async def fill(house: House) -> None:
    for problem_id in ("add", "sub", "mul"):
        await house.problem(problem_id)
    for problem_id in ("private", "veiled"):
        await house.problem(problem_id, is_public=False)
    await house.contest("open", "add")
    await house.contest("later", "mul", starts_in_ms=3_600_000)
    await house.contest("secret", "veiled", is_public=False)
    common: Any = {"user_id": "ada", "language": "c", "source": "x", "correlation_id": "c"}
    submission = Submit(submission_id="s-ada", problem_id="add", contest_id="open", **common)
    await house.rpc.call("core", submission, timeout=10)
    await house.rpc.call("core", Submit(submission_id="r-ada", problem_id="sub", kind=Kind.RUN, **common), timeout=10)
    token = CreateApiToken(token_id="t-ada", user_id="ada", name="n", token_hash="h")
    await house.rpc.call("core", token, timeout=10)


async def verify(request: object, *, timeout: float) -> Verification:
    return Verification(slug="made", title="Made", digest="d", package=b"p", summary=b"{}")


async def status_of(visitor: Visitor, method: str, path: str, sent: dict[str, Any]) -> int:
    """Return the status; a stream is left as soon as it has begun."""
    if path.partition("?")[0].endswith("/stream") or "/leaderboard/stream/" in path:
        from tests.actors.gateway.test_streams import opened

        async with opened(visitor, API_PREFIX + path) as stream:
            return stream.status
    return (await visitor.request(method, API_PREFIX + path, **sent)).status_code


@pytest.mark.parametrize(
    ("method", "path", "sent", "expected"), MATRIX, ids=[f"{method} {path}" for method, path, _, _ in MATRIX]
)
async def test_who_gets_in(
    house: House, method: str, path: str, sent: dict[str, Any], expected: tuple[int, int, int, int]
) -> None:
    found = []
    ada, bob = await house.user("ada"), await house.user("bob")
    staff = await house.user("sam", Role.STAFF)
    await fill(house)
    async with house.rpc.serve("judge", verify):
        # From the least to the most powerful, so that what a later one changes cannot let an earlier one in.
        for visitor in (house.anonymous, bob, ada, staff):
            found.append(await status_of(visitor, method, path, sent))  # noqa: PERF401
    anonymous, another, owner, of_staff = found
    assert (anonymous, owner, another, of_staff) == expected


def test_the_table_has_every_route() -> None:
    in_table = {(method, path.partition("?")[0].strip("/").split("/")[0]) for method, path, _, _ in MATRIX}
    for route in ROUTES:
        assert (route.method, route.path.strip("/").split("/")[0]) in in_table
        pattern = route.path.split("/")
        assert any(
            method == route.method
            and len(pattern) == len(path.partition("?")[0].split("/"))
            and all(
                a == b or a.startswith("{") for a, b in zip(pattern, path.partition("?")[0].split("/"), strict=True)
            )
            for method, path, _, _ in MATRIX
        ), f"{route.method} {route.path} is not in the table"


async def test_admins_may_what_staff_may(house: House) -> None:
    assert (await house.root.post("/api/v1/contests", {"title": "T", "rules": "ioi", **TIMES})).status_code == 201


async def test_every_registered_route_is_documented_and_the_other_way_round(house: House) -> None:
    from tests.actors.gateway.conftest import body_of

    document = await body_of(await house.anonymous.get("/api/v1/openapi.json"))
    documented = {
        (method.upper(), path.replace("{", "<").replace("}", ">"))
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert documented == registered_api_routes(house.app)
