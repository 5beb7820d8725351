"""Accounts, sessions and API tokens.

A session is a family of refresh tokens. Each is good once; using it again within LEEWAY_MS gives that caller a token of its own (two tabs refresh at the same
moment), using it later means that somebody stole it, and revokes the family.
"""

from __future__ import annotations

from actors.core.desk import Desk
from contracts.errors import Conflict, Duplicate, Forbidden, NotFound, Unauthenticated
from contracts.messages import (
    CloseSession,
    CloseSessions,
    CreateApiToken,
    CreateUser,
    OpenSession,
    RenewPasswordHash,
    RevokeApiToken,
    Role,
    Rotated,
    RotateSession,
    SetPassword,
    User,
)
from contracts.ports import Row

LEEWAY_MS = 15_000
API_TOKENS_MOST = 20


def user_from(row: Row) -> User:
    """Read a row of ``users``."""
    return User(
        id=row["id"],
        username=row["username"],
        email=row["email"],
        role=Role(row["role"]),
        created_at_ms=row["created_at_ms"],
    )


async def require_staff(desk: Desk, user_id: str) -> None:
    """Raise Forbidden unless the user is staff. Whoever asks has checked it; core is the last line."""
    row = await desk.tx.fetch_one("SELECT role FROM users WHERE id = $1", user_id)
    if row is None or not Role(row["role"]).is_staff:
        raise Forbidden("only staff may do this")


async def create_user(desk: Desk, request: CreateUser) -> User:
    """Make an account; the same request again replies the same."""
    known = await desk.tx.fetch_one("SELECT * FROM users WHERE id = $1", request.user_id)
    if known is not None:
        return user_from(known)
    try:
        await desk.tx.execute(
            "INSERT INTO users (id, username, username_key, email, email_key, password_hash, role, created_at_ms)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            request.user_id,
            request.username,
            request.username.lower(),
            request.email,
            request.email.lower(),
            request.password_hash,
            request.role,
            desk.now_ms,
        )
    except Duplicate as taken:
        what = "e-mail address" if "email" in taken.constraint else "username"
        raise Duplicate(f"this {what} is taken: choose another, or sign in", taken.constraint) from taken
    return User(
        id=request.user_id,
        username=request.username,
        email=request.email,
        role=request.role,
        created_at_ms=desk.now_ms,
    )


async def set_password(desk: Desk, request: SetPassword) -> None:
    """Replace a password; whoever was signed in with the old one is not any more."""
    changed = await desk.tx.execute(
        "UPDATE users SET password_hash = $1 WHERE id = $2", request.password_hash, request.user_id
    )
    if not changed:
        raise NotFound("no such user")
    await desk.tx.execute(
        "UPDATE sessions SET revoked_at_ms = $1 WHERE user_id = $2 AND revoked_at_ms IS NULL",
        desk.now_ms,
        request.user_id,
    )


async def renew_password_hash(desk: Desk, request: RenewPasswordHash) -> None:
    """Keep a stronger hash of the password that ``old_hash`` is of; a password changed meanwhile stays changed, and nobody is signed out."""
    await desk.tx.execute(
        "UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3",
        request.new_hash,
        request.user_id,
        request.old_hash,
    )


async def open_session(desk: Desk, request: OpenSession) -> None:
    """Begin a session with its first refresh token."""
    opened = await desk.tx.execute(
        "INSERT INTO sessions (id, user_id, created_at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        request.session_id,
        request.user_id,
        desk.now_ms,
    )
    if opened:
        await _keep_refresh_token(desk, request.refresh_hash, request.session_id, request.expires_at_ms)


async def rotate_session(desk: Desk, request: RotateSession) -> Rotated | None:
    """Exchange a refresh token; None when it was used before and the family is now revoked (see the module's rule)."""
    row = await desk.tx.fetch_one(
        "SELECT t.session_id, t.expires_at_ms, t.used_at_ms, s.revoked_at_ms, u.* FROM refresh_tokens t"
        " JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id WHERE t.token_hash = $1",
        request.refresh_hash,
    )
    if row is None or row["revoked_at_ms"] is not None or row["expires_at_ms"] <= desk.now_ms:
        raise Unauthenticated("this session has ended: sign in again")
    used_at_ms = row["used_at_ms"]
    if used_at_ms is not None and desk.now_ms - used_at_ms > LEEWAY_MS:
        await _revoke(desk, row["session_id"])
        await desk.audit(row["id"], "session.reuse_detected", row["session_id"])
        return None  # not raised: the revocation must commit
    if used_at_ms is None:
        await desk.tx.execute(
            "UPDATE refresh_tokens SET used_at_ms = $1 WHERE token_hash = $2", desk.now_ms, request.refresh_hash
        )
    await _keep_refresh_token(desk, request.next_hash, row["session_id"], request.expires_at_ms)
    return Rotated(session_id=row["session_id"], user=user_from(row), replayed=used_at_ms is not None)


async def close_session(desk: Desk, request: CloseSession) -> None:
    """Revoke a session; closing it twice is closing it once."""
    await _revoke(desk, request.session_id)


async def close_sessions(desk: Desk, request: CloseSessions) -> tuple[str, ...]:
    """Revoke every session of somebody and return which ones."""
    rows = await desk.tx.fetch(
        "UPDATE sessions SET revoked_at_ms = $1 WHERE user_id = $2 AND revoked_at_ms IS NULL RETURNING id",
        desk.now_ms,
        request.user_id,
    )
    await desk.audit(request.user_id, "session.close_all", request.user_id, str(len(rows)))
    return tuple(row["id"] for row in rows)


async def create_api_token(desk: Desk, request: CreateApiToken) -> None:
    """Keep the hash of a personal API token."""
    row = await desk.tx.fetch_one(
        "SELECT count(*) AS live FROM api_tokens WHERE user_id = $1 AND id <> $2 AND revoked_at_ms IS NULL"
        " AND (expires_at_ms IS NULL OR expires_at_ms > $3)",
        request.user_id,
        request.token_id,
        desk.now_ms,
    )
    if row is not None and row["live"] >= API_TOKENS_MOST:
        raise Conflict(f"there are {API_TOKENS_MOST} tokens already: revoke one first")
    await desk.tx.execute(
        "INSERT INTO api_tokens (id, user_id, name, token_hash, created_at_ms, expires_at_ms)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        request.token_id,
        request.user_id,
        request.name,
        request.token_hash,
        desk.now_ms,
        request.expires_at_ms,
    )


async def revoke_api_token(desk: Desk, request: RevokeApiToken) -> None:
    """Revoke one of the user's own tokens."""
    changed = await desk.tx.execute(
        "UPDATE api_tokens SET revoked_at_ms = $1 WHERE id = $2 AND user_id = $3",
        desk.now_ms,
        request.token_id,
        request.user_id,
    )
    if not changed:
        raise NotFound("no such token of yours")


async def _keep_refresh_token(desk: Desk, token_hash: str, session_id: str, expires_at_ms: int) -> None:
    await desk.tx.execute(
        "INSERT INTO refresh_tokens (token_hash, session_id, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING",
        token_hash,
        session_id,
        desk.now_ms,
        expires_at_ms,
    )


async def _revoke(desk: Desk, session_id: str) -> None:
    await desk.tx.execute(
        "UPDATE sessions SET revoked_at_ms = $1 WHERE id = $2 AND revoked_at_ms IS NULL", desk.now_ms, session_id
    )
