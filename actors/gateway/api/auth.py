"""Signing up, in and out, refreshing, and personal API tokens. Nobody chooses their own role."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from quart import Response

from actors.gateway.dispatch import CSRF_HEADER
from actors.gateway.identity import (
    API_TOKEN_PREFIX,
    REFRESH_COOKIE,
    REFRESH_TTL_S,
    Keys,
    clear_session_cookies,
    make_token,
    new_refresh_token,
    revoke_access,
    session_of,
    set_session_cookies,
    token_hash,
)
from actors.gateway.limits import address_prefix
from actors.gateway.queries import api_tokens, user_by_id, user_by_login, user_view
from actors.gateway.routing import Answer, Call, Routes, Who
from actors.gateway.sentences import EMAIL, LINE, USERNAME
from actors.gateway.times import to_ms
from actors.gateway.views import ApiTokenList, NewApiToken, SessionView, iso_or_none
from contracts.errors import Conflict, Duplicate, FieldError, Forbidden, Invalid, TooMany, Unauthenticated
from contracts.messages import (
    CloseSession,
    CloseSessions,
    CreateApiToken,
    CreateUser,
    OpenSession,
    RenewPasswordHash,
    RevokeApiToken,
    RotateSession,
    User,
)

TIMEOUT_S = 10.0
WRONG = "The username, e-mail address or password is wrong."

routes = Routes("auth")

Username = Annotated[str, msgspec.Meta(min_length=2, max_length=32, pattern=USERNAME)]
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254, pattern=EMAIL)]
NewPassword = Annotated[str, msgspec.Meta(min_length=8, max_length=256)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Signup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new account: letters, digits and ``_.-`` for the name, at least 8 characters for the password."""

    username: Username
    email: Email
    password: NewPassword


class Signin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credentials; ``username`` may be the e-mail address."""

    username: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]
    password: Password


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name to recognise the token by, and when it ends (never, without ``expires_at``)."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=LINE)]
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


@routes.add("POST", "/auth/signup", status=201, limit="signup", also=(409,), is_csrf_exempt=True)
async def signup(call: Call, body: Signup) -> Answer[SessionView]:
    """Make an account and sign in.

    The role is always contestant.
    """
    services = call.services
    encoded = await services.passwords.hash(body.password)
    email = unicodedata.normalize("NFC", body.email)
    request = CreateUser(user_id=call.new_id(), username=body.username, email=email, password_hash=encoded)
    try:
        user = await services.rpc.call("core", request, timeout=TIMEOUT_S)
    except Duplicate as taken:
        field = "email" if "email" in taken.constraint else "username"
        what = "e-mail address" if field == "email" else "username"
        raise Conflict(f"This {what} is taken.", errors=(FieldError(f"/{field}", "is taken"),)) from taken
    return await _open_session(call, user)


@routes.add("POST", "/auth/signin", limit="signin", is_csrf_exempt=True)
async def signin(call: Call, body: Signin) -> Answer[SessionView]:
    """Sign in with username or e-mail address.

    A wrong name and a wrong password get the same answer after the same time.
    """
    services = call.services
    login = unicodedata.normalize("NFC", body.username)
    found = await user_by_login(services.database, login)
    user, encoded = found if found is not None else (None, None)
    # By account and not by what was typed: name and address of one account are not two licences to guess.
    guessed = login.lower() if user is None else user.id
    standing = services.limiter.take(services.limits.account, f"{address_prefix(call.address)} {guessed}")
    if standing.retry_after_s is not None:
        raise TooMany("Too many attempts; wait a little.", retry_after_s=standing.retry_after_s)
    is_right = await services.passwords.verify(encoded, body.password)
    if user is None or encoded is None or not is_right:
        raise Unauthenticated(WRONG)
    if services.passwords.is_outdated(encoded):
        stronger = await services.passwords.hash(body.password)
        renewal = RenewPasswordHash(user_id=user.id, old_hash=encoded, new_hash=stronger)
        await services.rpc.call("core", renewal, timeout=TIMEOUT_S)
    return await _open_session(call, user)


@routes.add("POST", "/auth/refresh", is_csrf_exempt=True)
async def refresh(call: Call) -> Answer[SessionView]:
    """Exchange the refresh token for the next.

    The CSRF token is the session's, checked against the session that the refresh cookie names. A token used twice revokes the session.
    """
    services, token = call.services, call.cookies.get(REFRESH_COOKIE, "")
    if not token or len(token) > 256 or not token.isascii() or "." not in token:
        raise Unauthenticated("There is no session to refresh; sign in.")
    _require_csrf(call, session_of(token))
    # Only after CSRF, which proves the session: a stranger must not be able to use up somebody else's bucket.
    standing = services.limiter.take(services.limits.refresh, session_of(token))
    if standing.retry_after_s is not None:
        raise TooMany("Too many refreshes; wait a little.", retry_after_s=standing.retry_after_s)
    following = new_refresh_token(services.rng, session_of(token))
    request = RotateSession(
        refresh_hash=token_hash(token), next_hash=token_hash(following), expires_at_ms=_refresh_expiry(call)
    )
    try:
        rotated = await services.rpc.call("core", request, timeout=TIMEOUT_S)
    except Unauthenticated:
        await _revoke_if_closed(call, session_of(token))
        raise
    return _session(call, rotated.user, rotated.session_id, following)


@routes.add("POST", "/auth/signout", who=Who.SESSION, status=204)
async def signout(call: Call) -> Answer[None]:
    """Sign out: the session and its tokens are useless at once."""
    holder = call.identity.caller or call.identity.expired
    session_id = holder.session_id if holder is not None else None
    if session_id is None:
        raise Unauthenticated("Sign in first.")
    await call.services.rpc.call("core", CloseSession(session_id=session_id), timeout=TIMEOUT_S)
    await revoke_access(call.services.redis, session_id)
    return _signed_out(call)


@routes.add("POST", "/auth/signout/everywhere", who=Who.SESSION, status=204, limit="writes")
async def signout_everywhere(call: Call) -> Answer[None]:
    """Sign out in every browser: all sessions of this account are useless at once. API tokens stay."""
    holder = call.identity.caller or call.identity.expired
    if holder is None:
        raise Unauthenticated("Sign in first.")
    closed = await call.services.rpc.call("core", CloseSessions(user_id=holder.user_id), timeout=TIMEOUT_S)
    await revoke_access(call.services.redis, *closed)
    return _signed_out(call)


def _signed_out(call: Call) -> Answer[None]:
    is_secure = call.services.is_secure_cookie
    return Answer(None, finish=lambda answer: clear_session_cookies(answer, is_secure=is_secure))


@routes.add("GET", "/auth/me", who=Who.USER)
async def me(call: Call) -> Answer[SessionView]:
    """Who is signed in, and the session's CSRF token."""
    user = await user_by_id(call.services.database, call.user.user_id)
    if user is None:
        raise Unauthenticated("This account is gone.")
    return Answer(SessionView(user_view(user), call.identity.csrf_token))


@routes.add("GET", "/auth/tokens", who=Who.USER)
async def list_tokens(call: Call) -> Answer[ApiTokenList]:
    """Own live API tokens, without their secrets."""
    return Answer(await api_tokens(call.services.database, call.user.user_id, call.now_ms))


@routes.add("POST", "/auth/tokens", who=Who.USER, status=201, limit="writes", also=(409,))
async def create_token(call: Call, body: TokenRequest) -> Answer[NewApiToken]:
    """Make a personal API token, shown this once.

    Only a signed-in session may: a stolen token must not be able to make itself a successor.
    """
    if call.user.session_id is None:
        raise Forbidden("Sign in to make API tokens; a token cannot make another.")
    expires_at_ms = None if body.expires_at is None else to_ms(body.expires_at, "/expires_at")
    if expires_at_ms is not None and expires_at_ms <= call.now_ms:
        raise Invalid("The request is not valid.", errors=(FieldError("/expires_at", "must be in the future"),))
    token, token_id = API_TOKEN_PREFIX + make_token(call.services.rng), call.new_id()
    request = CreateApiToken(
        token_id=token_id,
        user_id=call.user.user_id,
        name=body.name,
        token_hash=token_hash(token),
        expires_at_ms=expires_at_ms,
    )
    await call.services.rpc.call("core", request, timeout=TIMEOUT_S)
    return Answer(NewApiToken(token_id, body.name, token, iso_or_none(expires_at_ms)))


@routes.add("DELETE", "/auth/tokens/{token_id}", who=Who.USER, status=204, limit="writes")
async def revoke_token(call: Call, token_id: str) -> Answer[None]:
    """Revoke one of one's own API tokens."""
    request = RevokeApiToken(token_id=token_id, user_id=call.user.user_id)
    await call.services.rpc.call("core", request, timeout=TIMEOUT_S)
    return Answer(None)


def _require_csrf(call: Call, session_id: str) -> None:
    if not Keys(call.services.secret).is_csrf_token(session_id, call.headers.get(CSRF_HEADER, "")):
        raise Forbidden(f"The {CSRF_HEADER} header is missing or wrong.")


async def _revoke_if_closed(call: Call, session_id: str) -> None:
    """A refresh token used twice closed its session: its access tokens must not outlive it. The database says whether; the token alone proves nothing."""
    row = await call.services.database.fetch_one("SELECT revoked_at_ms FROM sessions WHERE id = $1", session_id)
    if row is not None and row["revoked_at_ms"] is not None:
        await revoke_access(call.services.redis, session_id)


def _refresh_expiry(call: Call) -> int:
    return call.now_ms + REFRESH_TTL_S * 1000


async def _open_session(call: Call, user: User) -> Answer[SessionView]:
    session_id = call.new_id()
    token = new_refresh_token(call.services.rng, session_id)
    request = OpenSession(
        session_id=session_id, user_id=user.id, refresh_hash=token_hash(token), expires_at_ms=_refresh_expiry(call)
    )
    await call.services.rpc.call("core", request, timeout=TIMEOUT_S)
    return _session(call, user, session_id, token)


def _session(call: Call, user: User, session_id: str, refresh_token: str) -> Answer[SessionView]:
    keys = Keys(call.services.secret)
    access_token = keys.access_token(user, session_id, call.now_ms)
    is_secure = call.services.is_secure_cookie
    finish: Callable[[Response], None] = lambda answer: set_session_cookies(  # noqa: E731 - three words of glue
        answer, access_token, refresh_token, is_secure=is_secure
    )
    return Answer(SessionView(user_view(user), keys.csrf_token(session_id)), finish=finish)
