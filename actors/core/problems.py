"""Problems and their versions. A version never changes: judges cache it for ever."""

from __future__ import annotations

from actors.core.desk import Desk
from actors.core.people import require_staff
from contracts.errors import NotFound
from contracts.messages import GetProblem, ImportProblem, ProblemBlob
from contracts.ports import Statements


async def import_problem(desk: Desk, request: ImportProblem) -> int:
    """Keep a package as the newest version; the digest that is the newest already changes nothing."""
    await require_staff(desk, request.imported_by)
    await desk.tx.fetch("SELECT id FROM problems WHERE id = $1 FOR UPDATE", request.problem_id)  # one import at a time
    row = await desk.tx.fetch_one(
        "SELECT p.version, v.digest FROM problems p JOIN problem_versions v ON v.problem_id = p.id AND v.version = p.version"
        " WHERE p.id = $1",
        request.problem_id,
    )
    if row is not None and row["digest"] == request.digest:
        return int(row["version"])
    version = 1 if row is None else int(row["version"]) + 1
    await desk.tx.execute(
        "INSERT INTO problems (id, slug, title, version, is_public, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (id) DO UPDATE SET title = excluded.title, version = excluded.version, is_public = excluded.is_public",
        request.problem_id,
        request.slug,
        request.title,
        version,
        request.is_public,
        desk.now_ms,
    )
    await desk.tx.execute(
        "INSERT INTO problem_versions (problem_id, version, digest, package, summary, is_flagged, imported_by, imported_at_ms)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        request.problem_id,
        version,
        request.digest,
        request.package,
        request.summary,
        request.is_flagged,
        request.imported_by,
        desk.now_ms,
    )
    await desk.audit(request.imported_by, "problem.import", request.problem_id, f"version {version}")
    return version


async def get_problem(database: Statements, request: GetProblem) -> ProblemBlob:
    """Read one version's package."""
    row = await database.fetch_one(
        "SELECT digest, package FROM problem_versions WHERE problem_id = $1 AND version = $2",
        request.problem_id,
        request.version,
    )
    if row is None:
        raise NotFound(f"problem {request.problem_id} has no version {request.version}")
    return ProblemBlob(
        problem_id=request.problem_id, version=request.version, digest=row["digest"], package=row["package"]
    )
