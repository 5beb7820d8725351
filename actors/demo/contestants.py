"""Simulated contestants: they submit what came with the problems, wrong attempts before right ones, at a human pace."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
import trio

from actors import languages
from actors.demo.contest import load_plan
from contracts.errors import CodeWarzError
from contracts.ids import make_id
from contracts.messages import CreateUser, Register, Submit
from contracts.ports import Database, Redis, Row, Rpc, WallClock
from contracts.verdicts import Verdict
from sandbox.package import JurySubmission, ProblemPackage
from supervisor.context import Context

NAMES = (
    "mira", "tobias", "yuki", "oluwaseun", "ines", "pavel", "noor", "lakshmi", "mateo", "freya", "kwame", "elif", "jonas", "ananya", "chiara", "bao",
    "sofia", "emeka", "hana", "luca", "zainab", "andrei", "maya", "felix", "amara", "diego", "leila", "viktor", "priya", "otis",
)  # fmt: skip
PAUSE_S = (6.0, 25.0)
WRONG_FIRST = 0.45  # how often somebody tries a wrong idea first
UNUSABLE = "!"  # a password hash that no password has: nobody can sign in as a simulated contestant
CORE_TIMEOUT_S = 10.0

_log = structlog.get_logger("demo")


@dataclass(frozen=True)
class Contestants:
    """A few people who take part in the running demo contest."""

    number: int
    database: Database
    redis: Redis
    rpc: Rpc
    clock: WallClock
    rng: random.Random

    async def run(self, ctx: Context[None]) -> None:
        """Take part until everybody has solved what they can, or the contest ends."""
        ctx.ready()
        contest = await self.database.fetch_one(
            "SELECT id FROM contests WHERE title = $1 AND starts_at_ms <= $2 AND ends_at_ms > $2 ORDER BY id DESC LIMIT 1",
            load_plan()["title"],
            self.clock.now_ms(),
        )
        if contest is None:
            return
        packages = await self._packages(contest["id"])
        async with trio.open_nursery() as nursery:
            for index in range(self.number):
                name = NAMES[index % len(NAMES)] + ("" if index < len(NAMES) else str(index // len(NAMES) + 1))
                nursery.start_soon(self._take_part, contest["id"], name, packages, index, name=f"contestant {name}")

    async def _packages(self, contest_id: str) -> dict[str, ProblemPackage]:
        rows = await self.database.fetch(
            "SELECT p.problem_id, v.package FROM contest_problems p JOIN problems q ON q.id = p.problem_id"
            " JOIN problem_versions v ON v.problem_id = q.id AND v.version = q.version WHERE p.contest_id = $1 ORDER BY p.label",
            contest_id,
        )
        return {row["problem_id"]: ProblemPackage.from_bytes(row["package"]) for row in rows}

    async def _take_part(self, contest_id: str, name: str, packages: Mapping[str, ProblemPackage], index: int) -> None:
        try:
            user_id = await self._user(name)
            await self.rpc.call("core", Register(contest_id=contest_id, user_id=user_id), timeout=CORE_TIMEOUT_S)
            skill = 0.35 + 0.6 * self.rng.random()
            await trio.sleep(2 + 3 * index)
            tried = 0
            while (open_problems := await self._open(contest_id, user_id, packages, skill)) and await self._is_on(
                contest_id
            ):
                # Most go from easy to hard; now and then somebody is brave.
                brave = self.rng.random() < 0.2
                problem_id = self.rng.choice(open_problems) if brave else open_problems[0]
                await self._submit(contest_id, user_id, problem_id, packages[problem_id])
                # Problems get harder: the board moves at once, and still after a quarter of an hour.
                tried += 1
                await trio.sleep(self.rng.uniform(*PAUSE_S) * tried)
        except CodeWarzError as error:
            _log.info("contestant_left", contestant=name, reason=error.detail)

    async def _user(self, name: str) -> str:
        row = await self.database.fetch_one("SELECT id FROM users WHERE username_key = $1", name)
        if row is not None:
            return str(row["id"])
        request = CreateUser(
            user_id=make_id(self.clock.now_ms(), self.rng),
            username=name,
            email=f"{name}@contestants.invalid",
            password_hash=UNUSABLE,
        )
        return (await self.rpc.call("core", request, timeout=CORE_TIMEOUT_S)).id

    async def _is_on(self, contest_id: str) -> bool:
        row = await self.database.fetch_one("SELECT ends_at_ms FROM contests WHERE id = $1", contest_id)
        return row is not None and row["ends_at_ms"] > self.clock.now_ms()

    async def _open(
        self, contest_id: str, user_id: str, packages: Mapping[str, ProblemPackage], skill: float
    ) -> list[str]:
        """Return what somebody of this skill has yet to solve, easiest first."""
        rows = await self.database.fetch(
            "SELECT DISTINCT problem_id FROM submissions WHERE contest_id = $1 AND user_id = $2 AND (verdict IS NULL OR verdict = 'AC')",
            contest_id,
            user_id,
        )
        done = {row["problem_id"] for row in rows}
        reachable = list(packages)[: max(1, round(len(packages) * skill))]
        return [problem_id for problem_id in reachable if problem_id not in done]

    async def _submit(self, contest_id: str, user_id: str, problem_id: str, package: ProblemPackage) -> None:
        known = {offer.id for offer in await languages.offered(self.redis)}
        choices = [each for each in package.submissions if each.language in known and len(each.sources) == 1]
        right = [each for each in choices if each.expected.verdicts == (Verdict.AC,)]
        wrong = [each for each in choices if Verdict.AC not in each.expected.verdicts]
        tried = await self._attempts(contest_id, user_id, problem_id)
        is_wrong = bool(wrong) and tried < 3 and self.rng.random() < WRONG_FIRST
        pool = wrong if is_wrong else right
        if pool:
            await self._send(contest_id, user_id, problem_id, self.rng.choice(pool))

    async def _attempts(self, contest_id: str, user_id: str, problem_id: str) -> int:
        row: Row | None = await self.database.fetch_one(
            "SELECT count(*) AS many FROM submissions WHERE contest_id = $1 AND user_id = $2 AND problem_id = $3",
            contest_id,
            user_id,
            problem_id,
        )
        return 0 if row is None else int(row["many"])

    async def _send(self, contest_id: str, user_id: str, problem_id: str, jury: JurySubmission) -> None:
        submission_id = make_id(self.clock.now_ms(), self.rng)
        request = Submit(
            submission_id=submission_id,
            user_id=user_id,
            problem_id=problem_id,
            contest_id=contest_id,
            language=str(jury.language),
            source=jury.sources[0].content.decode("utf-8", "replace"),
            correlation_id=submission_id,
        )
        await self.rpc.call("core", request, timeout=CORE_TIMEOUT_S)
