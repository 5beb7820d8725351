"""What others wrote, made fit for a terminal: it may be read there, and must not steer it.

Programs, packages, messages and whoever reaches Redis write names and texts that operators look at. A terminal obeys some characters of such a text: it
renames its window, fills the clipboard, moves up and writes over what stands there.
"""

import re

# C0, DEL and C1 control characters, marks of direction, other line breaks, and halves of characters, which no terminal can be sent.
_STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_STEERS_BUT_LINES = re.compile(_STEERS.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_PICTURES = 0x2400  # where Unicode has a picture of each C0 character


def visible(text: object, *, lines: bool = False) -> str:
    """Return a text with a picture in place of each character that a terminal would obey. With ``lines``, for whole bodies, line breaks and tabs stay."""
    return (_STEERS_BUT_LINES if lines else _STEERS).sub(_picture, str(text))


def visible_json(encoded: bytes) -> str:
    """Return JSON that means the same, and steers nothing when it is looked at: such characters can be in its strings only, where escapes stand for them."""
    return _STEERS.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded.decode())


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    return "␡" if code == 0x7F else "�"
