"""Reads of people and contests: SQL and visibility rules in, the API's shape out. Pages use the same functions for their first paint.

Who may see what (``viewer`` None is anonymous):
- a contest that is not public: staff, and whoever is registered for it;
- its problems: staff, and from its start whoever may see it.
"""

from __future__ import annotations

from actors.gateway.cursors import PageQuery, decode_cursor, encode_cursor
from actors.gateway.identity import Caller
from actors.gateway.views import ApiTokenList, ApiTokenView, ContestList, ContestView, UserView, iso, iso_or_none
from contracts.errors import NotFound
from contracts.messages import ContestSettings, Role, User
from contracts.ports import Database, Row, Sql, WallClock
from contracts.scoring import Rules

NO_CONTEST = "There is no such contest."
# Where a login may read only some of a table's columns (contracts/logins.py), they are named: ``*`` would be refused.
_ACCOUNT = "id, username, email, role, created_at_ms"


class Parameters:
    """Collects the values of ``$1``, ``$2``, … while a query's text is put together."""

    def __init__(self) -> None:
        self.values: list[Sql] = []

    def add(self, value: Sql) -> str:
        """Return the placeholder of a value."""
        self.values.append(value)
        return f"${len(self.values)}"


def user_view(user: User) -> UserView:
    """Return somebody as they see themselves."""
    return UserView(user.id, user.username, user.email, user.role, iso(user.created_at_ms))


async def user_by_id(database: Database, user_id: str) -> User | None:
    """Return an account."""
    row = await database.fetch_one(f"SELECT {_ACCOUNT} FROM users WHERE id = $1", user_id)  # noqa: S608 - a constant
    return None if row is None else _user(row)


async def user_by_login(database: Database, login: str) -> tuple[User, str] | None:
    """Return the account that signs in as ``login`` (username or e-mail, without case) and its password's hash."""
    column = "email_key" if "@" in login else "username_key"
    text = f"SELECT {_ACCOUNT}, password_hash FROM users WHERE {column} = $1"  # noqa: S608 - one of two words
    row = await database.fetch_one(text, login.lower())
    return None if row is None else (_user(row), row["password_hash"])


def _user(row: Row) -> User:
    return User(
        id=row["id"],
        username=row["username"],
        email=row["email"],
        role=Role(row["role"]),
        created_at_ms=row["created_at_ms"],
    )


async def api_tokens(database: Database, user_id: str, now_ms: int) -> ApiTokenList:
    """Return somebody's live API tokens (core allows 20), newest first."""
    rows = await database.fetch(
        "SELECT id, name, created_at_ms, expires_at_ms FROM api_tokens"
        " WHERE user_id = $1 AND revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > $2)"
        " ORDER BY id DESC LIMIT 100",
        user_id,
        now_ms,
    )
    return ApiTokenList(
        [
            ApiTokenView(row["id"], row["name"], iso(row["created_at_ms"]), iso_or_none(row["expires_at_ms"]))
            for row in rows
        ]
    )


def contest_state(row: Row, now_ms: int) -> str:
    """Return upcoming, running, frozen or finished."""
    if now_ms < row["starts_at_ms"]:
        return "upcoming"
    if now_ms >= row["ends_at_ms"]:
        return "finished"
    freeze = row["freezes_at_ms"]
    return "frozen" if freeze is not None and now_ms >= freeze else "running"


def contest_visible(viewer: Caller | None, parameters: Parameters, contest: str = "c") -> str:
    """Return the SQL condition under which ``viewer`` may know of a contest."""
    if viewer is not None and viewer.is_staff:
        return "1 = 1"
    if viewer is None:
        return f"{contest}.is_public"
    user = parameters.add(viewer.user_id)
    return (
        f"({contest}.is_public OR EXISTS (SELECT 1 FROM registrations seen"  # noqa: S608 - placeholders only
        f" WHERE seen.contest_id = {contest}.id AND seen.user_id = {user}))"
    )


async def contest_row(database: Database, contest_id: str, viewer: Caller | None) -> Row:
    """Return a contest's row; NotFound when there is none that ``viewer`` may know of."""
    parameters = Parameters()
    text = f"SELECT c.* FROM contests c WHERE c.id = {parameters.add(contest_id)} AND {contest_visible(viewer, parameters)}"  # noqa: S608
    row = await database.fetch_one(text, *parameters.values)
    if row is None:
        raise NotFound(NO_CONTEST)
    return row


async def contest_rules(database: Database, contest_id: str) -> Rules:
    """Return how a contest is scored now."""
    row = await database.fetch_one("SELECT rules FROM contests WHERE id = $1", contest_id)
    if row is None:
        raise NotFound(NO_CONTEST)
    return Rules(row["rules"])


def settings_of(row: Row) -> ContestSettings:
    """Return what staff chose of a contest."""
    return ContestSettings(
        title=row["title"],
        rules=Rules(row["rules"]),
        starts_at_ms=row["starts_at_ms"],
        ends_at_ms=row["ends_at_ms"],
        freezes_at_ms=row["freezes_at_ms"],
        description=row["description"],
        is_public=bool(row["is_public"]),
    )


_CONTEST = (
    "SELECT c.*, (SELECT COUNT(*) FROM registrations r WHERE r.contest_id = c.id) AS participants,"
    " (SELECT COUNT(*) FROM registrations r WHERE r.contest_id = c.id AND r.user_id = {user}) AS is_registered FROM contests c"
)


def _contest_view(row: Row, now_ms: int) -> ContestView:
    return ContestView(
        id=row["id"],
        title=row["title"],
        description=row["description"],
        rules=Rules(row["rules"]),
        state=contest_state(row, now_ms),
        start=iso(row["starts_at_ms"]),
        end=iso(row["ends_at_ms"]),
        freeze=iso_or_none(row["freezes_at_ms"]),
        visibility="public" if row["is_public"] else "private",
        participants=row["participants"],
        is_registered=bool(row["is_registered"]),
    )


async def contest(database: Database, clock: WallClock, contest_id: str, viewer: Caller | None) -> ContestView:
    """Return a contest; NotFound when there is none that ``viewer`` may know of."""
    parameters = Parameters()
    select = _CONTEST.format(user=parameters.add("" if viewer is None else viewer.user_id))
    text = f"{select} WHERE c.id = {parameters.add(contest_id)} AND {contest_visible(viewer, parameters)}"
    row = await database.fetch_one(text, *parameters.values)
    if row is None:
        raise NotFound(NO_CONTEST)
    return _contest_view(row, clock.now_ms())


async def contests(database: Database, clock: WallClock, page: PageQuery, viewer: Caller | None) -> ContestList:
    """Return one page of the contests that ``viewer`` may know of, the latest start first."""
    parameters = Parameters()
    text = _CONTEST.format(user=parameters.add("" if viewer is None else viewer.user_id))
    text += f" WHERE {contest_visible(viewer, parameters)}"
    if page.cursor is not None:
        start, last = decode_cursor(page.cursor, tuple[int, str])
        at = parameters.add(max(-(2**53), min(start, 2**53)))
        text += f" AND (c.starts_at_ms < {at} OR (c.starts_at_ms = {at} AND c.id < {parameters.add(last)}))"
    text += f" ORDER BY c.starts_at_ms DESC, c.id DESC LIMIT {page.limit + 1}"
    rows = await database.fetch(text, *parameters.values)
    now_ms = clock.now_ms()
    next_cursor = None
    if len(rows) > page.limit:
        rows = rows[: page.limit]
        next_cursor = encode_cursor(rows[-1]["starts_at_ms"], rows[-1]["id"])
    return ContestList([_contest_view(row, now_ms) for row in rows], next_cursor)
