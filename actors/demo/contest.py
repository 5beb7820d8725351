"""Makes a running demo contest when there is nothing else to look at."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import trio
import yaml

from actors.judge.sandboxed import verification
from actors.patience import until_done
from contracts.errors import Duplicate
from contracts.ids import make_id
from contracts.messages import AttachProblem, ContestSettings, CreateContest, ImportProblem
from contracts.ports import Database, Rpc, WallClock
from contracts.scoring import Rules
from sandbox.package_reader import load_package
from supervisor.context import Context

PROBLEMS = Path(__file__).parent / "problems"
LENGTH_MS = 5 * 3_600_000
HOUR_MS = 3_600_000
HEAD_START_MS = 10 * 60_000  # it began a little while ago, so that times look like times
FREEZE_MS = 3_600_000  # before the end
CORE_TIMEOUT_S = 30.0

_log = structlog.get_logger("demo")


def load_plan() -> dict[str, Any]:
    """Return ``problems/contest.yaml``: title, description, rules and the list of problems."""
    plan = yaml.safe_load((PROBLEMS / "contest.yaml").read_text("utf-8"))
    assert isinstance(plan, dict)
    return plan


@dataclass(frozen=True)
class DemoContest:
    """Makes the contest and ends. The next one comes at the first start after the last one's end."""

    database: Database
    rpc: Rpc
    clock: WallClock
    rng: random.Random

    async def run(self, ctx: Context[None]) -> None:
        """Make the contest unless any contest but finished demo ones is there; a neighbour that is away is waited for."""
        await until_done(ctx, self._see_to_it, "demo contest")
        ctx.ready()

    async def _see_to_it(self) -> None:
        plan = load_plan()
        others = await self.database.fetch_one(
            "SELECT 1 AS one FROM contests WHERE title <> $1 OR ends_at_ms > $2 LIMIT 1",
            plan["title"],
            self.clock.now_ms(),
        )
        if others is None:
            await self._make(plan)

    async def _make(self, plan: dict[str, Any]) -> None:
        admin = await self.database.fetch_one("SELECT id FROM users WHERE role = 'admin' ORDER BY id LIMIT 1")
        if admin is None:
            _log.error("demo_needs_an_administrator")
            return
        now_ms = self.clock.now_ms()
        contest_id = _contest_id(now_ms)
        imported = [(entry, await self._import(entry["slug"], admin["id"])) for entry in plan["problems"]]
        ends_at_ms = now_ms - HEAD_START_MS + LENGTH_MS
        settings = ContestSettings(
            title=str(plan["title"]),
            description=str(plan.get("description", "")),
            rules=Rules(str(plan.get("rules", "icpc"))),
            starts_at_ms=now_ms - HEAD_START_MS,
            ends_at_ms=ends_at_ms,
            freezes_at_ms=ends_at_ms - FREEZE_MS,
        )
        await self._ask(CreateContest(contest_id=contest_id, settings=settings, created_by=admin["id"]))
        for entry, problem_id in imported:
            await self._ask(
                AttachProblem(
                    contest_id=contest_id,
                    problem_id=problem_id,
                    label=str(entry["label"]),
                    colour=str(entry.get("colour", "")),
                    points=round(float(entry.get("points", 100)) * 100),
                )
            )
        _log.info("demo_contest_made", contest=contest_id, problems=len(imported))

    async def _import(self, slug: str, admin_id: str) -> str:
        known = await self.database.fetch_one("SELECT id FROM problems WHERE slug = $1", slug)
        problem_id = str(known["id"]) if known else make_id(self.clock.now_ms(), self.rng)
        package = await trio.to_thread.run_sync(load_package, PROBLEMS / slug)
        found = verification(package)
        request = ImportProblem(
            problem_id=problem_id,
            slug=slug,
            title=found.title,
            digest=found.digest,
            package=found.package,
            summary=found.summary,
            imported_by=admin_id,
        )
        try:
            await self._ask(request)
        except Duplicate:  # another core of this cluster does the same at this moment, and was first
            made = await self.database.fetch_one("SELECT id FROM problems WHERE slug = $1", slug)
            assert made is not None
            return str(made["id"])
        return problem_id

    async def _ask(self, request: CreateContest | AttachProblem | ImportProblem) -> None:
        await self.rpc.call("core", request, timeout=CORE_TIMEOUT_S)


def _contest_id(now_ms: int) -> str:
    """Return an identifier that all cores of a cluster which start at the same time agree on, so that they make one contest."""
    hour_ms = now_ms - now_ms % HOUR_MS
    return make_id(hour_ms, random.Random(f"demo {hour_ms}"))  # noqa: S311 - no secret
