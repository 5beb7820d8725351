"""What a hostile contestant, a hostile stranger and a hostile member of the staff tried, and what came of it."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from argon2 import PasswordHasher

from actors.gateway.bodies import BoundedBody
from actors.gateway.sse import CREDENTIALS_AGE_S, StreamLimits
from contracts.messages import CreateUser, Role, Submit
from tests.actors.gateway.conftest import HOUR_MS, House, Visitor, body_of
from tests.actors.gateway.test_auth import ADA, signed_in
from tests.actors.gateway.test_streams import opened

SIGNIN = "/api/v1/auth/signin"
SIGNUP = "/api/v1/auth/signup"


class TestStrongerHashes:
    async def eve(self, house: House) -> None:
        weaker = PasswordHasher(time_cost=2, memory_cost=32, parallelism=1).hash("old but right")
        request = CreateUser(user_id="eve", username="eve", email="e@x.y", password_hash=weaker)
        await house.rpc.call("core", request, timeout=10)

    async def test_renewing_a_hash_signs_nobody_out(self, house: House) -> None:
        credentials = {"username": "eve", "password": "old but right"}
        await self.eve(house)
        row = await house.database.fetch_one("SELECT password_hash FROM users WHERE id = 'eve'")
        assert row is not None
        at_home = await signed_in(house, await house.anonymous.post(SIGNIN, credentials))
        # The hash is weak again: the parameters were raised once more.
        await house.database.execute("UPDATE users SET password_hash = $1 WHERE id = 'eve'", row["password_hash"])
        await house.anonymous.post(SIGNIN, credentials)
        row = await house.database.fetch_one("SELECT revoked_at_ms FROM sessions WHERE user_id = 'eve' ORDER BY id")
        assert row is not None
        assert row["revoked_at_ms"] is None
        assert (await at_home.get("/api/v1/auth/me")).status_code == 200

    async def test_a_password_that_was_changed_meanwhile_stays_changed(self, house: House) -> None:
        await self.eve(house)
        hash_now = house.services.passwords.hash

        async def slowly(password: str) -> str:
            stronger = await hash_now(password)
            await house.database.execute("UPDATE users SET password_hash = 'a new password' WHERE id = 'eve'")
            return stronger

        house.services.passwords.hash = slowly  # type: ignore[method-assign]
        await house.anonymous.post(SIGNIN, {"username": "eve", "password": "old but right"})
        row = await house.database.fetch_one("SELECT password_hash FROM users WHERE id = 'eve'")
        assert row is not None
        assert row["password_hash"] == "a new password"


class TestLimits:
    async def test_an_account_of_ones_own_gives_no_more_tries_at_those_of_others(self, house: House) -> None:
        accounts = [await house.user(f"sock{number}") for number in range(3)]
        statuses = []
        for number in range(house.services.limits.signin.burst + 1):
            puppet = accounts[number % len(accounts)]
            response = await puppet.post(SIGNIN, {"username": f"victim{number}", "password": "guess"})
            statuses.append(response.status_code)
        assert statuses[-1] == 429

    async def test_name_and_address_of_an_account_are_not_two_licences_to_guess(
        self, house: House, ada: Visitor
    ) -> None:
        statuses = []
        for number in range(house.services.limits.account.burst + 1):
            login = ("ada", "Ada@Example.org")[number % 2]
            response = await house.anonymous.post(SIGNIN, {"username": login, "password": "guess"})
            statuses.append(response.status_code)
        assert statuses[-1] == 429

    async def test_each_new_account_is_no_new_licence_to_make_accounts(self, house: House) -> None:
        statuses, visitor = [], house.anonymous
        for number in range(house.services.limits.signup.burst + 1):
            account = {**ADA, "username": f"sock{number}", "email": f"sock{number}@example.org"}
            response = await visitor.post(SIGNUP, account)
            statuses.append(response.status_code)
            if response.status_code == 201:
                visitor = await signed_in(house, response)
        assert statuses[-1] == 429

    async def test_refreshing_in_a_loop_is_slowed_down(self, house: House) -> None:
        visitor = await signed_in(house, await house.anonymous.post(SIGNUP, ADA))
        statuses = set()
        for _ in range(house.services.limits.refresh.burst + 1):
            cookie = f"cw_access={visitor.access_token}; cw_refresh={visitor.refresh_token}"
            response = await visitor.post("/api/v1/auth/refresh", headers={"Cookie": cookie})
            statuses.add(response.status_code)
        assert statuses == {200, 429}
        assert int(response.headers["Retry-After"]) >= 1


class TestPrivateContests:
    async def test_their_problems_are_nobody_elses_while_they_run(self, house: House, ada: Visitor) -> None:
        await house.problem("exam")
        await house.contest("closed", "exam", is_public=False)
        for visitor in (house.anonymous, ada):
            assert (await visitor.get("/api/v1/problems/exam")).status_code == 404
            assert (await visitor.get("/problems/exam")).status_code == 404
            assert (await body_of(await visitor.get("/api/v1/problems")))["items"] == []
        answer = {"problem_id": "exam", "language": "c", "source": "x"}
        for route in ("submissions", "runs"):
            assert (await ada.post(f"/api/v1/{route}", answer)).status_code == 404

    async def test_whoever_is_in_one_sees_them_and_afterwards_everybody_practises(
        self, house: House, ada: Visitor
    ) -> None:
        await house.problem("exam")
        await house.contest("closed", "exam", is_public=False)
        await house.database.execute("INSERT INTO registrations VALUES ('closed', 'ada', 1)")
        assert (await ada.get("/api/v1/problems/exam")).status_code == 200
        house.clock.at_ms += HOUR_MS
        eve = {**ADA, "username": "eve"} | {"email": "eve@example.org"}
        bob = await signed_in(house, await house.anonymous.post(SIGNUP, eve))
        assert (await bob.get("/api/v1/problems/exam")).status_code == 200

    async def test_core_says_nothing_of_one_either(self, house: House, ada: Visitor) -> None:
        from contracts.errors import NotFound

        await house.problem("exam")
        await house.contest("closed", "exam", is_public=False)
        request = Submit(
            submission_id="s", user_id="ada", problem_id="exam", language="c", source="x", correlation_id="c"
        )
        with pytest.raises(NotFound):
            await house.rpc.call("core", request, timeout=10)


class TestRoles:
    async def test_somebody_who_is_no_longer_staff_is_not_staff_for_ten_minutes_more(self, house: House) -> None:
        sam = await house.user("sam", Role.STAFF)
        await house.contest("closed", is_public=False)
        assert (await sam.get("/api/v1/contests/closed")).status_code == 200
        await house.database.execute("UPDATE users SET role = 'contestant' WHERE id = 'sam'")
        assert (await sam.get("/api/v1/contests/closed")).status_code == 404
        assert (await sam.request("PATCH", "/api/v1/contests/closed", json={"title": "Mine"})).status_code == 403
        assert (await sam.get("/api/v1/auth/me")).status_code == 200


class TestTwoChangesAtOnce:
    async def test_changes_to_different_settings_both_count(self, house: House) -> None:
        await house.contest("open")
        changes = [{"title": "New"}, {"description": "Newer"}, {"visibility": "private"}, {"rules": "ioi"}]
        statuses = []

        async def change(body: dict[str, str]) -> None:
            statuses.append((await house.root.request("PATCH", "/api/v1/contests/open", json=body)).status_code)

        async with trio.open_nursery() as nursery:
            for body in changes:
                nursery.start_soon(change, body)
        assert statuses == [200] * len(changes)
        found = await body_of(await house.root.get("/api/v1/contests/open"))
        assert {key: found[key] for body in changes for key in body} == {
            key: value for body in changes for key, value in body.items()
        }

    async def test_with_if_match_nobody_overwrites_what_they_have_not_seen(self, house: House) -> None:
        await house.contest("open")

        async def change(title: str, etag: str) -> tuple[int, str]:
            headers = {"If-Match": etag}
            answer = await house.root.request("PATCH", "/api/v1/contests/open", json={"title": title}, headers=headers)
            return answer.status_code, answer.headers.get("ETag", "")

        seen = (await house.root.get("/api/v1/contests/open")).headers["ETag"]
        status, newer = await change("Mine", seen)
        assert status == 200
        assert (await change("Yours", seen))[0] == 412
        assert (await change("Yours", f"W/{newer}"))[0] == 412
        assert (await body_of(await house.root.get("/api/v1/contests/open")))["title"] == "Mine"
        assert (await change("Yours", newer))[0] == 200
        assert (await change("Anyway", "*"))[0] == 200


@pytest.mark.parametrize("places", [16, 896, 10_000])
def test_streams_never_take_every_connection(places: int) -> None:
    limits = StreamLimits.within(places)
    assert 0 < limits.per_address < limits.total < places


async def test_a_refused_body_is_not_kept_in_memory(autojump_clock: trio.testing.MockClock) -> None:
    body = BoundedBody(None, 1 << 25)
    body.append(b"x" * 1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(body.linger_if_sending)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(100):
            body.append(b"x" * 1000)
        assert len(body._data) == 0


class TestSigningOutEverywhere:
    async def sign_in(self, house: House) -> Visitor:
        credentials = {"username": "ada", "password": "ada's secret"}
        return await signed_in(house, await house.anonymous.post(SIGNIN, credentials))

    async def test_it_ends_every_session_at_once_and_nobody_elses(
        self, house: House, ada: Visitor, bob: Visitor
    ) -> None:
        thief, victim = await self.sign_in(house), await self.sign_in(house)
        assert (await victim.post("/api/v1/auth/signout/everywhere")).status_code == 204
        for visitor in (thief, victim, ada):
            assert (await visitor.get("/api/v1/auth/me")).status_code == 401
        cookie = f"cw_access={thief.access_token}; cw_refresh={thief.refresh_token}"
        assert (await thief.post("/api/v1/auth/refresh", headers={"Cookie": cookie})).status_code == 401
        assert (await bob.get("/api/v1/auth/me")).status_code == 200
        again = await self.sign_in(house)
        assert (await again.get("/api/v1/auth/me")).status_code == 200

    async def test_another_site_cannot_do_it_for_you(self, house: House, ada: Visitor) -> None:
        ada.csrf_token = ""
        assert (await ada.post("/api/v1/auth/signout/everywhere")).status_code == 403


@pytest.mark.parametrize(("contest_id", "query"), [("open", "?view=jury"), ("closed", "")])
async def test_a_stream_that_took_credentials_lasts_no_longer_than_they_do(
    house: House, autojump_clock: trio.testing.MockClock, contest_id: str, query: str
) -> None:
    await house.contest("open")
    await house.contest("closed", is_public=False)
    async with opened(house.root, f"/api/v1/leaderboard/stream/{contest_id}{query}") as stream:
        await stream.next()
        began = trio.current_time()
        with pytest.raises(trio.EndOfChannel):
            await stream.next(timeout=2 * CREDENTIALS_AGE_S)
        assert trio.current_time() - began <= 1.2 * CREDENTIALS_AGE_S


async def test_a_long_address_does_not_become_a_longer_header(house: House) -> None:
    response = await house.anonymous.get("/submissions?x=" + "%41" * 4000)
    assert response.status_code == 303
    assert response.headers["Location"] == "/signin?next=/submissions"
    response = await house.anonymous.get("/submissions?verdict=AC")
    assert response.headers["Location"] == "/signin?next=/submissions%3Fverdict%3DAC"
