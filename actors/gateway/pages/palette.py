"""Balloon colours without inline styles: a problem's colour becomes a class, and the classes of a page one small stylesheet named by the colours in it.

``/palette/e6194b.3cb44b.css`` depends on nothing but its own name, so it needs no lookup, tells nothing, and may be cached for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_COLOURS = 64
_HEX = re.compile(r"#([0-9a-f]{3}|[0-9a-f]{6})\Z")
_NAME = re.compile(r"[0-9a-f]{6}(\.[0-9a-f]{6})*\Z")

# Balloons that contests really hang up, by the names that contest packages use; the hexadecimal values are ours, chosen to be told apart in both themes.
_NAMED = {
    "red": "e5484d",
    "green": "30a46c",
    "blue": "3e63dd",
    "yellow": "f5d90a",
    "orange": "f76b15",
    "purple": "8e4ec6",
    "pink": "e93d82",
    "cyan": "05a2c2",
    "teal": "12a594",
    "lime": "99d52a",
    "brown": "a1683a",
    "black": "2b2f38",
    "white": "f4f4f2",
    "gold": "d9a514",
    "silver": "a8b0bd",
    "gray": "80838d",
    "grey": "80838d",
    "magenta": "c2339f",
    "navy": "23366f",
}
_BY_PLACE = (
    "e5484d",
    "3e63dd",
    "30a46c",
    "f5d90a",
    "8e4ec6",
    "f76b15",
    "05a2c2",
    "e93d82",
    "a1683a",
    "99d52a",
    "2b2f38",
    "d9a514",
)


def colour_code(colour: str, label: str = "A") -> str:
    """Return six hexadecimal digits for a problem's colour: "#rgb", "#rrggbb" or a name; anything else gets one by the label."""
    wanted = colour.strip().lower()
    found = _HEX.match(wanted)
    if found:
        digits = found[1]
        return digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
    return _NAMED.get(wanted) or _BY_PLACE[(sum(label.encode()) - ord("A")) % len(_BY_PLACE)]


def colour_class(colour: str, label: str = "A") -> str:
    """Return the class that has the colour."""
    return f"c-{colour_code(colour, label)}"


def palette_url(codes: Iterable[str]) -> str | None:
    """Return the stylesheet that defines these colours (None without any); beyond MOST_COLOURS they stay grey."""
    wanted = sorted(set(codes))[:MOST_COLOURS]
    return f"/palette/{'.'.join(wanted)}.css" if wanted else None


def palette_css(name: str) -> str | None:
    """Return the stylesheet of a name ("e6194b.3cb44b"), or None when it is not one."""
    if len(name) > MOST_COLOURS * 7 or _NAME.match(name) is None:
        return None
    return "".join(f".c-{code}{{--balloon:#{code}}}\n" for code in dict.fromkeys(name.split(".")))
