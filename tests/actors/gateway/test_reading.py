"""What is shown, to whom, and how: visibility, lists, caching, headers."""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec
import pytest

from actors.gateway import problem_details
from actors.gateway.app import CONTENT_SECURITY_POLICY
from actors.languages import announce
from contracts.errors import Unavailable
from contracts.messages import BuildBoard, Offer, PersistVerdict, Role, Submit
from contracts.scoring import Rules
from contracts.verdicts import TestResult, Verdict
from tests.actors.gateway.conftest import HOUR_MS, House, Visitor, body_of

INSIDE = "redis at 10.9.8.7:6379 refuses the user codewarz"
STRANGERS: list[dict[str, Any]] = [
    {"scope_base": {"client": ("203.0.113.9", 1)}},
    {"headers": {"X-Forwarded-For": "203.0.113.9"}},
]


async def submitted(
    house: House, submission_id: str, user: str, *, contest_id: str | None = "open", **more: object
) -> None:
    fields = {"problem_id": "add", "language": "c", "source": "int main;", "correlation_id": "c", **more}
    request = Submit(submission_id=submission_id, user_id=user, contest_id=contest_id, **fields)  # type: ignore[arg-type]
    await house.rpc.call("core", request, timeout=10)


async def judged(house: House, submission_id: str, verdict: Verdict, score: int = 0) -> None:
    tests = (TestResult(1, verdict, 10, 20, 3000, name="secret/42-tricky", message="expected 7"),)
    request = PersistVerdict(
        submission_id=submission_id,
        attempt=1,
        fencing=0,
        verdict=verdict,
        score=score,
        tests=tests,
        compile_output="warning: x",
        judge="j1",
        judge_error="box 3 broke",
    )
    assert await house.rpc.call("core", request, timeout=10) is not None


class TestProblems:
    async def test_hidden_tests_never_leave(self, house: House, ada: Visitor) -> None:
        await house.problem("add")
        for visitor in (house.anonymous, ada, house.root):
            text = await (await visitor.get("/api/v1/problems/add")).get_data()
            assert b"HIDDEN" not in text
            assert b"package" not in text
            body = msgspec.json.decode(text)
            assert [sample["input"] for sample in body["samples"]] == ["1 2\n"]

    async def test_a_contests_problems_appear_at_its_start_to_the_millisecond(self, house: House, ada: Visitor) -> None:
        await house.problem("add")
        await house.contest("open", "add", starts_in_ms=1000)
        await house.register("open", "ada")
        paths = ("/api/v1/problems/add", "/api/v1/contests/open/problems")
        for at_ms, status in ((0, 404), (999, 404), (1, 200)):
            house.clock.at_ms += at_ms
            for path in paths:
                assert (await ada.get(path)).status_code == status
            listed = await body_of(await ada.get("/api/v1/problems"))
            assert len(listed["items"]) == (status == 200)

    async def test_a_private_contests_problems_are_its_participants_only(
        self, house: House, ada: Visitor, bob: Visitor
    ) -> None:
        await house.problem("add", is_public=False)
        await house.contest("closed", "add")
        await house.register("closed", "ada")  # while it is open: nobody enters a private contest by themselves
        await house.root.request("PATCH", "/api/v1/contests/closed", json={"visibility": "private"})
        assert (await ada.get("/api/v1/problems/add")).status_code == 200
        assert (await bob.get("/api/v1/problems/add")).status_code == 404
        assert (await ada.get("/api/v1/contests/closed")).status_code == 200
        assert (await body_of(await bob.get("/api/v1/contests")))["items"] == []

    async def test_own_state_and_solvers_are_counted_but_not_behind_a_freeze(
        self, house: House, ada: Visitor, bob: Visitor
    ) -> None:
        await house.problem("add")
        await house.contest("open", "add", freezes_in_ms=1000)
        await submitted(house, "s1", "ada")
        (before,) = (await body_of(await ada.get("/api/v1/contests/open/problems")))["items"]
        await judged(house, "s1", Verdict.AC)
        house.clock.at_ms += 2000
        await submitted(house, "s2", "bob")
        await judged(house, "s2", Verdict.AC)
        (after,) = (await body_of(await bob.get("/api/v1/contests/open/problems")))["items"]
        assert (before["own"], before["solved_by"]) == ("pending", 0)
        assert (after["own"], after["solved_by"]) == ("solved", 1)

    async def test_languages_are_those_on_offer_that_the_problem_allows(self, house: House) -> None:
        await house.problem("add", languages=("c", "python"))
        body = await body_of(await house.anonymous.get("/api/v1/problems/add"))
        assert [each["id"] for each in body["languages"]] == ["c", "python"]
        await announce(house.redis, "j", [Offer("c", "C17", "gcc 12"), Offer("cpp", "C++20", "g++ 12")])
        body = await body_of(await house.anonymous.get("/api/v1/problems/add"))
        assert body["languages"] == [{"id": "c", "name": "C17", "version": "gcc 12"}]

    async def test_only_staff_learn_of_a_flag(self, house: House, ada: Visitor) -> None:
        await house.problem("add")
        assert (await body_of(await ada.get("/api/v1/problems/add")))["is_flagged"] is None
        assert (await body_of(await house.root.get("/api/v1/problems/add")))["is_flagged"] is False


class TestContests:
    async def test_its_state_follows_the_clock(self, house: House) -> None:
        await house.contest("open", starts_in_ms=10, length_ms=100, freezes_in_ms=60)
        states = []
        for _ in range(5):
            states.append((await body_of(await house.anonymous.get("/api/v1/contests/open")))["state"])
            house.clock.at_ms += 25
        assert states == ["upcoming", "running", "running", "frozen", "frozen"]
        house.clock.at_ms += 100
        assert (await body_of(await house.anonymous.get("/api/v1/contests/open")))["state"] == "finished"

    async def test_a_patch_changes_what_it_names_and_null_thaws(self, house: House) -> None:
        await house.contest("open", freezes_in_ms=1000)
        before = await body_of(await house.anonymous.get("/api/v1/contests/open"))
        response = await house.root.request("PATCH", "/api/v1/contests/open", json={"title": "New", "freeze": None})
        assert response.status_code == 200
        assert await body_of(response) == {**before, "title": "New", "freeze": None}
        response = await house.root.request("PATCH", "/api/v1/contests/open", json={})
        assert (await body_of(response))["title"] == "New"
        response = await house.root.request("PATCH", "/api/v1/contests/open", json={"end": before["start"]})
        assert response.status_code == 422
        response = await house.root.request("PATCH", "/api/v1/contests/open", json={"title": None})
        assert response.status_code == 422

    async def test_registration_is_idempotent_and_shown(self, house: House, ada: Visitor) -> None:
        await house.contest("open")
        for _ in range(2):
            assert (await ada.post("/api/v1/contests/open/registration")).status_code == 200
        body = await body_of(await ada.get("/api/v1/contests/open"))
        assert (body["is_registered"], body["participants"]) == (True, 1)
        assert (await ada.request("DELETE", "/api/v1/contests/open/registration")).status_code == 204
        assert (await body_of(await ada.get("/api/v1/contests/open")))["is_registered"] is False

    async def test_a_label_that_is_taken_is_a_conflict(self, house: House) -> None:
        await house.problem("add")
        await house.problem("sub")
        await house.contest("open", "add")
        response = await house.root.post(
            "/api/v1/contests/open/problems", {"problem_id": "sub", "label": "A", "points": 12.5}
        )
        assert response.status_code == 409
        response = await house.root.post(
            "/api/v1/contests/open/problems", {"problem_id": "sub", "label": "B", "points": 12.5}
        )
        assert (await body_of(response))["points"] == 12.5

    async def test_lists_are_paged_without_gaps_or_repeats(self, house: House) -> None:
        for number in range(7):
            await house.contest(f"c{number}", starts_in_ms=(number % 3) * 1000)
        seen, cursor = [], ""
        while True:
            body = await body_of(await house.anonymous.get(f"/api/v1/contests?limit=2{cursor}"))
            seen += [each["id"] for each in body["items"]]
            if body["next_cursor"] is None:
                break
            cursor = f"&cursor={body['next_cursor']}"
        assert seen == ["c5", "c2", "c4", "c1", "c6", "c3", "c0"]


class TestSubmissions:
    async def test_the_owner_sees_results_but_nothing_of_the_tests(self, house: House, ada: Visitor) -> None:
        await house.problem("add")
        await house.contest("open", "add")
        await submitted(house, "s1", "ada")
        waiting = await body_of(await ada.get("/api/v1/submissions/s1"))
        assert (waiting["state"], waiting["verdict"], waiting["tests"]) == ("queued", None, [])
        await judged(house, "s1", Verdict.WA)
        response = await ada.get("/api/v1/submissions/s1")
        text = await response.get_data()
        assert b"secret" not in text
        assert b"expected 7" not in text
        body = msgspec.json.decode(text)
        assert (body["state"], body["verdict"], body["source"], body["judge_error"]) == (
            "judged",
            "WA",
            "int main;",
            None,
        )
        assert body["tests"] == [{"number": 1, "verdict": "WA", "cpu_ms": 10, "wall_ms": 20, "memory_kb": 3000}]
        assert (await body_of(await house.root.get("/api/v1/submissions/s1")))["judge_error"] == "box 3 broke"

    async def test_a_list_is_ones_own_whatever_is_asked_for(self, house: House, ada: Visitor, bob: Visitor) -> None:
        await house.problem("add")
        await house.contest("open", "add")
        for number in range(5):
            await submitted(house, f"s{number}", "ada" if number % 2 else "bob")
        mine = await body_of(await ada.get("/api/v1/submissions?user_id=bob"))
        assert [each["id"] for each in mine["items"]] == ["s3", "s1"]
        everybodys = await body_of(await house.root.get("/api/v1/submissions?limit=3"))
        assert [each["id"] for each in everybodys["items"]] == ["s4", "s3", "s2"]
        rest = await body_of(await house.root.get(f"/api/v1/submissions?limit=3&cursor={everybodys['next_cursor']}"))
        assert [each["id"] for each in rest["items"]] == ["s1", "s0"]
        bobs = await body_of(await house.root.get("/api/v1/submissions?user_id=bob&contest_id=open&problem_id=add"))
        assert len(bobs["items"]) == 3
        assert (await body_of(await house.root.get("/api/v1/submissions?contest_id=other")))["items"] == []

    async def test_points_have_two_decimals_at_most(self, house: House, ada: Visitor) -> None:
        await house.problem("add")
        await house.contest("open", "add", rules=Rules.IOI)
        await submitted(house, "s1", "ada")
        await judged(house, "s1", Verdict.WA, score=33_33)
        assert (await body_of(await ada.get("/api/v1/submissions/s1")))["score"] == 33.33


class TestLeaderboard:
    async def test_it_is_built_when_somebody_looks(self, house: House, ada: Visitor, bob: Visitor) -> None:
        await house.problem("add")
        await house.contest("open", "add")
        await house.register("open", "ada", "bob")
        body = await body_of(await house.anonymous.get("/api/v1/leaderboard/open?limit=1&offset=1"))
        assert (body["total"], body["offset"], len(body["rows"])) == (2, 1, 1)
        body = await body_of(await house.anonymous.get("/api/v1/leaderboard/open/users/bob?around=0"))
        assert [row["user_id"] for row in body["rows"]] == ["bob"]
        assert (await house.anonymous.get("/api/v1/leaderboard/open/users/nobody")).status_code == 404

    async def test_scores_of_an_ioi_contest_are_points(self, house: House, ada: Visitor) -> None:
        await house.problem("add")
        await house.contest("open", "add", rules=Rules.IOI)
        await submitted(house, "s1", "ada")
        await judged(house, "s1", Verdict.WA, score=12_50)
        await house.rpc.call("leaderboard", BuildBoard(contest_id="open", afresh=True), timeout=5)
        (row,) = (await body_of(await house.anonymous.get("/api/v1/leaderboard/open")))["rows"]
        assert (row["score"], row["cells"]["add"]["score"]) == (12.5, 12.5)


class TestCaching:
    @pytest.mark.parametrize(
        "path",
        [
            "/api/v1/contests",
            "/api/v1/contests/open",
            "/api/v1/problems",
            "/api/v1/leaderboard/open",
            "/api/v1/openapi.json",
        ],
    )
    async def test_an_unchanged_answer_is_304(self, house: House, path: str) -> None:
        await house.contest("open")
        first = await house.anonymous.get(path)
        etag = first.headers["ETag"]
        assert first.headers["Cache-Control"] == "no-cache"
        for given in (etag, f'"x", W/{etag}', "*"):
            again = await house.anonymous.get(path, headers={"If-None-Match": given})
            assert (again.status_code, await again.get_data()) == (304, b"")
            assert again.headers["ETag"] == etag
        assert (await house.anonymous.get(path, headers={"If-None-Match": '"x"'})).status_code == 200

    async def test_a_changed_answer_has_another_tag(self, house: House) -> None:
        await house.contest("open")
        etag = (await house.anonymous.get("/api/v1/contests/open")).headers["ETag"]
        await house.root.request("PATCH", "/api/v1/contests/open", json={"title": "New"})
        response = await house.anonymous.get("/api/v1/contests/open", headers={"If-None-Match": etag})
        assert response.status_code == 200

    async def test_what_is_for_one_reader_is_not_stored(self, house: House, ada: Visitor) -> None:
        await house.contest("open")
        for path in ("/api/v1/contests", "/api/v1/auth/me", "/api/v1/submissions", "/api/v1/contests/open"):
            assert (await ada.get(path)).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/api/v1/contests", "/api/v1/nothing", "/", "/nothing", "/health/live", "/signin"])
async def test_every_answer_has_the_security_headers(house: House, path: str) -> None:
    headers = (await house.anonymous.get(path)).headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["x-correlation-id"]
    assert "Server" not in headers


class TestHealth:
    async def test_live_and_ready(self, house: House) -> None:
        assert await body_of(await house.anonymous.get("/health/live")) == {"status": "ok", "version": "1.2.3"}
        response = await house.anonymous.get("/health/ready")
        assert (response.status_code, await body_of(response)) == (
            200,
            {"status": "ok", "checks": {"database": "ok", "redis": "ok", "tree": "ok"}},
        )

    async def test_not_ready_says_why(self, house: House) -> None:
        house.redis.close()
        response = await house.anonymous.get("/health/ready")
        assert response.status_code == 503
        assert (await body_of(response))["checks"]["redis"] == "redis is closed"

    @pytest.mark.parametrize("stranger", STRANGERS, ids=["from elsewhere", "through a proxy here"])
    async def test_strangers_hear_what_is_away_and_nothing_of_the_inside(
        self, house: House, stranger: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ready = await house.anonymous.get("/health/ready", **stranger)
        assert (await body_of(ready))["checks"] == {"database": "ok", "redis": "ok", "tree": "ok"}

        async def away(*_: object, **__: object) -> NoReturn:
            raise Unavailable(INSIDE)

        monkeypatch.setattr(house.database, "fetch_one", away)
        monkeypatch.setattr(house.redis, "call", away)
        ready = await house.anonymous.get("/health/ready", **stranger)
        assert ready.status_code == 503
        assert (await body_of(ready))["checks"] == {"database": "away", "redis": "away", "tree": "ok"}
        local = await house.anonymous.get("/health/ready")
        assert (await body_of(local))["checks"] == {"database": INSIDE, "redis": INSIDE, "tree": "ok"}
        for path in ("/health/outbox", "/health/circuit-breakers", "/api/v1/contests/open"):
            refused = await house.anonymous.get(path, **stranger)
            assert (refused.status_code, (await body_of(refused))["detail"]) == (503, problem_details.AWAY), path
            local = await house.anonymous.get(path)
            assert (local.status_code, (await body_of(local))["detail"]) == (503, INSIDE), path
        page = await house.anonymous.get("/contests/open", **stranger)
        assert page.status_code == 503
        assert "10.9.8.7" not in str(await page.get_data())

    @pytest.mark.parametrize("stranger", STRANGERS, ids=["from elsewhere", "through a proxy here"])
    async def test_what_everybody_may_see(self, house: House, stranger: dict[str, Any]) -> None:
        for path in ("/health/live", "/health/ready", "/health/outbox", "/health/circuit-breakers"):
            found = await body_of(await house.anonymous.get(path, **stranger))
            assert found == await body_of(await house.anonymous.get(path)), path

    async def test_the_outbox(self, house: House, ada: Visitor) -> None:
        await house.problem("add")
        assert await body_of(await house.anonymous.get("/health/outbox")) == {"waiting": 0, "parked": 0, "oldest_ms": 0}
        await submitted(house, "s1", "ada", contest_id=None)
        house.clock.at_ms += 1500
        assert await body_of(await house.anonymous.get("/health/outbox")) == {
            "waiting": 1,
            "parked": 0,
            "oldest_ms": 1500,
        }

    async def test_breakers(self, house: House) -> None:
        assert await body_of(await house.anonymous.get("/health/circuit-breakers")) == {"items": []}

    async def test_metrics_are_for_this_machine(self, house: House) -> None:
        assert (await house.anonymous.get("/metrics")).status_code == 200
        response = await house.anonymous.get("/metrics", scope_base={"client": ("203.0.113.9", 1)})
        assert response.status_code == 403
        response = await house.anonymous.get(
            "/metrics", headers={"X-Forwarded-For": "127.0.0.1"}, scope_base={"client": ("203.0.113.9", 1)}
        )
        assert response.status_code == 403


async def test_staff_are_not_admins_but_may_look(house: House) -> None:
    sam = await house.user("sam", Role.STAFF)
    await house.contest("closed", is_public=False, starts_in_ms=HOUR_MS)
    assert (await sam.get("/api/v1/contests/closed")).status_code == 200
