"""Who waited in which line, and when it was served: what the check for starvation looks at (``chaos/starvation.py``)."""

from __future__ import annotations

from collections.abc import Mapping

from chaos.starvation import Wait

Key = tuple[str, int]
"""A submission and its attempt."""


class Lines:
    """The lines of a cluster: committed messages wait in the outbox, requests in the queue, and attempts in both of them for a judge. Simulated seconds."""

    def __init__(self) -> None:
        self._attempts: dict[Key, tuple[int, float]] = {}  # priority, and when it was asked for
        self._requests: dict[Key, tuple[int, float]] = {}
        self._messages: dict[str, tuple[int, float]] = {}
        self._begun: dict[Key, float] = {}
        self._published: dict[str, float] = {}

    def asked(self, key: Key, priority: int, at_s: float) -> None:
        """Note that an attempt waits for a judge."""
        self._attempts[key] = priority, at_s

    def queued(self, key: Key, at_s: float) -> None:
        """Note that a request for an attempt is in the queue; only the first time counts."""
        priority, _ = self._attempts[key]
        self._requests.setdefault(key, (priority, at_s))

    def begun(self, key: Key, at_s: float) -> None:
        """Note that a judge has begun with an attempt, or that it has its verdict without one; only the first time counts."""
        self._begun.setdefault(key, at_s)

    def committed(self, message_id: str, priority: int, at_s: float) -> None:
        """Note that a message waits in the outbox."""
        self._messages[message_id] = priority, at_s

    def published(self, message_id: str, at_s: float) -> None:
        """Note that a message has reached the broker; only the first time counts."""
        self._published.setdefault(message_id, at_s)

    def attempts(self, since_s: float = 0.0) -> list[Wait]:
        """Return those who waited for a judge, in the outbox and in the queue, and began to after ``since_s``."""
        return self._for_a_judge(self._attempts, since_s)

    def requests(self, since_s: float = 0.0) -> list[Wait]:
        """Return those who waited for a judge in the queue, and began to after ``since_s``."""
        return self._for_a_judge(self._requests, since_s)

    def messages(self, since_s: float = 0.0) -> list[Wait]:
        """Return those who waited in the outbox, and began to after ``since_s``."""
        return _waits(self._messages, self._published, since_s, "message ")

    def _for_a_judge(self, turns: Mapping[Key, tuple[int, float]], since_s: float) -> list[Wait]:
        named = {f"{submission_id}:{attempt}": turn for (submission_id, attempt), turn in turns.items()}
        served = {f"{submission_id}:{attempt}": at_s for (submission_id, attempt), at_s in self._begun.items()}
        return _waits(named, served, since_s)


def _waits(
    turns: Mapping[str, tuple[int, float]], served: Mapping[str, float], since_s: float, kind: str = ""
) -> list[Wait]:
    return [
        Wait(who=f"{kind}{who}", priority=priority, since_s=round(at_s, 3), served_s=served.get(who))
        for who, (priority, at_s) in turns.items()
        if at_s >= since_s
    ]
