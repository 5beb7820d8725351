"""What others wrote steers no terminal, whatever it is."""

import json
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.visible import visible, visible_json

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def steers(text: str) -> list[str]:
    """Return what a terminal would obey, line breaks and tabs too."""
    return [each for each in text if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") or each in BIDI]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode 日本 👩‍🚀 [/x]", "plain, ünïcode 日本 👩‍🚀 [/x]"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x1b]52;c;ZXZpbA==\x1b\\", "␛]52;c;ZXZpbA==␛\\"),
        ("a\r\nb\tc\x7f", "a␍␊b␉c␡"),
        ("\x9b31m \u202eabc \ud800", "�31m �abc �"),
    ],
)
def test_pictures_stand_for_what_steers(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(codec=None)))
def test_nothing_steers(text: str) -> None:
    assert steers(visible(text)) == []
    assert set(steers(visible(text, lines=True))) <= {"\n", "\t"}
    assert visible(visible(text)) == visible(text)


@given(st.text())
def test_json_keeps_its_meaning_and_steers_nothing(text: str) -> None:
    shown = visible_json(msgspec.json.encode({text: [text, 1]}))
    assert steers(shown) == []
    assert json.loads(shown) == {text: [text, 1]}
