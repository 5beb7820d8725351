"""What is wrong with a field, in words for people: the one place where the decoder's own messages, and patterns, are put into English.

Each says what the field must be, so that it reads well behind the field's name and beside a form's input.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

# What cannot be seen, or changes the direction of what can: control characters, line separators, bidirectional marks, zero-width ones.
_UNSEEN = "\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
# `$(?!\n)`: in Python a bare `$` would let a trailing line break pass.
LINE = f"^[^\\S{_UNSEEN}]*[^\\s{_UNSEEN}][^{_UNSEEN}]*$(?!\\n)"
USERNAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$(?!\n)"
EMAIL = f"^[^@\\s\u200c\u200d{_UNSEEN}]+@[^@\\s\u200c\u200d{_UNSEEN}]+$(?!\\n)"
LABEL = r"^[A-Za-z0-9]{1,8}$(?!\n)"
COLOUR = r"^(#[0-9A-Fa-f]{3}|#[0-9A-Fa-f]{6}|[A-Za-z]{0,30})$(?!\n)"

_OF_PATTERN = {
    LINE: "must be one line of visible text",
    USERNAME: "must consist of letters (a to z), digits, “_”, “.” and “-”, and begin with a letter or a digit",
    EMAIL: "must be an e-mail address like ada@example.org",
    LABEL: "must be 1 to 8 letters (a to z) or digits",
    COLOUR: "must be a colour like #d33, #dd3333 or red",
}
_TIME = "must be a date and time with its time zone, like 2026-01-31T12:00:00Z"
_OF_TYPE = {
    "str": "must be text",
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "array": "must be a list",
    "object": "must be a JSON object",
    "datetime": _TIME,
}

Write = Callable[[re.Match[str]], str]


def _number(text: str) -> str:
    return text.removesuffix(".0")


def _at_least(found: re.Match[str]) -> str:
    if found["of"] == "str" and found["least"] == "1":
        return "must not be empty"
    return f"must have at least {found['least']} {'characters' if found['of'] == 'str' else 'entries'}"


def _at_most(found: re.Match[str]) -> str:
    return f"must have at most {found['most']} {'characters' if found['of'] == 'str' else 'entries'}"


def _type(found: re.Match[str]) -> str:
    return _OF_TYPE.get(found["type"], "is of the wrong type") + (" or null" if found["null"] else "")


_TABLE: tuple[tuple[re.Pattern[str], Write], ...] = (
    (re.compile(r"Object missing required field"), lambda _: "is required"),
    (re.compile(r"Object contains unknown field"), lambda _: "is not a known field"),
    (re.compile(r"Expected `(?P<of>\w+)` of length >= (?P<least>\d+)"), _at_least),
    (re.compile(r"Expected `(?P<of>\w+)` of length <= (?P<most>\d+)"), _at_most),
    (re.compile(r"Expected `\w+` >= (?P<least>\S+)"), lambda found: f"must be at least {_number(found['least'])}"),
    (re.compile(r"Expected `\w+` <= (?P<most>\S+)"), lambda found: f"must be at most {_number(found['most'])}"),
    (re.compile(r"Invalid RFC3339 encoded datetime|with a timezone component"), lambda _: _TIME),
    (re.compile(r"Expected `(?P<type>\w+)(?P<null> \| null)?`, got"), _type),
    (re.compile(r"out of range"), lambda _: "is too large a number"),
)


def sentence(raw: str, kind: Any = None) -> str:
    """Return the decoder's message about a field of type ``kind`` as people say it."""
    if "matching regex" in raw:
        return next(
            (words for pattern, words in _OF_PATTERN.items() if pattern in raw or repr(pattern)[1:-1] in raw),
            "has a shape that is not taken here",
        )
    if "Invalid enum value" in raw:
        choices = ", ".join(_choices(kind))
        return f"must be one of: {choices}" if choices else "is none of the known values"
    for pattern, write in _TABLE:
        found = pattern.search(raw)
        if found is not None:
            return write(found)
    return "is not valid"


def malformed(raw: str) -> str:
    """Return the decoder's message about a whole body that is no JSON."""
    if "truncated" in raw:
        return "The body is not valid JSON: it ends too early."
    at = re.search(r"byte (\d+)", raw)
    return "The body is not valid JSON" + (f": see byte {at[1]}." if at else ".")


def _choices(kind: Any) -> Iterator[str]:
    """Go through the values that an enumeration, wherever in ``kind`` it is, allows."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        yield from (str(each.value) for each in kind)
    elif get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    elif get_origin(kind) is Annotated:
        yield from _choices(get_args(kind)[0])
    else:
        for each in get_args(kind):
            yield from _choices(each)
