"""Boards in Redis: the projection that leaderboards are read from.

A contest has two views, each four keys: the public one stops at the freeze, the jury's never does. Only the projector writes (``apply``, ``load``,
``remove``); anybody reads (``page``, ``neighbours``). All the work on one view happens inside one Lua script, so a reader never sees half a change.
The keys of one contest share a hash tag, so that they live on one node of a Redis cluster.

What somebody else has written there (a key of another kind, a row that is none) is Unreadable, and no more than a board that is not there: the projector drops
it and folds the log anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import msgspec
import trio

from contracts.errors import CodeWarzError, Unavailable
from contracts.lua import lua
from contracts.messages import Identifier, Many
from contracts.ports import Redis, RedisReply, RedisValue, ScriptCall, WallClock
from contracts.reading import Unreadable, reader
from contracts.scoring import BoardRules, Cell, Entry, Total, latest, sort_key, standing

BOARD_CHANNEL = "leaderboard:invalidate"  # the scripts publish a BoardChanged on it
AT_ONCE = 100  # contestants between two checkpoints: folding 5000 with 50 000 submissions takes half a second, and others want their turn
SAID_MOST = 300  # characters of what Redis says about a key, which repeats words of the script
STAGED_MS = 60_000  # from one step of a rebuild to the next: what is left of one that was given up goes away by itself


class BoardView(StrEnum):
    """Who looks: everybody, or those who may see behind the freeze."""

    PUBLIC = "public"
    JURY = "jury"


class BoardRow(msgspec.Struct, frozen=True):
    """One contestant. ``score``: problems solved (ICPC) or hundredths of a point (IOI); ``penalty`` in minutes; cells by problem, empty ones left out."""

    rank: int
    user_id: str
    username: str
    score: int
    penalty: int
    last_ms: int
    cells: dict[str, Cell]


class BoardPage(msgspec.Struct, frozen=True):
    """Rows from place ``offset`` on, all of one ``version``. Versions only rise; a new ``epoch`` says that the board was made afresh."""

    contest_id: str
    epoch: str
    version: int
    frozen: bool
    total: int
    offset: int
    rows: list[BoardRow]


class BoardChanged(msgspec.Struct, frozen=True):
    """Published after a change: the row itself, so that nobody has to fetch it; without a row, read the board again."""

    contest_id: Identifier
    view: BoardView
    epoch: Identifier
    version: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    total: Many
    row: BoardRow | None = None


class StoredRow(msgspec.Struct, frozen=True):
    """A row as Redis keeps it: without its rank, which changes with the rows of others."""

    user_id: str
    username: str
    score: int
    penalty: int
    last_ms: int
    cells: dict[str, Cell]

    def ranked(self, rank: int) -> BoardRow:
        """Return the row with its rank."""
        return BoardRow(rank, self.user_id, self.username, self.score, self.penalty, self.last_ms, self.cells)


class UnreadableBoard(Unreadable):
    """The keys of a board hold what nobody of the house writes; ``epoch`` is the board's, as far as it can be told ("")."""

    def __init__(self, detail: str, *, epoch: str = "") -> None:
        super().__init__(detail)
        self.epoch = epoch


class UnknownParticipantError(Exception):
    """The board is there but not this contestant: the caller looks into the database and applies again with the name."""


class Contest(msgspec.Struct, frozen=True):
    """What a board needs to know of its contest. ``rules.freeze_ms`` concerns the public view only."""

    contest_id: str
    rules: BoardRules
    version: int

    def view(self, view: BoardView) -> BoardRules:
        """Return the rules under which ``view`` is folded."""
        return self.rules if view is BoardView.PUBLIC else msgspec.structs.replace(self.rules, freeze_ms=None)


_EPOCH = re.compile(rb"[0-9A-Za-z_-]{1,64}\Z")
_read_row = reader(msgspec.json.Decoder(StoredRow))


class Boards:
    """The boards of all contests."""

    def __init__(self, redis: Redis, clock: WallClock) -> None:
        self._redis = redis
        self._clock = clock

    async def page(self, contest_id: str, view: BoardView, *, offset: int = 0, limit: int = 100) -> BoardPage | None:
        """Return up to ``limit`` rows from place ``offset``; None when the board has not been built, and UnreadableBoard when somebody has spoiled it: ask the
        leaderboard for BuildBoard in both cases.
        """
        return await self._read(contest_id, view, offset, limit, "")

    async def neighbours(self, contest_id: str, view: BoardView, user_id: str, *, around: int = 3) -> BoardPage | None:
        """Return a contestant's row among ``around`` rows on each side (no rows: not a participant); None and UnreadableBoard as in ``page``."""
        return await self._read(contest_id, view, -around, 2 * around + 1, user_id)

    async def _read(self, contest_id: str, view: BoardView, offset: int, limit: int, user_id: str) -> BoardPage | None:
        meta, rank, rows, _ = _keys(contest_id, view)
        with _readable(contest_id):
            reply = await self._redis.script(lua("board_page"), [meta, rank, rows], [offset, limit, user_id])
        if not reply:
            return None
        epoch, version, freeze, total, first, *pairs = reply
        with _readable(contest_id, epoch):
            if (
                _EPOCH.match(epoch) is None
            ):  # it goes into events' identifiers, where a line break would begin another event
                raise ValueError(f"{epoch[:50]!r} is no epoch")
            return BoardPage(
                contest_id,
                epoch.decode(),
                int(version),
                bool(freeze) and self._clock.now_ms() >= int(freeze),
                total,
                first,
                [_read_row(row).ranked(rank) for rank, row in zip(pairs[::2], pairs[1::2], strict=True)],
            )

    async def apply(self, contest_id: str, user_id: str, entries: Sequence[Entry], *, username: str = "") -> bool:
        """Merge lines of the verdict log into a contestant's row and publish what changed.

        Any order, any number of times, same board. With ``username`` the row is made where it is missing, and a fold that is under way is refused, for it may
        be without them; without it, UnknownParticipantError.
        Returns False when the board is not there (build it: the log has these lines already). UnreadableBoard when it cannot be changed: drop and build it.
        """
        with _readable(contest_id):
            statuses = await self._redis.script(
                lua("board_apply"), *_application(contest_id, user_id, entries, username)
            )
        if -1 in statuses:
            return False
        if -2 in statuses:
            raise UnknownParticipantError(f"{user_id} is not on the board of contest {contest_id}")
        return True

    async def apply_each(self, lines: Sequence[tuple[str, Entry]]) -> list[bool | CodeWarzError]:
        """Apply lines of the verdict log, each with its contest, in one crossing. For each: whether it was (else ``apply`` tells why), or why Redis is away."""
        calls = [_application(contest_id, entry.user_id, [entry]) for contest_id, entry in lines]
        replies = await self._redis.scripts(lua("board_apply"), calls)
        return [
            reply
            if isinstance(reply, Unavailable)
            else not isinstance(reply, CodeWarzError) and all(status >= 0 for status in reply)
            for reply in replies
        ]

    async def remove(self, contest_id: str, user_id: str, problems: Sequence[str]) -> None:
        """Take a contestant off the board. When they are not on it, nobody is told anything, but a fold that is under way does not put them there.

        UnreadableBoard as in ``apply``.
        """
        keys = [key for view in BoardView for key in (*_keys(contest_id, view), _beginning(contest_id, view))]
        with _readable(contest_id):
            await self._redis.script(lua("board_remove"), keys, [user_id, *problems])

    async def drop(self, contest_id: str, view: BoardView) -> None:
        """Forget a view that cannot be read, whatever its keys are. For its readers it is lost, as with all that Redis has."""
        await self._redis.call("UNLINK", *_keys(contest_id, view), _beginning(contest_id, view))

    async def state(self, contest_id: str, view: BoardView, word: str) -> str:
        """Return what the view is now, for ``load``; ask BEFORE reading the log. Once it was written to, or lost, it never has the same state again.

        ``word`` must be new: it is the state of a view that is not there, unless somebody else is building it too. It is kept for STAGED_MS, and from each step
        of a ``load`` to the next. UnreadableBoard as in ``apply``.
        """
        meta, *_ = _keys(contest_id, view)
        keys = [meta, _beginning(contest_id, view)]
        with _readable(contest_id):
            state: bytes = await self._redis.script(lua("board_state"), keys, [word, STAGED_MS])
            return state.decode()

    async def contest_version(self, contest_id: str) -> int | None:
        """Return the contest's version that the board was built for (of two views the older one), None unless both are there.

        UnreadableBoard as in ``page``.
        """
        with _readable(contest_id):
            versions = await self._redis.pipeline(
                [["HGET", _keys(contest_id, view)[0], "contest_version"] for view in BoardView]
            )
            return None if None in versions else min(int(version) for version in versions)

    async def load(
        self, contest: Contest, view: BoardView, names: dict[str, str], log: Sequence[Entry], *, state: str, epoch: str
    ) -> bool:
        """Replace a view by the fold of ``log`` over the participants ``names`` (username by identifier); False when it has not that ``state`` any more.

        The rows are staged some at a time, so that neither this process nor Redis stands still for a large board, and then take the old ones' place at once.
        UnreadableBoard as in ``apply``.
        """
        rules = contest.view(view)
        keys = _keys(contest.contest_id, view)
        staged, beginning = [f"{key}:{epoch}" for key in keys[1:]], _beginning(contest.contest_id, view)
        by_user = _by_user(log)
        users = sorted(names)
        cells_staged = 0
        for first in range(0, len(users), AT_ONCE):
            rows: list[RedisValue] = []
            cells: list[RedisValue] = []
            some = users[first : first + AT_ONCE]
            for user in some:
                entries = by_user.get(user, ())
                total, folded = standing(rules, entries)
                stored = _stored(user, names[user], total, folded)
                rows += [user, str(-sort_key(rules.rules, total)), msgspec.json.encode(stored)]
                cells += _lines(user, entries)
            cells_staged += len(cells) // 2
            with _readable(contest.contest_id):
                await self._redis.script(
                    lua("board_stage"), [*staged, beginning], [STAGED_MS, len(some), *rows, *cells]
                )
        arguments: list[RedisValue] = [state, epoch, rules.rules, rules.start_ms, rules.end_ms]
        arguments += ["" if rules.freeze_ms is None else rules.freeze_ms, contest.version, len(users), cells_staged]
        with _readable(contest.contest_id):
            done, _ = await self._redis.script(lua("board_load"), [*keys, *staged, beginning], arguments)
        return bool(done)

    async def differences(
        self, contest: Contest, view: BoardView, names: dict[str, str], log: Sequence[Entry]
    ) -> list[str]:
        """Return the users whose stored row is not what the fold of ``log`` says (missing, surplus and unreadable ones too); [] when the view equals it.

        UnreadableBoard as in ``page``.
        """
        _, rank_key, rows_key, _ = _keys(contest.contest_id, view)
        rows: RedisReply
        ranks: RedisReply
        with _readable(contest.contest_id):
            rows, ranks = await self._redis.pipeline([["HGETALL", rows_key], ["ZRANGE", rank_key, 0, -1, "WITHSCORES"]])
        found = {_name(user): row for user, row in zip(rows[::2], rows[1::2], strict=True)}
        keys = {_name(user): float(score) for user, score in zip(ranks[::2], ranks[1::2], strict=True)}
        rules = contest.view(view)
        by_user = _by_user(log)
        differing = []
        for number, user in enumerate(sorted(names.keys() | found.keys() | keys.keys()), 1):
            if number % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            total, cells = standing(rules, by_user.get(user, ()))
            is_right = (
                user in names
                and user in found
                and _is(found[user], _stored(user, names[user], total, cells))
                and keys.get(user) == -sort_key(rules.rules, total)
            )
            if not is_right:
                differing.append(user)
        return differing


@contextmanager
def _readable(contest_id: str, epoch: bytes = b"") -> Iterator[None]:
    """Raise UnreadableBoard for whatever the block finds wrong with a board's keys. A Redis that is away stays what it is."""
    try:
        yield
    except Unavailable:
        raise
    except (
        CodeWarzError,
        ValueError,
        TypeError,
    ) as error:  # a key of another kind, a number that is none, a row that is missing
        said = f"the board of contest {contest_id} cannot be read: {error}"
        raise UnreadableBoard(said[:SAID_MOST], epoch=epoch.decode(errors="replace")) from error


def _by_user(log: Iterable[Entry]) -> dict[str, list[Entry]]:
    by_user: dict[str, list[Entry]] = {}
    for entry in log:
        by_user.setdefault(entry.user_id, []).append(entry)
    return by_user


def _lines(user: str, entries: Iterable[Entry]) -> list[str]:
    """Return a contestant's cells as ``board_apply.lua`` keeps them: field, lines, field, lines, …"""
    lines: dict[str, list[str]] = {}
    for entry in latest(entries):
        line = f"{entry.submission_id},{entry.attempt},{entry.submitted_at_ms},{entry.verdict},{entry.score}"
        lines.setdefault(f"{user}|{entry.problem_id}", []).append(line)
    return [word for field, parts in lines.items() for word in (field, ";".join(parts))]


def _application(contest_id: str, user_id: str, entries: Sequence[Entry], username: str = "") -> ScriptCall:
    """Return keys and arguments of the script that merges lines into a row of both views."""
    keys = [key for view in BoardView for key in _keys(contest_id, view)]
    arguments: list[RedisValue] = [user_id, username]
    for entry in entries:
        arguments += [
            entry.problem_id,
            entry.submission_id,
            entry.attempt,
            entry.submitted_at_ms,
            entry.verdict,
            entry.score,
        ]
    return keys, arguments


def _keys(contest_id: str, view: BoardView) -> list[str]:
    prefix = f"board:{{{contest_id}}}:{view}"
    return [f"{prefix}:meta", f"{prefix}:rank", f"{prefix}:rows", f"{prefix}:cells"]


def _beginning(contest_id: str, view: BoardView) -> str:
    """Return the key of the state of a view that is not there."""
    return f"board:{{{contest_id}}}:{view}:beginning"


def _stored(user_id: str, username: str, total: Total, cells: Mapping[str, Cell]) -> StoredRow:
    return StoredRow(user_id, username, total.score, total.penalty, total.last_ms, dict(cells))


def _name(user: bytes) -> str:
    return user.decode(errors="replace")  # what is no text is nobody's name


def _is(row: bytes, right: StoredRow) -> bool:
    try:
        return _read_row(row) == right
    except Unreadable:
        return False
