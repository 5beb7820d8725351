"""What a new installation needs once: an administrator, and (unless switched off) a demo contest to look at."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from actors.gateway.identity import revoke_access_of_closed
from actors.patience import until_done
from contracts.errors import Duplicate
from contracts.ids import make_id
from contracts.messages import CloseSessions, CreateUser, Role, SetPassword
from contracts.ports import Database, Passwords, Redis, Rpc, WallClock
from supervisor.context import Context

CORE_TIMEOUT_S = 30.0
PASSWORD_BYTES = 12

_log = structlog.get_logger("first_start")


@dataclass(frozen=True)
class Administrator:
    """Sees to it that the administrator exists; with a password set, that it is the one set, and that who signed in with another is signed out."""

    username: str
    password: str
    database: Database
    redis: Redis
    passwords: Passwords
    rpc: Rpc
    clock: WallClock
    rng: random.Random
    tell: Callable[[str], None]  # shows a generated password, once, on the console and never in a log

    async def run(self, ctx: Context[None]) -> None:
        """Make the account, or bring its password up to date, and end; a neighbour that is away is waited for."""
        await until_done(ctx, self._see_to_it, "administrator")
        ctx.ready()

    async def _see_to_it(self) -> None:
        row = await self.database.fetch_one(
            "SELECT id, role, password_hash FROM users WHERE username_key = $1", self.username.lower()
        )
        if row is None:
            await self._create()
        elif row["role"] != Role.ADMIN:
            _log.error(
                "administrator_name_taken", username=self.username, mend="set CODEWARZ_ADMIN_USERNAME to another"
            )
        elif self.password and not await self.passwords.verify(row["password_hash"], self.password):
            await self._set_password(row["id"], await self.passwords.hash(self.password))

    async def _set_password(self, user_id: str, encoded: str) -> None:
        # The password is last, for it is what says that all of this is done; and after it, once more, whoever signed in meanwhile.
        await self.rpc.call("core", CloseSessions(user_id=user_id), timeout=CORE_TIMEOUT_S)
        await revoke_access_of_closed(self.database, self.redis, self.clock, user_id)
        await self.rpc.call("core", SetPassword(user_id=user_id, password_hash=encoded), timeout=CORE_TIMEOUT_S)
        await revoke_access_of_closed(self.database, self.redis, self.clock, user_id)

    async def _is_there(self) -> bool:
        row = await self.database.fetch_one(
            "SELECT 1 AS one FROM users WHERE username_key = $1 AND role = $2", self.username.lower(), Role.ADMIN
        )
        return row is not None

    async def _create(self) -> None:
        password = self.password or secrets.token_urlsafe(PASSWORD_BYTES)
        request = CreateUser(
            user_id=make_id(self.clock.now_ms(), self.rng),
            username=self.username,
            email=f"{self.username}@localhost",
            password_hash=await self.passwords.hash(password),
            role=Role.ADMIN,
        )
        try:
            await self.rpc.call("core", request, timeout=CORE_TIMEOUT_S)
        except Duplicate:
            if await self._is_there():
                return  # another core of this cluster that started at the same time has made it
            _log.error("administrator_name_taken", email=request.email, mend="set CODEWARZ_ADMIN_USERNAME to another")
            return
        if not self.password:
            self.tell(f"administrator: {self.username}   password: {password}   (shown only now)")
