"""Who calls, by the secret that he shows, and what he may ask.

Rule 1: a judge runs what strangers wrote, so its secret opens only what a judge's work needs: ``JUDGES_MAY``. Every other is refused to it, new ones too.
Rule 2: a call that shows no secret of this process is a stranger's. Where no secret is set there are no strangers; ``codewarz up`` does not serve so.
Rule 3: what was shown is compared in constant time with each secret, whichever it is.
"""

from __future__ import annotations

import hmac
from enum import Enum
from typing import Any

from contracts.messages import GetProblem, GetWork, PersistVerdict, Request, UpdateLeaderboard, VerifyProblem
from edge.rpc.url import RpcUrl
from edge.rpc.wire import METHODS

JUDGES_MAY: frozenset[tuple[str, type[Request[Any]]]] = frozenset(
    {
        ("core", GetWork),
        ("core", GetProblem),
        ("core", PersistVerdict),
        ("leaderboard", UpdateLeaderboard),
        ("judge", VerifyProblem),  # what judges answer: whoever asks them shows them their own secret
    }
)
_JUDGES_PATHS = frozenset(METHODS[each].path for each in JUDGES_MAY)


class Caller(Enum):
    """Who somebody is, by his secret."""

    STRANGER = "stranger"
    JUDGE = "judge"
    HOUSE = "house"

    def may_ask(self, path: str) -> bool:
        """Whether a method is open to him."""
        return self is Caller.HOUSE or (self is Caller.JUDGE and path in _JUDGES_PATHS)


class Callers:
    """What this process knows its callers by."""

    def __init__(self, url: RpcUrl) -> None:
        self._known = [
            (_authorization(secret), caller)
            for secret, caller in ((url.judge_secret, Caller.JUDGE), (url.secret, Caller.HOUSE))
            if secret
        ]

    def who(self, authorization: str) -> Caller:
        """Return who shows this header."""
        if not self._known:
            return Caller.HOUSE
        given, found = authorization.encode(), Caller.STRANGER
        for expected, caller in self._known:
            if hmac.compare_digest(given, expected):
                found = caller
        return found


def _authorization(secret: str) -> bytes:
    return f"Bearer {secret}".encode()
