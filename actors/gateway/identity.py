"""Who is asking: access tokens, personal API tokens, CSRF, cookies.

Rule 1: only our own signature or a stored hash makes somebody somebody. No header of the client's says who they are.
Rule 2: an access token that is forged, malformed or signed otherwise is no token at all; one that is merely expired tells whose session wants a refresh.
Rule 3: a token's role counts downwards only: whoever claims to be staff is looked up at each request.
Rule 4: signing out counts at once: the session's identifier is in Redis until its last access token has expired, under a key of whatever kind; where Redis is
        away or refuses to say, the database is asked, and a Redis that has lost its data, or our word that it has all, is taught again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
from typing import Any

import jwt
import msgspec
import structlog
from quart import Response

from contracts.errors import CodeWarzError, Unauthenticated, Unavailable
from contracts.messages import Role, User
from contracts.ports import Database, Redis, WallClock

ACCESS_COOKIE = "cw_access"
REFRESH_COOKIE = "cw_refresh"
REFRESH_PATH = "/api/v1/auth"
ACCESS_TTL_S = 600
REFRESH_TTL_S = 30 * 24 * 3600
API_TOKEN_PREFIX = "cw_"  # noqa: S105 the mark by which a leaked token is recognised, not a secret
REVOCATIONS_KEY = "session:revocations"  # our word is there, as long as Redis knows of every revocation
_KNOWS_ALL = b"1"
_BATCH = 500
_REVOKED_FOR_S = ACCESS_TTL_S + 60
_ALGORITHM = "HS256"
_TOKEN_MAX = 2048  # characters; ours have some 300

_log = structlog.get_logger("gateway")


class Caller(msgspec.Struct, frozen=True):
    """Somebody who proved who they are. ``session_id`` is None with a personal API token."""

    user_id: str
    username: str
    role: Role
    session_id: str | None = None

    @property
    def is_staff(self) -> bool:
        """Whether they may do what staff may."""
        return self.role.is_staff


class Identity(msgspec.Struct, frozen=True):
    """The outcome of looking at a request's credentials. ``expired`` is whose session ran out, to be refreshed."""

    caller: Caller | None = None
    expired: Caller | None = None
    csrf_token: str = ""


NOBODY = Identity()


def make_token(rng: random.Random) -> str:
    """Return 256 random bits, URL-safe."""
    return base64.urlsafe_b64encode(rng.getrandbits(256).to_bytes(32, "big")).rstrip(b"=").decode()


def token_hash(token: str) -> str:
    """Return what is stored of a token. It is random enough for one plain SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()


class Keys:
    """What is signed with the secret; each purpose has a key of its own."""

    def __init__(self, secret: bytes) -> None:
        self._access = hmac.digest(secret, b"access token", "sha256")
        self._csrf = hmac.digest(secret, b"csrf token", "sha256")

    def access_token(self, user: User, session_id: str, now_ms: int) -> str:
        """Return a signed token that says who has this session, for ACCESS_TTL_S."""
        now_s = now_ms // 1000
        claims: dict[str, Any] = {
            "sub": user.id,
            "name": user.username,
            "role": user.role.value,
            "sid": session_id,
            "iat": now_s,
            "exp": now_s + ACCESS_TTL_S,
        }
        return jwt.encode(claims, self._access, algorithm=_ALGORITHM)

    def read_access_token(self, token: str, now_ms: int) -> tuple[Caller, bool] | None:
        """Return the caller and whether the token has expired; None when it is not one of ours."""
        if len(token) > _TOKEN_MAX:
            return None
        try:
            # Expiry is ours to check: PyJWT would compare with the machine's clock, not with the injected one.
            claims = jwt.decode(
                token,
                self._access,
                algorithms=[_ALGORITHM],
                options={
                    "require": ["sub", "sid", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            caller = msgspec.convert(
                {
                    "user_id": claims["sub"],
                    "username": claims["name"],
                    "role": claims["role"],
                    "session_id": claims["sid"],
                },
                Caller,
            )
            return caller, int(claims["exp"]) * 1000 <= now_ms
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            return None

    def csrf_token(self, session_id: str) -> str:
        """Return the token that a page of this session sends with every unsafe request."""
        return hmac.new(self._csrf, session_id.encode(), "sha256").hexdigest()

    def is_csrf_token(self, session_id: str, token: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.csrf_token(session_id).encode(), token.encode())


def new_refresh_token(rng: random.Random, session_id: str) -> str:
    """Return the next refresh token. It names its session, so that CSRF can be checked before anything is looked up."""
    return f"{session_id}.{make_token(rng)}"


def session_of(refresh_token: str) -> str:
    """Return the session that a refresh token claims to belong to (proven only by its hash)."""
    return refresh_token.partition(".")[0]


def revoked_key(session_id: str) -> str:
    """Return the Redis key that says a session was signed out."""
    return f"session:revoked:{session_id}"


async def revoke_access(redis: Redis, *session_ids: str) -> None:
    """Make the sessions' access tokens useless now instead of when they expire."""
    for first in range(0, len(session_ids), _BATCH):
        some = session_ids[first : first + _BATCH]
        await redis.pipeline([["SET", revoked_key(each), "1", "EX", _REVOKED_FOR_S] for each in some])


async def revoke_access_of_closed(
    database: Database, redis: Redis, clock: WallClock, user_id: str | None = None
) -> None:
    """Make the access tokens useless of every session that was closed while they may still live; only somebody's, with a user."""
    since_ms = clock.now_ms() - 1000 * _REVOKED_FOR_S
    if user_id is None:
        rows = await database.fetch("SELECT id FROM sessions WHERE revoked_at_ms > $1", since_ms)
    else:
        rows = await database.fetch(
            "SELECT id FROM sessions WHERE user_id = $1 AND revoked_at_ms > $2", user_id, since_ms
        )
    await revoke_access(redis, *(row["id"] for row in rows))


class Doorkeeper:
    """Finds out who is asking, from the Authorization header or the session's cookie."""

    def __init__(self, database: Database, redis: Redis, clock: WallClock, keys: Keys) -> None:
        self._database = database
        self._redis = redis
        self._clock = clock
        self._keys = keys

    async def identify(self, authorization: str | None, access_cookie: str | None) -> Identity:
        """Return who is asking. A wrong Authorization header is an error (Unauthenticated); a wrong cookie is merely nobody."""
        if authorization is not None:
            return Identity(caller=await self._token_owner(authorization))
        if not access_cookie:
            return NOBODY
        read = self._keys.read_access_token(access_cookie, self._clock.now_ms())
        if read is None:
            return NOBODY
        caller, is_expired = read
        session_id = caller.session_id or ""
        if await self._is_revoked(session_id):
            return NOBODY
        if caller.is_staff and not is_expired:
            caller = await self._as_of_now(caller)
        csrf_token = self._keys.csrf_token(session_id)
        if is_expired:
            return Identity(expired=caller, csrf_token=csrf_token)
        return Identity(caller=caller, csrf_token=csrf_token)

    async def _as_of_now(self, caller: Caller) -> Caller:
        """Return the caller with the role that the database says: power that was taken away must not live as long as the token. Staff are few."""
        row = await self._database.fetch_one("SELECT role FROM users WHERE id = $1", caller.user_id)
        role = Role.CONTESTANT if row is None else Role(row["role"])
        return caller if role is caller.role else msgspec.structs.replace(caller, role=role)

    async def _is_revoked(self, session_id: str) -> bool:
        try:
            # MGET, because it has no word for a key of another kind: only our own word says that all revocations are there.
            is_revoked, [word] = await self._redis.pipeline(
                [["EXISTS", revoked_key(session_id)], ["MGET", REVOCATIONS_KEY]]
            )
            knows_all = word == _KNOWS_ALL
            if not knows_all:
                await self._tell_redis()
        except CodeWarzError as error:
            if not isinstance(error, Unavailable):
                _log.error("revocations_unreadable", error=error.detail)
            is_revoked, knows_all = 0, False
        if is_revoked or knows_all:
            return bool(is_revoked)
        row = await self._database.fetch_one("SELECT revoked_at_ms FROM sessions WHERE id = $1", session_id)
        return row is None or row["revoked_at_ms"] is not None

    async def _tell_redis(self) -> None:
        """Redis is new, or has lost everything: teach it again which sessions were closed while their access tokens still live."""
        await revoke_access_of_closed(self._database, self._redis, self._clock)
        await self._redis.call("SET", REVOCATIONS_KEY, _KNOWS_ALL)

    async def _token_owner(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token.startswith(API_TOKEN_PREFIX) or len(token) > _TOKEN_MAX:
            raise Unauthenticated("The Authorization header must be “Bearer” and a personal API token.")
        row = await self._database.fetch_one(
            "SELECT users.id, users.username, users.role, api_tokens.expires_at_ms FROM api_tokens JOIN users ON users.id = api_tokens.user_id"
            " WHERE api_tokens.token_hash = $1 AND api_tokens.revoked_at_ms IS NULL",
            token_hash(token),
        )
        if row is None or (row["expires_at_ms"] is not None and row["expires_at_ms"] <= self._clock.now_ms()):
            raise Unauthenticated("This API token is unknown, expired or revoked.")
        return Caller(row["id"], row["username"], Role(row["role"]))


def set_session_cookies(answer: Response, access_token: str, refresh_token: str, *, is_secure: bool) -> None:
    """Hand the session to the browser. The access cookie outlives its token: an expired one still tells a page that a refresh is worth trying."""
    answer.set_cookie(
        ACCESS_COOKIE, access_token, max_age=REFRESH_TTL_S, path="/", httponly=True, secure=is_secure, samesite="Lax"
    )
    answer.set_cookie(
        REFRESH_COOKIE,
        refresh_token,
        max_age=REFRESH_TTL_S,
        path=REFRESH_PATH,
        httponly=True,
        secure=is_secure,
        samesite="Strict",
    )


def clear_session_cookies(answer: Response, *, is_secure: bool) -> None:
    """Take the session's cookies away."""
    answer.delete_cookie(ACCESS_COOKIE, path="/", httponly=True, secure=is_secure, samesite="Lax")
    answer.delete_cookie(REFRESH_COOKIE, path=REFRESH_PATH, httponly=True, secure=is_secure, samesite="Strict")
