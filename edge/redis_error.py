"""The one error that Redis's own error replies become, in every variant of the port."""

from __future__ import annotations

from contracts.errors import CodeWarzError


class RedisError(CodeWarzError):
    """Redis refused a command or a script failed: "WRONGTYPE Operation against …". ``prefix`` is its first word. A bug of ours, never a contestant's."""

    code = "redis_error"

    @property
    def prefix(self) -> str:
        """The error's class as Redis names it: ERR, WRONGTYPE, NOSCRIPT, OOM."""
        return self.detail.partition(" ")[0]
