"""The design's promises, computed from tokens.css: contrast in both themes, and no colour or name outside of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actors.gateway.pages.render import HERE

CSS = HERE / "static" / "css"
THEMES = ("light", "dark")
_PAIR = re.compile(r"--([\w-]+):\s*light-dark\((#[0-9a-f]{6}),\s*(#[0-9a-f]{6})\)")
COLOURS = {name: (light, dark) for name, light, dark in _PAIR.findall((CSS / "tokens.css").read_text())}

GROUNDS = ("paper", "surface", "raised", "sunken", "hover")
TEXT = [(ink, ground) for ink in ("ink", "ink-2", "ink-3", "accent") for ground in GROUNDS]
VERDICTS = [(name, f"{name}-soft") for name in ("ac", "wa", "limit", "rte", "ce", "wait", "frozen")]
VERDICTS += [
    (name, ground) for name in ("ac", "wa", "limit", "rte", "ce", "wait", "frozen") for ground in ("paper", "surface")
]
VERDICTS += [("ink-2", f"{name}-soft") for name in ("ac", "wa", "limit", "rte", "ce", "wait")]
CODE = [(name, ground) for name in COLOURS if name.startswith("code-") for ground in ("surface", "sunken")]
OTHERS = [
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("accent-strong", "accent-soft"),
    ("ink", "accent-soft"),
    ("ink", "flash"),
    ("paper", "ink"),
]
EDGES = [
    ("line-strong", "surface"),
    ("line-strong", "paper"),
    ("accent", "surface"),
    ("accent", "paper"),
    ("wa", "surface"),
]


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mix(one: str, other: str, share: float) -> str:
    """CSS's color-mix(in srgb, one share, other)."""
    parts = [round(int(one[at : at + 2], 16) * share + int(other[at : at + 2], 16) * (1 - share)) for at in (1, 3, 5)]
    return "#" + "".join(f"{part:02x}" for part in parts)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("ink", "ground"), [*TEXT, *VERDICTS, *CODE, *OTHERS])
def test_text_has_the_contrast_of_wcag_aa(ink: str, ground: str, theme: str) -> None:
    at = THEMES.index(theme)
    assert contrast(COLOURS[ink][at], COLOURS[ground][at]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("edge", "ground"), EDGES)
def test_borders_of_fields_and_focus_rings_are_seen(edge: str, ground: str, theme: str) -> None:
    at = THEMES.index(theme)
    assert contrast(COLOURS[edge][at], COLOURS[ground][at]) >= 3


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    "balloon", ["#000000", "#ffffff", "#e5484d", "#3e63dd", "#f5d90a", "#30a46c", "#ff00ff", "#00ffff"]
)
def test_times_on_a_balloon_coloured_cell_can_be_read(balloon: str, theme: str) -> None:
    at = THEMES.index(theme)
    edge = mix(balloon, COLOURS["ink-2"][at], 0.80)
    for share, ink in ((0.22, "ink"), (0.36, "ink"), (0.22, "ink-2")):
        assert contrast(COLOURS[ink][at], mix(edge, COLOURS["surface"][at], share)) >= 4.5


@pytest.mark.parametrize("sheet", sorted(set(CSS.glob("*.css")) - {CSS / "tokens.css"}), ids=lambda path: path.name)
def test_no_sheet_names_a_colour_of_its_own(sheet: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.DOTALL)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=\s*[;,)])", text) == []


def test_every_custom_property_in_use_is_defined() -> None:
    text = "".join(path.read_text() for path in sorted(CSS.glob("*.css")))
    used = set(re.findall(r"var\(--([\w-]+)", text))
    defined = set(re.findall(r"--([\w-]+):", text)) | {
        "split"
    }  # set by problem.js from where the reader put the splitter
    assert used - defined == set()


def test_motion_stops_for_those_who_asked_for_it() -> None:
    assert "@media (prefers-reduced-motion: reduce)" in (CSS / "tokens.css").read_text()
