"""The life of one submission across all processes, cut out of a whole trace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from contracts.errors import Invalid

_COMMITTED = re.compile(r"^ *([0-9.]+)  database +submission ([0-9A-Z]{26}):1$")
_JUDGED = re.compile(r"^ *([0-9.]+)  database +verdict ([0-9A-Z]{26}):([0-9]+) (\w+)$")
_PUBLISHED = re.compile(r"publish \w+ ([0-9A-Z]{26}) about ([0-9A-Z]{26})")
_CUT = re.compile(r"^cut (\S+) \| (.+) for (.+)$")
_DISTURBED = (
    "process ",
    "struck ",
    "crashes at ",
    "pauses at ",
    "is held at ",
    "operator: ",
)  # begins what happens to a process itself
NETWORK = "network"


class Moment(msgspec.Struct, frozen=True):
    """A line of a timeline. ``gap_s`` is since the moment before; ``is_about`` is false for what happened around it to those who are in it.

    What happens again and again with nothing in between is one moment, which came ``times`` times until ``until_s``.
    """

    at_s: float
    gap_s: float
    who: str
    what: str
    is_about: bool
    times: int = 1
    until_s: float | None = None


class Life(msgspec.Struct, frozen=True):
    """All moments of one submission. In their words it is ``◆``, and its messages are ``✉1``, ``✉2`` …"""

    submission: str
    messages: tuple[str, ...]
    moments: tuple[Moment, ...]


def life_of(submission: str, lines: Sequence[str]) -> Life:
    """Return the life of the submission whose id begins so. Invalid, with those that there are, when it is none or several."""
    whole = _find(submission, lines)
    messages = _messages(whole, lines)
    signs = {whole: "◆", **{message: f"✉{number}" for number, message in enumerate(messages, 1)}}
    parsed = [_parse(line) for line in lines]
    about = [number for number, (_, _, what) in enumerate(parsed) if any(each in what for each in signs)]
    involved = {parsed[number][1] for number in about}
    moments: list[Moment] = []
    before_s = parsed[about[0]][0]
    is_about = set(about)
    for number in range(about[0], about[-1] + 1):
        at_s, who, what = parsed[number]
        if number not in is_about and not _is_around(who, what, involved):
            continue
        for each, sign in signs.items():
            what = what.replace(each, sign)
        moments.append(Moment(at_s, round(at_s - before_s, 4), who, what, number in is_about))
        before_s = at_s
    return Life(whole, tuple(messages), tuple(_folded(moments)))


def _folded(moments: Iterable[Moment]) -> list[Moment]:
    """Make one moment of the cuts that part a process from many at once, and of what repeats itself."""
    folded: list[Moment] = []
    others: list[str] = []
    for moment in moments:
        cut = _CUT.match(moment.what)
        last = _CUT.match(folded[-1].what) if folded else None
        if cut and last and (folded[-1].at_s, last[1], last[3]) == (moment.at_s, cut[1], cut[3]):
            others.append(cut[2])
            what = f"cut {cut[1]} | {', '.join(others)} for {cut[3]}"
            folded[-1] = msgspec.structs.replace(folded[-1], what=what)
            continue
        others = [cut[2]] if cut else []
        if folded and (folded[-1].who, folded[-1].what) == (moment.who, moment.what):
            folded[-1] = msgspec.structs.replace(folded[-1], times=folded[-1].times + 1, until_s=moment.at_s)
            continue
        folded.append(moment)
    return folded


def unjudged(lines: Iterable[str]) -> list[str]:
    """Return the submissions that were committed and got no verdict at all."""
    waiting: dict[str, None] = {}
    for line in lines:
        if match := _COMMITTED.match(line):
            waiting[match[2]] = None
        elif match := _JUDGED.match(line):
            waiting.pop(match[2], None)
    return list(waiting)


def _find(submission: str, lines: Iterable[str]) -> str:
    known: dict[str, str] = {}
    for line in lines:
        if match := _COMMITTED.match(line):
            known[match[2]] = f"{match[2]}  committed at {match[1]} s"
        elif match := _JUDGED.match(line):
            known[match[2]] = known.get(match[2], match[2]) + f", {match[4]} at {match[1]} s"
    found = [each for each in known if each.startswith(submission.upper())]
    if len(found) == 1:
        return found[0]
    if not known:
        raise Invalid("no submission was committed in this run")
    problem = "no submission's id begins" if not found else f"{len(found)} submissions' ids begin"
    raise Invalid("\n  ".join((f"{problem} with {submission!r}. There are:", *known.values())))


def _messages(submission: str, lines: Iterable[str]) -> list[str]:
    found = (match for line in lines if (match := _PUBLISHED.search(line)))
    return list(dict.fromkeys(match[1] for match in found if match[2] == submission))


def _is_around(who: str, what: str, involved: set[str]) -> bool:
    """Whether this happened to somebody who has to do with it."""
    if who == NETWORK:
        return not what.startswith("cut ") or any(name in what.split(" ") for name in involved)
    return who in involved and what.startswith(_DISTURBED)


def _parse(line: str) -> tuple[float, str, str]:
    who, _, what = line[13:].partition(" ")
    return float(line[:11]), who, what.strip()
