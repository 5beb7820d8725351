"""The messages that cross a boundary: requests with their replies (rpc), and events (outbox and broker).

Every message is frozen and tagged with its type, so that each edge encodes it the same way. A ``Request[R]`` is answered with an ``R`` or fails with a
``CodeWarzError``. Requests that change something carry the identifiers of what they make: sending one twice makes it once.

Times are Unix milliseconds (``_ms``), scores hundredths of a point, memory KiB.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Generic, TypeVar

import msgspec

from contracts.life import State
from contracts.scoring import Rules
from contracts.verdicts import TestResult, Verdict

R_co = TypeVar("R_co", covariant=True)

# What the messages may carry that come over the broker, over Redis and from judges: whoever may write there is not always one of us, and what nobody makes,
# nobody has to be able to keep or to pass on. Decoding looks at them, making a message does not.
Identifier = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_-]{1,64}\Z")]
Attempt = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Many = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Output = Annotated[str, msgspec.Meta(max_length=1 << 24)]  # a run keeps 128 KiB of each sample
Instant = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]  # Unix milliseconds, exact in a double


class Request(msgspec.Struct, Generic[R_co], frozen=True, kw_only=True, tag=True):
    """Something asked of a service; ``R_co`` is the reply's type."""


class Role(StrEnum):
    """What somebody may do: staff write problems, run contests and see every submission; admins also manage people."""

    CONTESTANT = "contestant"
    STAFF = "staff"
    ADMIN = "admin"

    @property
    def is_staff(self) -> bool:
        """Whether the role may do what staff may."""
        return self is not Role.CONTESTANT


class Kind(StrEnum):
    """A submission counts; a run is on own input or the samples and counts for nothing."""

    SUBMISSION = "submission"
    RUN = "run"


class Priority:
    """What goes first, in the outbox and in the submission queue: events (few, and everybody waits for them), a live contest, practice, rejudging."""

    EVENT = 3
    CONTEST = 2
    PRACTICE = 1
    REJUDGE = 0


# ---- people ----------------------------------------------------------------------------------------------------------


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody with an account, as others may see them plus the e-mail that only they and staff may."""

    id: str
    username: str
    email: str
    role: Role
    created_at_ms: int


class CreateUser(Request[User], frozen=True, kw_only=True):
    """Make an account. ``password_hash`` is argon2's encoded form. Fails with Duplicate on a taken username or e-mail (compared without case)."""

    user_id: str
    username: str
    email: str
    password_hash: str
    role: Role = Role.CONTESTANT


class SetPassword(Request[None], frozen=True, kw_only=True):
    """Replace a password and revoke every session of that user."""

    user_id: str
    password_hash: str


class RenewPasswordHash(Request[None], frozen=True, kw_only=True):
    """Keep a stronger hash of the same password. Sessions stay; nothing happens when ``old_hash`` is no longer the one that is kept."""

    user_id: str
    old_hash: str
    new_hash: str


class OpenSession(Request[None], frozen=True, kw_only=True):
    """Begin a session: a family of refresh tokens, of which only the newest is good."""

    session_id: str
    user_id: str
    refresh_hash: str
    expires_at_ms: int


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """A refresh token was good; ``replayed`` when it had been used within the leeway (two tabs), so the caller got a token of its own."""

    session_id: str
    user: User
    replayed: bool = False


class RotateSession(Request[Rotated], frozen=True, kw_only=True):
    """Exchange a refresh token for the next. One that was used before (beyond a short leeway) revokes its whole family: Unauthenticated."""

    refresh_hash: str
    next_hash: str
    expires_at_ms: int


class CloseSession(Request[None], frozen=True, kw_only=True):
    """Revoke a session's whole family."""

    session_id: str


class CloseSessions(Request[tuple[str, ...]], frozen=True, kw_only=True):
    """Revoke every session of somebody; replies those that were open."""

    user_id: str


class CreateApiToken(Request[None], frozen=True, kw_only=True):
    """Keep a personal API token's hash; at most 20 live ones per user (Conflict)."""

    token_id: str
    user_id: str
    name: str
    token_hash: str
    expires_at_ms: int | None = None


class RevokeApiToken(Request[None], frozen=True, kw_only=True):
    """Revoke one of the user's own tokens; NotFound for anybody else's."""

    token_id: str
    user_id: str


# ---- contests and problems -------------------------------------------------------------------------------------------


class ContestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that staff choose of a contest."""

    title: str
    rules: Rules
    starts_at_ms: int
    ends_at_ms: int
    freezes_at_ms: int | None = None
    description: str = ""
    is_public: bool = True


class CreateContest(Request[None], frozen=True, kw_only=True):
    """Make a contest."""

    contest_id: str
    settings: ContestSettings
    created_by: str


class ChangeContest(Request[None], frozen=True, kw_only=True):
    """Replace a contest's settings; its boards are rebuilt. With ``version``, the one that was read: Conflict when another change came in between."""

    contest_id: str
    settings: ContestSettings
    version: int | None = None


class AttachProblem(Request[None], frozen=True, kw_only=True):
    """Put a problem into a contest under a label that is free there, or change its label, colour or points."""

    contest_id: str
    problem_id: str
    label: str
    colour: str = ""
    points: int = 100_00


class DetachProblem(Request[None], frozen=True, kw_only=True):
    """Take a problem out of a contest; Conflict when it has submissions there."""

    contest_id: str
    problem_id: str


class Register(Request[None], frozen=True, kw_only=True):
    """Enter somebody for a contest; entering twice is entering once. Conflict after the contest's end."""

    contest_id: str
    user_id: str


class Withdraw(Request[None], frozen=True, kw_only=True):
    """Take somebody out of a contest; Conflict when they have submitted there."""

    contest_id: str
    user_id: str


class ImportProblem(Request[int], frozen=True, kw_only=True):
    """Keep a verified package as the next version of a problem (replies the version); the same digest again changes nothing."""

    problem_id: str
    slug: str
    title: str
    digest: str
    package: bytes
    summary: bytes  # JSON of what pages show without the package: statement, samples, limits (actors.problems.Summary)
    is_flagged: bool = False  # differs from its own annotations
    is_public: bool = True  # listed for practice when no contest hides it
    imported_by: str


class ProblemBlob(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a problem in the canonical form of ``sandbox.package``."""

    problem_id: str
    version: int
    digest: str
    package: bytes


class GetProblem(Request[ProblemBlob], frozen=True, kw_only=True):
    """Fetch a problem by version; versions never change, so a judge caches them for ever."""

    problem_id: Identifier
    version: Many


# ---- submissions -----------------------------------------------------------------------------------------------------


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A submission is durable; ``replayed`` when an earlier request with the same idempotency key made it."""

    submission_id: str
    replayed: bool = False


class Submit(Request[Accepted], frozen=True, kw_only=True):
    """Accept code to be judged. The reply comes after the commit: from then on it is never lost.

    ``idempotency_key`` is unique per user and kind: the same key with the same ``body_hash`` replies the first submission again, with another
    one it fails with Invalid.
    """

    submission_id: str
    user_id: str
    problem_id: str
    language: str
    source: str
    contest_id: str | None = None
    kind: Kind = Kind.SUBMISSION
    stdin: str | None = None  # of a run; None means the samples
    idempotency_key: str | None = None
    body_hash: str = ""
    correlation_id: str


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """All that a judge needs of one attempt besides the problem's package.

    ``fencing`` was raised in the database by this very request: whoever has a lower number is stale, even if Redis forgot every lease.
    """

    submission_id: str
    attempt: int
    fencing: int
    kind: Kind
    problem_id: str
    problem_version: int
    language: str
    source: str
    stdin: str | None
    correlation_id: str


class GetWork(Request[Work | None], frozen=True, kw_only=True):
    """Fetch what is to be judged; None when this attempt is judged already or no longer the current one (drop the message)."""

    submission_id: Identifier
    attempt: Attempt


class ScoreChanged(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A verdict that may change a board. Idempotent and commutative: any order, any number of times."""

    contest_id: Identifier
    submission_id: Identifier
    attempt: Attempt
    user_id: Identifier
    problem_id: Identifier
    submitted_at_ms: Instant
    verdict: Verdict
    score: Many


class Judged(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An attempt has its verdict; ``change`` is what it means for a board, None outside contests."""

    submission_id: Identifier
    attempt: Attempt
    verdict: Verdict
    score: Many
    change: ScoreChanged | None = None


class PersistVerdict(Request[Judged | None], frozen=True, kw_only=True):
    """Make an attempt's verdict durable by compare-and-set; replies the event when it was this one that counts.

    None when another was first, the attempt is old, or ``fencing`` is not the newest number given out for it: a stale judge changes nothing. The
    same request again (its answer was lost) replies the event again. Nobody is above this, also not who writes a judge error as the last resort.
    """

    submission_id: Identifier
    attempt: Attempt
    fencing: Many
    verdict: Verdict
    score: Many = 0
    tests: Annotated[tuple[TestResult, ...], msgspec.Meta(max_length=10_000)] = ()  # a package has as many files
    compile_output: Output = ""
    output: Output = ""  # of a run
    judge: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    judge_error: Output = ""  # for staff: why it is JE


class Rejudged(msgspec.Struct, frozen=True, kw_only=True):
    """How many submissions a rejudging touches; ``rejudging_id`` None for a dry run."""

    rejudging_id: str | None
    submissions: int


class Rejudge(Request[Rejudged], frozen=True, kw_only=True):
    """Judge again, at lower priority, by submission, problem or contest (all given ones must match); the newest problem version is used.

    One that is being judged with an older version is begun again within its attempt, as it must not slip through; with the newest one it is left alone.
    Forbidden unless ``requested_by`` is staff.
    """

    rejudging_id: str
    submission_id: str | None = None
    problem_id: str | None = None
    contest_id: str | None = None
    dry_run: bool = False
    requested_by: str
    correlation_id: str


class Offer(msgspec.Struct, frozen=True, order=True):
    """A language on offer: ``id`` as in the API ("cpp"), ``name`` for people ("C++20"), ``version`` as the compiler says it."""

    id: str
    name: str
    version: str


class Finding(msgspec.Struct, frozen=True):
    """One line of a package's verification; ``level`` is "ok", "warning" or "error", ``subject`` the file that it is about."""

    level: str
    subject: str
    detail: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a package is, and how its own submissions were judged; ``is_clean`` when each came out as the package says."""

    slug: str
    title: str
    digest: str
    package: bytes  # canonical form
    summary: bytes  # JSON for pages
    findings: tuple[Finding, ...] = ()
    is_clean: bool = True


class VerifyProblem(Request[Verification], frozen=True, kw_only=True):
    """Ask the judges to read and verify a zipped package; Invalid when it is none."""

    package: bytes


# ---- boards ----------------------------------------------------------------------------------------------------------


class ParticipantsChanged(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Somebody entered or left a contest; the projector reads the truth from the database."""

    contest_id: Identifier
    user_id: Identifier


class BoardInvalidated(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A contest's settings changed: its boards must be rebuilt from the log."""

    contest_id: Identifier


BoardEvent = Judged | ParticipantsChanged | BoardInvalidated


class UpdateLeaderboard(Request[None], frozen=True, kw_only=True):
    """The fast path to the projector, of which the outbox's event is the repair."""

    event: Judged


class BuildBoard(Request[None], frozen=True, kw_only=True):
    """Make a contest's boards from the verdict log unless they are there (``afresh``: even then). NotFound without such a contest.

    With ``unreadable_epoch`` they are made anew if one of them is still of that epoch: somebody found in it what cannot be read.
    """

    contest_id: str
    afresh: bool = False
    unreadable_epoch: str = ""


# ---- what travels through the broker ---------------------------------------------------------------------------------


class JudgeRequested(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An attempt waits for a judge."""

    submission_id: Identifier
    attempt: Attempt


class Topic(StrEnum):
    """Routing keys of the exchange, and topics of the outbox."""

    SUBMISSION = "submission"
    VERDICT = "verdict"


# ---- what travels through Redis pub/sub ------------------------------------------------------------------------------


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One step of judging, for whoever watches that submission: a state, a test's result, or (with ``verdict``) the end."""

    submission_id: Identifier
    attempt: Attempt
    seq: Many  # rises within an attempt's judging
    state: State
    test: TestResult | None = None
    tests_total: Many = 0
    verdict: Verdict | None = None
    score: Many = 0
