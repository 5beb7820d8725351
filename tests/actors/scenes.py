"""People, problems and contests that tests of several actors start from."""

from __future__ import annotations

from contracts.messages import (
    AttachProblem,
    ContestSettings,
    CreateContest,
    CreateUser,
    ImportProblem,
    Role,
    Submit,
)
from contracts.ports import Rpc
from contracts.scoring import Rules
from tests.conftest import Clock

HOUR_MS = 3_600_000
CONTEST, PROBLEM = "contest-1", "problem-1"


async def people(rpc: Rpc) -> None:
    """Make ada and bob, contestants, and root, an administrator; identifiers equal names."""
    for name, role in (("ada", Role.CONTESTANT), ("bob", Role.CONTESTANT), ("root", Role.ADMIN)):
        request = CreateUser(
            user_id=name, username=name.title(), email=f"{name}@example.org", password_hash="x", role=role
        )
        await rpc.call("core", request, timeout=10)


async def problem(
    rpc: Rpc, problem_id: str = PROBLEM, *, digest: str = "d1", is_public: bool = True, imported_by: str = "root"
) -> None:
    """Import a problem whose package is three bytes."""
    request = ImportProblem(
        problem_id=problem_id,
        slug=problem_id,
        title=problem_id.title(),
        digest=digest,
        package=b"zip",
        summary=b"{}",
        is_public=is_public,
        imported_by=imported_by,
    )
    await rpc.call("core", request, timeout=10)


async def contest(rpc: Rpc, clock: Clock, *, starts_in_ms: int = -HOUR_MS, length_ms: int = 2 * HOUR_MS) -> None:
    """Make a contest, by default in its middle, with the problem as A."""
    start = clock.now_ms() + starts_in_ms
    settings = ContestSettings(title="Open", rules=Rules.ICPC, starts_at_ms=start, ends_at_ms=start + length_ms)
    await rpc.call("core", CreateContest(contest_id=CONTEST, settings=settings, created_by="root"), timeout=10)
    await rpc.call("core", AttachProblem(contest_id=CONTEST, problem_id=PROBLEM, label="A"), timeout=10)


async def running_contest(rpc: Rpc, clock: Clock, *, length_ms: int = 2 * HOUR_MS) -> None:
    """Make all three."""
    await people(rpc)
    await problem(rpc)
    await contest(rpc, clock, length_ms=length_ms)


def submission(number: int, user: str = "ada", **changes: object) -> Submit:
    """Return a submission to the contest's problem."""
    fields: dict[str, object] = {
        "submission_id": f"s{number}",
        "user_id": user,
        "problem_id": PROBLEM,
        "contest_id": CONTEST,
        "language": "python",
        "source": "print(1)",
        "correlation_id": f"c{number}",
    }
    return Submit(**{**fields, **changes})  # type: ignore[arg-type]
