"""The default output validator of the ICPC problem package format: tokens, with case, whitespace and floats as its flags say. Pure, linear time.

Without ``space_change_sensitive`` only tokens count, else whitespace must be the same, byte for byte. With a float tolerance, where the answer's token is a
decimal number, the output's must be one, too, and close enough: absolute *or* relative error within the tolerance given. Everything else must be the same
text, letter case aside unless ``case_sensitive``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import msgspec

from contracts.errors import Invalid

# What a number may look like: no hex floats, underscores, "inf" or "nan", which float() would take. The length keeps float() linear.
_NUMBER = re.compile(rb"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,8})?", re.ASCII)
_NUMBER_MAX = 4_300
_TOKEN = re.compile(rb"[^ \t\n\r\v\f]+")
_PIECE = re.compile(rb"[^ \t\n\r\v\f]+|[ \t\n\r\v\f]+")
_SHOWN = 40


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The default validator's arguments. A tolerance of None is not given."""

    case_sensitive: bool = False
    space_change_sensitive: bool = False
    absolute: float | None = None
    relative: float | None = None


class Match(msgspec.Struct, frozen=True):
    """Whether an output is right; ``reason`` is for the jury, as it tells about the answer."""

    is_right: bool
    reason: str = ""


def parse_flags(args: Sequence[str]) -> Flags:
    """Read the arguments of the default validator; Invalid for what it does not know."""
    case = space = False
    absolute: float | None = None
    relative: float | None = None
    words = iter(args)
    for word in words:
        if word == "case_sensitive":
            case = True
        elif word == "space_change_sensitive":
            space = True
        elif word in ("float_tolerance", "float_absolute_tolerance", "float_relative_tolerance"):
            value = _tolerance(word, next(words, ""))
            absolute = value if word != "float_relative_tolerance" else absolute
            relative = value if word != "float_absolute_tolerance" else relative
        else:
            raise Invalid(f"the default output validator has no argument {word!r}")
    return Flags(case_sensitive=case, space_change_sensitive=space, absolute=absolute, relative=relative)


def _tolerance(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise Invalid(f"{name} needs a number that is not negative, not {text!r}")
    return value


_STRICT = Flags()


def check(output: bytes, answer: bytes, flags: Flags = _STRICT) -> Match:
    """Compare a program's output with the answer."""
    if output == answer:
        return Match(is_right=True)
    pattern = _PIECE if flags.space_change_sensitive else _TOKEN
    theirs, ours = _pieces(pattern, output), _pieces(pattern, answer)
    for number, expected in enumerate(ours, 1):
        got = next(theirs, None)
        if got is None:
            return Match(is_right=False, reason=f"the output ends before token {number}, expected {_show(expected)}")
        if not _same(got, expected, flags):
            return Match(is_right=False, reason=f"token {number} is {_show(got)}, expected {_show(expected)}")
    extra = next(theirs, None)
    return (
        Match(is_right=True)
        if extra is None
        else Match(is_right=False, reason=f"there is output after the last token: {_show(extra)}")
    )


def _pieces(pattern: re.Pattern[bytes], text: bytes) -> Iterator[bytes]:
    return (found.group() for found in pattern.finditer(text))


def _show(token: bytes) -> str:
    return repr(token[:_SHOWN].decode(errors="replace")) + ("…" if len(token) > _SHOWN else "")


def _same(got: bytes, expected: bytes, flags: Flags) -> bool:
    if got == expected or (not flags.case_sensitive and len(got) == len(expected) and got.lower() == expected.lower()):
        return True
    if flags.absolute is None and flags.relative is None:
        return False
    wanted, given = _number(expected), _number(got)
    if wanted is None or given is None:
        return False
    error = abs(given - wanted)
    return (flags.absolute is not None and error <= flags.absolute) or (
        flags.relative is not None and error <= flags.relative * abs(wanted)
    )


def _number(token: bytes) -> float | None:
    """Return the value of a decimal number that a double can hold, None for anything else."""
    if len(token) > _NUMBER_MAX or _NUMBER.fullmatch(token) is None:
        return None
    value = float(token)
    return value if math.isfinite(value) else None
