"""The book of what people sent, what they were told of it, and what was wrong with what they were told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from chaos.invariants import Violation
from chaos.load.programs import Program
from contracts.verdicts import Verdict


@dataclass(eq=False)
class Sent:
    """A submission as its author knows it; ``submission_id`` is empty until it was accepted."""

    key: str
    user: str
    program: Program
    submission_id: str = ""
    told: str = ""  # the verdict that its author was shown
    tries: int = 0

    @property
    def is_accepted(self) -> bool:
        """Whether it was acknowledged: from then on it must never be lost."""
        return bool(self.submission_id)


@dataclass
class Book:
    """Everything that was sent in one scenario, which ``name`` tells from others: people live through several, and their keys must not meet."""

    name: str = ""
    sent: list[Sent] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)  # by status; 0: none, or half of one

    def new(self, user: str, program: Program) -> Sent:
        """Begin a line."""
        sent = Sent(f"{self.name}-{user}-{len(self.sent)}", user, program)
        self.sent.append(sent)
        return sent

    def accepted(self, sent: Sent, submission_id: str) -> None:
        """Note an acknowledgement; one key must always be the same submission."""
        if sent.submission_id and sent.submission_id != submission_id:
            text = f"one key, two submissions: {sent.submission_id} and {submission_id} for {sent.key}"
            self.violations.append(Violation("I1", text))
        sent.submission_id = submission_id

    def told(self, sent: Sent, verdict: str) -> None:
        """Note a verdict that somebody was shown; it must not be taken back for another one: nobody judges anything again here."""
        if sent.told and sent.told != verdict:
            text = f"{sent.submission_id} was shown as {sent.told}, then as {verdict}"
            self.violations.append(Violation("I1", text))
        sent.told = verdict

    def strange(self, what: str, status: int, body: bytes) -> None:
        """Note an answer that nobody may get: everything that is sent here is right."""
        self.violations.append(Violation("I8", f"{what} was answered {status}: {body[:200].decode(errors='replace')}"))

    @property
    def acknowledged(self) -> dict[str, Verdict]:
        """What each accepted submission deserves."""
        return {sent.submission_id: sent.program.verdict for sent in self.sent if sent.is_accepted}

    @property
    def waiting(self) -> list[Sent]:
        """What nobody has accepted yet."""
        return [sent for sent in self.sent if not sent.is_accepted]

    @property
    def untold(self) -> list[Sent]:
        """What was accepted and whose author has not seen a verdict yet."""
        return [sent for sent in self.sent if sent.is_accepted and not sent.told]
