"""Signing up, in and out: who gets in, and who stays in."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import jwt
import pytest
import trio
from quart import Response

from actors.first_start import Administrator
from actors.gateway.identity import ACCESS_COOKIE, ACCESS_TTL_S, REFRESH_COOKIE
from contracts.messages import Role
from supervisor import Actor, Restart, Supervisor, Tree
from tests.actors.gateway.conftest import House, Visitor, body_of

ADA = {"username": "Ada", "email": "ada@example.org", "password": "correct horse battery"}


def cookies_of(response: Response) -> dict[str, str]:
    found = {}
    for line in response.headers.getlist("Set-Cookie"):
        name, _, rest = line.partition("=")
        found[name] = rest.partition(";")[0]
    return found


async def signed_in(house: House, response: Response) -> Visitor:
    body, cookies = await body_of(response), cookies_of(response)
    visitor = Visitor(house.app, body["user"]["id"], cookies[ACCESS_COOKIE], body["csrf_token"])
    visitor.refresh_token = cookies[REFRESH_COOKIE]
    return visitor


async def test_signing_up_signs_in(house: House) -> None:
    response = await house.anonymous.post("/api/v1/auth/signup", ADA)
    assert response.status_code == 201
    body = await body_of(response)
    assert body["user"]["username"] == "Ada"
    assert body["user"]["role"] == "contestant"
    assert body["csrf_token"]
    visitor = await signed_in(house, response)
    me = await visitor.get("/api/v1/auth/me")
    assert me.status_code == 200
    assert (await body_of(me))["csrf_token"] == body["csrf_token"]


async def test_the_cookies_are_out_of_a_scripts_reach(house: House) -> None:
    response = await house.anonymous.post("/api/v1/auth/signup", ADA)
    lines = {line.partition("=")[0]: line for line in response.headers.getlist("Set-Cookie")}
    assert "HttpOnly" in lines[ACCESS_COOKIE]
    assert "SameSite=Lax" in lines[ACCESS_COOKIE]
    assert "Path=/;" in lines[ACCESS_COOKIE] + ";"
    assert "HttpOnly" in lines[REFRESH_COOKIE]
    assert "SameSite=Strict" in lines[REFRESH_COOKIE]
    assert "Path=/api/v1/auth" in lines[REFRESH_COOKIE]


@pytest.mark.parametrize("extra", [{"role": "admin"}, {"is_admin": True}, {"id": "x"}])
async def test_nobody_chooses_their_own_role(house: House, extra: dict[str, object]) -> None:
    response = await house.anonymous.post("/api/v1/auth/signup", {**ADA, **extra})
    assert response.status_code == 422
    (name,) = extra
    assert (await body_of(response))["errors"] == [{"pointer": f"/{name}", "detail": "is not a known field"}]


async def test_every_wrong_field_is_named(house: House) -> None:
    response = await house.anonymous.post("/api/v1/auth/signup", {"username": "a b", "email": 5, "extra": 1})
    assert response.status_code == 422
    assert response.content_type == "application/problem+json"
    assert {each["pointer"] for each in (await body_of(response))["errors"]} == {
        "/username",
        "/email",
        "/password",
        "/extra",
    }


@pytest.mark.parametrize(
    ("taken", "pointer"),
    [
        ({"email": "other@example.org", "username": "ADA"}, "/username"),
        ({"username": "eve", "email": "ADA@example.org"}, "/email"),
    ],
)
async def test_a_taken_name_or_address_is_a_conflict(house: House, taken: dict[str, str], pointer: str) -> None:
    await house.anonymous.post("/api/v1/auth/signup", ADA)
    response = await house.anonymous.post("/api/v1/auth/signup", {**ADA, **taken})
    assert response.status_code == 409
    assert (await body_of(response))["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("login", ["Ada", "ada", "ada@example.org", "ADA@EXAMPLE.ORG"])
async def test_signing_in_takes_the_name_or_the_address(house: House, login: str) -> None:
    await house.anonymous.post("/api/v1/auth/signup", ADA)
    response = await house.anonymous.post("/api/v1/auth/signin", {"username": login, "password": ADA["password"]})
    assert response.status_code == 200
    assert (await body_of(response))["user"]["username"] == "Ada"


async def test_a_wrong_name_and_a_wrong_password_look_alike(house: House) -> None:
    await house.anonymous.post("/api/v1/auth/signup", ADA)
    shapes = []
    for login in ("ada", "nobody"):
        response = await house.anonymous.post("/api/v1/auth/signin", {"username": login, "password": "wrong"})
        body = await body_of(response)
        body.pop("correlation_id")
        shapes.append((response.status_code, body, response.headers.getlist("Set-Cookie")))
    assert shapes[0] == shapes[1]
    assert shapes[0][0] == 401


async def test_guessing_one_password_is_slowed_down_without_locking_others_out(house: House) -> None:
    for _ in range(house.services.limits.account.burst):
        await house.anonymous.post("/api/v1/auth/signin", {"username": "ada", "password": "wrong"})
    response = await house.anonymous.post("/api/v1/auth/signin", {"username": "ada", "password": "wrong"})
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) >= 1
    elsewhere = {"scope_base": {"client": ("10.0.0.9", 1)}}
    response = await house.anonymous.post("/api/v1/auth/signin", {"username": "ada", "password": "wrong"}, **elsewhere)
    assert response.status_code == 401


async def test_signing_out_counts_at_once(house: House, ada: Visitor) -> None:
    assert (await ada.post("/api/v1/auth/signout")).status_code == 204
    assert (await ada.get("/api/v1/auth/me")).status_code == 401


async def test_another_password_in_the_settings_signs_the_administrator_out_at_once(house: House) -> None:
    boss, ada = await house.user("boss", Role.ADMIN), await house.user("ada")
    assert (
        await boss.get("/api/v1/auth/me")
    ).status_code == 200  # Redis knows by now what was revoked, and is believed
    services, told = house.services, list[str]()

    def set_to(password: str) -> Administrator:
        return Administrator(
            "boss",
            password,
            house.database,
            house.redis,
            services.passwords,
            house.rpc,
            house.clock,
            services.rng,
            told.append,
        )

    tree = Tree(
        Supervisor("house", (Actor("administrator", set_to("another one").run, restart=Restart.TRANSIENT),)),
        rng=services.rng,
        wall_clock=lambda: house.clock.at_ms / 1000,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        await tree.shutdown()
    assert (await boss.get("/api/v1/auth/me")).status_code == 401
    assert (await ada.get("/api/v1/auth/me")).status_code == 200
    response = await house.anonymous.post("/api/v1/auth/signin", {"username": "boss", "password": "another one"})
    assert response.status_code == 200
    assert told == []


async def test_signing_out_counts_even_where_redis_is_away(house: House, ada: Visitor) -> None:
    assert (await ada.post("/api/v1/auth/signout")).status_code == 204
    house.redis.close()
    assert (await ada.get("/api/v1/auth/me")).status_code == 401


class TestRefresh:
    async def refresh(self, visitor: Visitor, token: str, **headers: str) -> Response:
        cookie = f"{ACCESS_COOKIE}={visitor.access_token}; {REFRESH_COOKIE}={token}"
        return await visitor.post("/api/v1/auth/refresh", headers={"Cookie": cookie, **headers})

    async def start(self, house: House) -> Visitor:
        return await signed_in(house, await house.anonymous.post("/api/v1/auth/signup", ADA))

    async def test_it_renews_an_expired_session(self, house: House) -> None:
        visitor = await self.start(house)
        house.clock.at_ms += (ACCESS_TTL_S + 1) * 1000
        assert (await visitor.get("/api/v1/auth/me")).status_code == 401
        response = await self.refresh(visitor, visitor.refresh_token)
        assert response.status_code == 200
        renewed = await signed_in(house, response)
        assert renewed.csrf_token == visitor.csrf_token
        assert (await renewed.get("/api/v1/auth/me")).status_code == 200

    async def test_two_tabs_may_refresh_with_the_same_token(self, house: House) -> None:
        visitor = await self.start(house)
        first = await self.refresh(visitor, visitor.refresh_token)
        house.clock.at_ms += 5_000
        second = await self.refresh(visitor, visitor.refresh_token)
        assert (first.status_code, second.status_code) == (200, 200)
        for response in (first, second):
            each = await signed_in(house, response)
            assert (await self.refresh(each, each.refresh_token)).status_code == 200

    async def test_a_replayed_token_ends_the_whole_session(self, house: House) -> None:
        visitor = await self.start(house)
        renewed = await signed_in(house, await self.refresh(visitor, visitor.refresh_token))
        house.clock.at_ms += 60_000
        assert (await self.refresh(visitor, visitor.refresh_token)).status_code == 401
        assert (await self.refresh(renewed, renewed.refresh_token)).status_code == 401
        assert (await renewed.get("/api/v1/auth/me")).status_code == 401

    async def test_a_token_of_somebody_elses_session_is_worth_nothing(self, house: House) -> None:
        visitor = await self.start(house)
        session_id = visitor.refresh_token.partition(".")[0]
        response = await self.refresh(visitor, f"{session_id}.{'A' * 43}")
        assert response.status_code == 401
        assert (await visitor.get("/api/v1/auth/me")).status_code == 200  # guessing closes nobody's session

    async def test_it_needs_the_csrf_token(self, house: House) -> None:
        visitor = await self.start(house)
        response = await self.refresh(visitor, visitor.refresh_token, **{"x-csrf-token": "wrong"})
        assert response.status_code == 403

    @pytest.mark.parametrize("token", ["", "x", "a.b", "é.x", "." * 300])
    async def test_nonsense_is_401_or_403(self, house: House, token: str) -> None:
        visitor = await self.start(house)
        assert (await self.refresh(visitor, token)).status_code in (401, 403)


class TestForgery:
    def claims(self, house: House, **changes: object) -> dict[str, object]:
        now_s = house.clock.now_ms() // 1000
        return {
            "sub": "ada",
            "name": "ada",
            "role": "admin",
            "sid": "session-ada",
            "iat": now_s,
            "exp": now_s + 600,
            **changes,
        }

    async def me(self, house: House, token: str) -> int:
        return (
            await house.anonymous.get("/api/v1/auth/me", headers={"Cookie": f"{ACCESS_COOKIE}={token}"})
        ).status_code

    async def test_another_key_is_no_signature(self, house: House, ada: Visitor) -> None:
        assert await self.me(house, jwt.encode(self.claims(house), b"x" * 32, algorithm="HS256")) == 401

    async def test_no_algorithm_is_no_signature(self, house: House, ada: Visitor) -> None:
        assert await self.me(house, jwt.encode(self.claims(house), cast("Any", None), algorithm="none")) == 401

    async def test_the_plain_secret_is_not_the_key(self, house: House, ada: Visitor) -> None:
        assert await self.me(house, jwt.encode(self.claims(house), house.services.secret, algorithm="HS256")) == 401

    async def test_an_expired_token_is_nobody(self, house: House, ada: Visitor) -> None:
        house.clock.at_ms += ACCESS_TTL_S * 1000
        assert (await ada.get("/api/v1/auth/me")).status_code == 401

    async def test_a_changed_role_breaks_the_signature(self, house: House, ada: Visitor) -> None:
        head, _, tail = ada.access_token.split(".")
        middle = base64.urlsafe_b64encode(json.dumps(self.claims(house)).encode()).rstrip(b"=").decode()
        assert await self.me(house, f"{head}.{middle}.{tail}") == 401

    @pytest.mark.parametrize("token", ["", "a.b.c", "....", "é", "x" * 10_000, '"', "null"])
    async def test_garbage_is_nobody(self, house: House, token: str) -> None:
        assert await self.me(house, token) == 401

    @pytest.mark.parametrize("name", ["X-User-Id", "X-Forwarded-User", "X-Internal-Key", "Remote-User", "Remote-Addr"])
    async def test_headers_make_nobody_somebody(self, house: House, ada: Visitor, name: str) -> None:
        assert (await house.anonymous.get("/api/v1/auth/me", headers={name: "ada"})).status_code == 401


class TestApiTokens:
    async def make(self, ada: Visitor, **more: object) -> Response:
        return await ada.post("/api/v1/auth/tokens", {"name": "laptop", **more})

    async def test_a_token_is_shown_once_and_works_without_csrf(self, house: House, ada: Visitor) -> None:
        response = await self.make(ada)
        assert response.status_code == 201
        body = await body_of(response)
        script = Visitor(house.app, headers={"Authorization": f"Bearer {body['token']}"})
        assert (await script.get("/api/v1/auth/me")).status_code == 200
        await house.contest("open")
        assert (await script.post("/api/v1/contests/open/registration")).status_code == 200
        listed = await body_of(await ada.get("/api/v1/auth/tokens"))
        assert [each["id"] for each in listed["items"]] == [body["id"]]
        assert body["token"] not in str(listed)
        rows = await house.database.fetch("SELECT * FROM api_tokens")
        assert body["token"] not in str([dict(row) for row in rows])

    async def test_a_token_cannot_make_another(self, house: House, ada: Visitor) -> None:
        token = (await body_of(await self.make(ada)))["token"]
        script = Visitor(house.app, headers={"Authorization": f"Bearer {token}"})
        assert (await self.make(script)).status_code == 403

    async def test_a_revoked_or_expired_token_is_401(self, house: House, ada: Visitor, bob: Visitor) -> None:
        made = await body_of(await self.make(ada))
        script = Visitor(house.app, headers={"Authorization": f"Bearer {made['token']}"})
        assert (await bob.request("DELETE", f"/api/v1/auth/tokens/{made['id']}")).status_code == 404
        assert (await script.get("/api/v1/auth/me")).status_code == 200
        assert (await ada.request("DELETE", f"/api/v1/auth/tokens/{made['id']}")).status_code == 204
        assert (await script.get("/api/v1/auth/me")).status_code == 401
        later = "2027-01-15T09:00:00Z"
        made = await body_of(await self.make(ada, expires_at=later))
        script.headers["Authorization"] = f"Bearer {made['token']}"
        assert (await script.get("/api/v1/auth/me")).status_code == 200
        house.clock.at_ms += 2 * 3_600_000
        assert (await script.get("/api/v1/auth/me")).status_code == 401

    @pytest.mark.parametrize("value", ["Bearer x", "Bearer cw_wrong", "Basic YTpi", "Bearer", "x" * 5000])
    async def test_a_wrong_authorization_header_is_401_even_on_open_routes(self, house: House, value: str) -> None:
        response = await house.anonymous.get("/api/v1/contests", headers={"Authorization": value})
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


class TestCsrf:
    @pytest.mark.parametrize("token", ["", "wrong", "é"])
    async def test_a_session_needs_its_token_on_unsafe_methods(self, house: House, ada: Visitor, token: str) -> None:
        await house.contest("open")
        ada.csrf_token = token
        response = await ada.post("/api/v1/contests/open/registration")
        assert response.status_code == 403

    async def test_somebody_elses_token_is_wrong(self, house: House, ada: Visitor, bob: Visitor) -> None:
        await house.contest("open")
        ada.csrf_token = bob.csrf_token
        assert (await ada.post("/api/v1/contests/open/registration")).status_code == 403


async def test_an_outdated_hash_is_replaced_when_the_password_is_known(house: House) -> None:
    from argon2 import PasswordHasher

    from contracts.messages import CreateUser

    weaker = PasswordHasher(time_cost=2, memory_cost=32, parallelism=1).hash("old but right")
    await house.rpc.call(
        "core",
        CreateUser(user_id="eve", username="eve", email="e@x.y", password_hash=weaker, role=Role.CONTESTANT),
        timeout=10,
    )
    response = await house.anonymous.post("/api/v1/auth/signin", {"username": "eve", "password": "old but right"})
    assert response.status_code == 200
    row = await house.database.fetch_one("SELECT password_hash FROM users WHERE id = 'eve'")
    assert row is not None
    assert row["password_hash"] != weaker
    visitor = await signed_in(house, response)
    assert (await visitor.get("/api/v1/auth/me")).status_code == 200
