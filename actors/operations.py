"""What operators may ask of a running house over its control socket, beside the supervisor's own verbs.

The socket belongs to whoever runs the house (0600 in a 0700 folder), so whoever reaches it may do everything. Each handler takes the fields and returns
what is printed; a CodeWarzError becomes the answer "no" with its sentence.
"""

from __future__ import annotations

import zipfile
from collections.abc import Awaitable, Callable
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio

from actors.boards import Boards, BoardView
from actors.projector import Log
from actors.queue_operations import QueueOperations
from actors.system import Neighbours
from contracts.errors import CodeWarzError, Invalid, NotFound
from contracts.ids import make_id
from contracts.messages import (
    AttachProblem,
    BuildBoard,
    ContestSettings,
    CreateContest,
    CreateUser,
    ImportProblem,
    Rejudge,
    Request,
    Role,
    VerifyProblem,
)
from contracts.scoring import Rules
from supervisor.errors import SupervisorError

R = TypeVar("R")
Fields = dict[str, Any]
Handler = Callable[[Fields], Awaitable[Fields]]

TIMEOUT_S = 30.0
VERIFY_TIMEOUT_S = 900.0


class AnswerIsNo(SupervisorError):
    """The request was understood and cannot be granted; the text says why."""


class Operations:
    """The verbs."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._with = neighbours

    def verbs(self) -> dict[str, Handler]:
        """Return the handlers by verb."""
        verbs = {
            "user_create": self.user_create,
            "contest_create": self.contest_create,
            "problem_import": self.problem_import,
            "rejudge": self.rejudge,
            "board_verify": self.board_verify,
            "board_rebuild": self.board_rebuild,
            **QueueOperations(self._with).verbs(),
        }
        return {verb: _answering(handler) for verb, handler in verbs.items()}

    def _new_id(self) -> str:
        return make_id(self._with.clock.now_ms(), self._with.rng)

    async def _core(self, request: Request[R]) -> R:
        return await self._with.rpc.call("core", request, timeout=TIMEOUT_S)

    async def _admin(self) -> str:
        row = await self._with.database.fetch_one("SELECT id FROM users WHERE role = 'admin' ORDER BY id LIMIT 1")
        if row is None:
            raise NotFound("there is no administrator yet: is the house still starting?")
        return str(row["id"])

    async def user_create(self, fields: Fields) -> Fields:
        """Make an account with any role."""
        request = CreateUser(
            user_id=self._new_id(),
            username=str(fields["username"]),
            email=str(fields["email"]),
            password_hash=await self._with.passwords.hash(str(fields["password"])),
            role=_choice(Role, str(fields.get("role", Role.CONTESTANT))),
        )
        user = await self._core(request)
        return {"user_id": user.id, "username": user.username, "role": str(user.role)}

    async def contest_create(self, fields: Fields) -> Fields:
        """Make a contest, with problems by slug labelled A, B, C … in the order given."""
        admin = await self._admin()
        problems = [await self._problem(str(slug)) for slug in fields.get("problems", [])]
        freeze = fields.get("freeze")
        settings = ContestSettings(
            title=str(fields["title"]),
            rules=_choice(Rules, str(fields.get("rules", Rules.ICPC))),
            starts_at_ms=_moment(str(fields["start"])),
            ends_at_ms=_moment(str(fields["end"])),
            freezes_at_ms=None if freeze is None else _moment(str(freeze)),
            description=str(fields.get("description", "")),
        )
        contest_id = self._new_id()
        await self._core(CreateContest(contest_id=contest_id, settings=settings, created_by=admin))
        for index, problem_id in enumerate(problems):
            await self._core(AttachProblem(contest_id=contest_id, problem_id=problem_id, label=_label(index)))
        return {"contest_id": contest_id, "title": settings.title, "problems": len(problems)}

    async def _problem(self, slug: str) -> str:
        row = await self._with.database.fetch_one("SELECT id FROM problems WHERE slug = $1 OR id = $1", slug)
        if row is None:
            raise NotFound(f"there is no problem {slug!r}: import it first")
        return str(row["id"])

    async def problem_import(self, fields: Fields) -> Fields:
        """Verify a package (folder or zip on this machine) and keep it as the newest version of its slug."""
        admin = await self._admin()
        package = await trio.to_thread.run_sync(_read_package, Path(str(fields["path"])))
        verified = await self._with.rpc.call("judge", VerifyProblem(package=package), timeout=VERIFY_TIMEOUT_S)
        known = await self._with.database.fetch_one("SELECT id FROM problems WHERE slug = $1", verified.slug)
        problem_id = str(known["id"]) if known else self._new_id()
        version = await self._core(
            ImportProblem(
                problem_id=problem_id,
                slug=verified.slug,
                title=verified.title,
                digest=verified.digest,
                package=verified.package,
                summary=verified.summary,
                is_flagged=not verified.is_clean,
                imported_by=admin,
            )
        )
        return {
            "problem_id": problem_id,
            "slug": verified.slug,
            "title": verified.title,
            "version": version,
            "is_clean": verified.is_clean,
            "findings": msgspec.to_builtins(verified.findings),
        }

    async def rejudge(self, fields: Fields) -> Fields:
        """Judge again by submission, problem or contest."""
        request = Rejudge(
            rejudging_id=self._new_id(),
            submission_id=fields.get("submission_id"),
            problem_id=fields.get("problem_id"),
            contest_id=fields.get("contest_id"),
            dry_run=bool(fields.get("dry_run")),
            requested_by=await self._admin(),
            correlation_id=self._new_id(),
        )
        return dict(msgspec.to_builtins(await self._core(request)))

    async def board_verify(self, fields: Fields) -> Fields:
        """Compare a contest's boards with the fold of the verdict log; ``differences`` lists contestants by view."""
        contest_id, log = str(fields["contest_id"]), Log(self._with.database)
        contest = await log.contest(contest_id)
        if contest is None:
            raise NotFound("no such contest")
        boards = Boards(self._with.redis, self._with.clock)
        names, entries = await log.names(contest_id), await log.entries(contest_id)
        found = {view.value: await boards.differences(contest, view, names, entries) for view in BoardView}
        return {
            "contest_id": contest_id,
            "equal": not any(found.values()),
            "contestants": len(names),
            "differences": found,
        }

    async def board_rebuild(self, fields: Fields) -> Fields:
        """Fold a contest's boards anew."""
        request = BuildBoard(contest_id=str(fields["contest_id"]), afresh=True)
        await self._with.rpc.call("leaderboard", request, timeout=TIMEOUT_S)
        return {"contest_id": request.contest_id}


def _answering(handler: Handler) -> Handler:
    async def answer(fields: Fields) -> Fields:
        try:
            return await handler(fields)
        except CodeWarzError as error:
            raise AnswerIsNo(error.detail) from error
        except KeyError as error:
            raise AnswerIsNo(f"the request needs {error.args[0]!r}") from error

    return answer


E = TypeVar("E", Role, Rules)


def _choice(kind: type[E], text: str) -> E:
    try:
        return kind(text)
    except ValueError:
        raise Invalid(f"{text!r} is none of {', '.join(kind)}") from None


def _moment(text: str) -> int:
    """Read an ISO 8601 time; without an offset it is this machine's local time."""
    try:
        return round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except ValueError:
        raise Invalid(f"{text!r} is no time: write it as 2026-11-23T18:00 or 2026-11-23T17:00:00Z") from None


def _label(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"P{index + 1}"


def _read_package(path: Path) -> bytes:
    """Return a package as a zip archive; a folder is packed, links are left out."""
    if path.is_file():
        return path.read_bytes()
    if not path.is_dir():
        raise NotFound(f"there is no package at {path}")
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path.rglob("*")):
            if file.is_file() and not file.is_symlink():
                archive.write(file, f"{path.name}/{file.relative_to(path)}")
    return packed.getvalue()
