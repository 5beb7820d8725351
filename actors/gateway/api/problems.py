"""Problems: reading them, and importing packages."""

from __future__ import annotations

from actors.gateway import problem_queries
from actors.gateway.cursors import PageQuery
from actors.gateway.routing import Answer, Call, Routes, Who
from actors.gateway.views import FindingView, ImportedProblem, ImportReport, ProblemList, ProblemView
from contracts.errors import TooLarge
from contracts.messages import ImportProblem, VerifyProblem

IMPORT_TIMEOUT_S = 30.0
VERIFY_TIMEOUT_S = 300.0

routes = Routes("problems")


@routes.add("GET", "/problems", is_cacheable=True)
async def list_problems(call: Call, query: PageQuery) -> Answer[ProblemList]:
    """The problems that the caller may see, newest first."""
    services = call.services
    return Answer(await problem_queries.problems(services.database, services.clock, query, call.caller))


@routes.add("GET", "/problems/{problem_id}", is_cacheable=True)
async def show_problem(call: Call, problem_id: str) -> Answer[ProblemView]:
    """One problem: statement, samples, limits, languages; never hidden tests."""
    services = call.services
    return Answer(
        await problem_queries.problem(services.database, services.redis, services.clock, problem_id, call.caller)
    )


@routes.add("POST", "/problems", who=Who.STAFF, status=201, limit="writes", file_field="package")
async def import_problem(call: Call, body: bytes) -> Answer[ImportedProblem]:
    """Import a problem package.

    A zip in the ICPC/Kattis format (legacy or 2023-07). Its own submissions are judged first; a package that differs from its own annotations is
    kept, but flagged. A package whose short name is known becomes the next version of that problem.
    """
    services = call.services
    if len(body) > services.limits.package:
        raise TooLarge(f"The package is larger than {services.limits.package} bytes.")
    verified = await services.rpc.call("judge", VerifyProblem(package=body), timeout=VERIFY_TIMEOUT_S)
    problem_id = await problem_queries.problem_by_slug(services.database, verified.slug) or call.new_id()
    request = ImportProblem(
        problem_id=problem_id,
        slug=verified.slug,
        title=verified.title,
        digest=verified.digest,
        package=verified.package,
        summary=verified.summary,
        is_flagged=not verified.is_clean,
        imported_by=call.user.user_id,
    )
    version = await services.rpc.call("core", request, timeout=IMPORT_TIMEOUT_S)
    findings = [FindingView(finding.level, finding.subject, finding.detail) for finding in verified.findings]
    report = ImportReport(verified.is_clean, findings)
    return Answer(ImportedProblem(problem_id, verified.title, version, report))
