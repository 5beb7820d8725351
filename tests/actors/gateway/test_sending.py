"""Sending code: idempotency, rate limits, what is refused."""

from __future__ import annotations

import pytest
import trio

from actors.gateway.limits import BUCKETS_MAX, Limiter, Rule, address_prefix
from actors.languages import announce
from contracts.messages import Finding, Offer, Verification
from tests.actors.gateway.conftest import House, Visitor, body_of

CODE = {"problem_id": "add", "language": "c", "source": "int main;"}


@pytest.fixture
async def practice(house: House, ada: Visitor) -> Visitor:
    await house.problem("add")
    return ada


async def count(house: House) -> int:
    row = await house.database.fetch_one("SELECT COUNT(*) AS many FROM submissions")
    assert row is not None
    return int(row["many"])


class TestIdempotency:
    KEY = {"Idempotency-Key": "key-1"}  # noqa: RUF012

    async def test_the_same_request_again_is_the_same_submission(self, house: House, practice: Visitor) -> None:
        first = await practice.post("/api/v1/submissions", CODE, headers=self.KEY)
        reordered = dict(reversed(CODE.items()))
        again = await practice.post("/api/v1/submissions", {**reordered, "contest_id": None}, headers=self.KEY)
        assert (first.status_code, again.status_code) == (202, 202)
        assert await body_of(first) == await body_of(again)
        assert await count(house) == 1

    async def test_another_body_is_422(self, house: House, practice: Visitor) -> None:
        await practice.post("/api/v1/submissions", CODE, headers=self.KEY)
        response = await practice.post("/api/v1/submissions", {**CODE, "source": "other"}, headers=self.KEY)
        assert response.status_code == 422
        assert await count(house) == 1

    async def test_two_at_once_are_one(self, house: House, practice: Visitor) -> None:
        answers = []

        async def one() -> None:
            response = await practice.post("/api/v1/submissions", CODE, headers=self.KEY)
            answers.append((response.status_code, await body_of(response)))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(one)
        assert len({str(answer) for answer in answers}) == 1
        assert answers[0][0] == 202
        assert await count(house) == 1

    async def test_two_bodies_at_once_are_one_and_a_422(self, house: House, practice: Visitor) -> None:
        statuses = []

        async def one(source: str) -> None:
            response = await practice.post("/api/v1/submissions", {**CODE, "source": source}, headers=self.KEY)
            statuses.append(response.status_code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "a")
            nursery.start_soon(one, "b")
        assert sorted(statuses) == [202, 422]
        assert await count(house) == 1

    async def test_keys_are_ones_own_and_per_route(self, house: House, practice: Visitor, bob: Visitor) -> None:
        first = await body_of(await practice.post("/api/v1/submissions", CODE, headers=self.KEY))
        second = await body_of(await bob.post("/api/v1/submissions", CODE, headers=self.KEY))
        third = await body_of(await practice.post("/api/v1/runs", CODE, headers=self.KEY))
        assert len({first["submission_id"], second["submission_id"], third["run_id"]}) == 3

    @pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
    async def test_a_bad_key_is_422(self, house: House, practice: Visitor, key: str) -> None:
        response = await practice.post("/api/v1/submissions", CODE, headers={"Idempotency-Key": key})
        assert response.status_code == 422


class TestRefusals:
    async def test_an_unknown_language_is_422_and_says_which_there_are(self, house: House, practice: Visitor) -> None:
        await announce(house.redis, "j", [Offer("c", "C", "12")])
        response = await practice.post("/api/v1/submissions", {**CODE, "language": "cobol"})
        assert response.status_code == 422
        assert (await body_of(response))["errors"] == [{"pointer": "/language", "detail": "must be one of: c"}]

    async def test_an_unknown_problem_or_contest_is_404(self, house: House, practice: Visitor) -> None:
        assert (await practice.post("/api/v1/submissions", {**CODE, "problem_id": "none"})).status_code == 404
        assert (await practice.post("/api/v1/submissions", {**CODE, "contest_id": "none"})).status_code == 404

    async def test_before_the_start_there_is_nothing_after_the_end_it_is_over(
        self, house: House, practice: Visitor
    ) -> None:
        await house.contest("open", "add", starts_in_ms=1000, length_ms=1000)
        code = {**CODE, "contest_id": "open"}
        assert (await practice.post("/api/v1/submissions", code)).status_code == 404
        house.clock.at_ms += 1000
        assert (await practice.post("/api/v1/submissions", code)).status_code == 202
        house.clock.at_ms += 1000
        assert (await practice.post("/api/v1/submissions", code)).status_code == 409

    async def test_submitting_takes_part(self, house: House, practice: Visitor) -> None:
        await house.contest("open", "add")
        await practice.post("/api/v1/submissions", {**CODE, "contest_id": "open"})
        assert (await body_of(await practice.get("/api/v1/contests/open")))["is_registered"] is True

    async def test_a_run_counts_for_nothing(self, house: House, practice: Visitor) -> None:
        response = await practice.post("/api/v1/runs", {**CODE, "stdin": "1 2"})
        assert response.status_code == 202
        run_id = (await body_of(response))["run_id"]
        assert (await body_of(await practice.get("/api/v1/submissions")))["items"] == []
        assert (await body_of(await practice.get(f"/api/v1/runs/{run_id}")))["state"] == "queued"

    async def test_an_unreachable_core_is_503_and_says_when_to_come_again(
        self, house: House, practice: Visitor
    ) -> None:
        service = house.rpc._services.pop("core")
        response = await practice.post("/api/v1/submissions", CODE)
        house.rpc._services["core"] = service
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1


class TestLimits:
    async def test_a_burst_then_429_then_again(
        self, house: House, practice: Visitor, autojump_clock: trio.testing.MockClock
    ) -> None:
        burst = house.services.limits.submissions.burst
        assert burst >= 20
        for number in range(burst):
            response = await practice.post("/api/v1/submissions", CODE)
            assert response.status_code == 202
            assert f"r={burst - 1 - number};" in response.headers["RateLimit"]
        refused = await practice.post("/api/v1/submissions", CODE)
        assert refused.status_code == 429
        assert refused.headers["RateLimit-Policy"].startswith('"submissions";q=')
        await trio.sleep(int(refused.headers["Retry-After"]))
        assert (await practice.post("/api/v1/submissions", CODE)).status_code == 202

    async def test_one_users_limit_is_not_anothers(self, house: House, practice: Visitor, bob: Visitor) -> None:
        for _ in range(house.services.limits.submissions.burst + 1):
            response = await practice.post("/api/v1/submissions", CODE)
        assert response.status_code == 429
        assert (await bob.post("/api/v1/submissions", CODE)).status_code == 202

    async def test_the_table_is_bounded(self, autojump_clock: trio.testing.MockClock) -> None:
        limiter, rule = Limiter(100), Rule("x", 1, 1.0)
        for number in range(1000):
            limiter.take(rule, str(number))
        assert len(limiter) == 100
        assert BUCKETS_MAX < 100_000

    @pytest.mark.parametrize(
        ("address", "prefix"),
        [
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("fe80::1%eth0", "fe80::/64"),
            ("<local>", "unknown"),
        ],
    )
    def test_an_address_counts_as_what_one_client_surely_owns(self, address: str, prefix: str) -> None:
        assert address_prefix(address) == prefix


class TestImports:
    async def verify(self, request: object, *, timeout: float) -> Verification:
        return Verification(
            slug="made", title="Made", digest=self.digest, package=b"p", summary=b"{}", findings=self.findings, is_clean=not self.findings
        )  # fmt: skip

    digest = "d1"
    findings: tuple[Finding, ...] = ()

    async def test_a_package_is_kept_and_its_next_version_too(self, house: House) -> None:
        form = {
            "data": b'--b\r\nContent-Disposition: form-data; name="package"; filename="p.zip"\r\n\r\nPK\r\n--b--\r\n',
            "headers": {"Content-Type": "multipart/form-data; boundary=b"},
        }
        async with house.rpc.serve("judge", self.verify):
            first = await body_of(await house.root.request("POST", "/api/v1/problems", **form))
            self.digest, self.findings = "d2", (Finding("error", "submissions/wa.c", "came out AC"),)
            second = await body_of(await house.root.request("POST", "/api/v1/problems", **form))
        assert (first["version"], second["version"]) == (1, 2)
        assert first["problem_id"] == second["problem_id"]
        assert first["report"] == {"is_clean": True, "findings": []}
        assert second["report"]["findings"][0]["subject"] == "submissions/wa.c"
        row = await house.database.fetch_one("SELECT is_flagged FROM problem_versions WHERE version = 2")
        assert row is not None
        assert row["is_flagged"]


async def test_a_rejudging_counts_then_begins(house: House, practice: Visitor) -> None:
    from contracts.messages import PersistVerdict
    from contracts.verdicts import Verdict

    submission_id = (await body_of(await practice.post("/api/v1/submissions", CODE)))["submission_id"]
    request = PersistVerdict(submission_id=submission_id, attempt=1, fencing=0, verdict=Verdict.JE, judge="j")
    await house.rpc.call("core", request, timeout=10)
    dry = await house.root.post("/api/v1/rejudgings", {"problem_id": "add", "dry_run": True})
    assert await body_of(dry) == {"rejudging_id": None, "submissions": 1}
    real = await body_of(await house.root.post("/api/v1/rejudgings", {"submission_id": submission_id}))
    assert real["submissions"] == 1
    body = await body_of(await practice.get(f"/api/v1/submissions/{submission_id}"))
    assert (body["attempt"], body["state"], body["verdict"]) == (2, "queued", None)
    assert (await house.root.post("/api/v1/rejudgings", {})).status_code == 422
