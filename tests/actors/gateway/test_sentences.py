"""What is wrong with a field is said in English, never in the decoder's words."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from actors.gateway.api.auth import Signup
from actors.gateway.api.contests import ContestChanges, NewContest, ProblemPlacement
from actors.gateway.api.leaderboard import LeaderboardQuery
from actors.gateway.bodies import decode_json, decode_query
from actors.gateway.table import ROUTES
from contracts.errors import CodeWarzError, Invalid, Malformed

JARGON = re.compile(r"`|Expected|regex|RFC|enum|str\b|int\b|float|datetime|Object|null$|\bgot\b|msgspec|\$")
WRONG: list[Any] = [
    None,
    True,
    5,
    -5,
    10**30,
    1.5,
    1e300,
    "",
    "x",
    "x" * 70_000,
    " ",
    "a\nb",
    "\u202e",
    [],
    {},
    [[{}]],
    {"a": 1},
]


def details(kind: type[Any], body: Any) -> dict[str, str]:
    try:
        decode_json(msgspec.json.encode(body), "application/json", kind)
    except Invalid as error:
        return {each.pointer: each.detail for each in error.errors}
    return {}


@pytest.mark.parametrize("kind", sorted({route.body for route in ROUTES if route.body}, key=str))
def test_no_body_can_bring_the_decoders_own_words_up(kind: type[Any]) -> None:
    for field in msgspec.structs.fields(kind):
        for value in WRONG:
            try:
                found = details(kind, {field.encode_name: value})
            except ValueError:  # a number that JSON cannot have
                continue
            for pointer, detail in found.items():
                assert pointer.startswith("/")
                assert not JARGON.search(detail.removesuffix(" or null")), (field.name, value, detail)


@pytest.mark.parametrize("kind", sorted({route.query for route in ROUTES if route.query}, key=str))
def test_no_query_can_bring_the_decoders_own_words_up(kind: type[Any]) -> None:
    for field in msgspec.structs.fields(kind):
        for value in ("", "x", "-1", "1e9", "9" * 5000, "x" * 70_000, "\0"):
            try:
                decode_query({field.encode_name: value}, kind)
            except Invalid as error:
                for each in error.errors:
                    assert each.pointer == f"/{field.encode_name}"
                    assert not JARGON.search(each.detail), (field.name, value, each.detail)


@pytest.mark.parametrize(
    ("kind", "body", "pointer", "detail"),
    [
        (Signup, {"username": "a"}, "/username", "must have at least 2 characters"),
        (Signup, {"username": 5}, "/username", "must be text"),
        (Signup, {}, "/password", "is required"),
        (Signup, {"role": "admin"}, "/role", "is not a known field"),
        (Signup, {"email": "ada"}, "/email", "must be an e-mail address like ada@example.org"),
        (Signup, {"username": "a b"}, "/username", "must consist of letters (a to z), digits, “_”, “.” and “-”, and begin with a letter or a digit"),
        (NewContest, {"rules": "golf"}, "/rules", "must be one of: icpc, ioi"),
        (NewContest, {"visibility": "hidden"}, "/visibility", "must be one of: public, private"),
        (NewContest, {"title": ""}, "/title", "must not be empty"),
        (NewContest, {"title": "  "}, "/title", "must be one line of visible text"),
        (NewContest, {"start": "soon"}, "/start", "must be a date and time with its time zone, like 2026-01-31T12:00:00Z"),
        (ContestChanges, {"rules": "golf"}, "/rules", "must be one of: icpc, ioi"),
        (ProblemPlacement, {"points": -1}, "/points", "must be at least 0"),
        (ProblemPlacement, {"label": "<b>"}, "/label", "must be 1 to 8 letters (a to z) or digits"),
        (ProblemPlacement, {"colour": "url(x)"}, "/colour", "must be a colour like #d33, #dd3333 or red"),
    ],
)  # fmt: skip
def test_it_says_what_the_field_must_be(kind: type[Any], body: object, pointer: str, detail: str) -> None:
    assert details(kind, body)[pointer] == detail


def test_queries_are_put_into_words_too() -> None:
    for query, detail in (
        ({"limit": "0"}, "must be at least 1"),
        ({"limit": "many"}, "must be a whole number"),
        ({"view": "x"}, "must be one of: public, jury"),
    ):
        with pytest.raises(Invalid) as caught:
            decode_query(query, LeaderboardQuery)
        assert caught.value.errors[0].detail == detail


@pytest.mark.parametrize("raw", [b"", b"{", b"NaN", b"\xff", b"nope"])
def test_what_is_no_json_is_said_so(raw: bytes) -> None:
    with pytest.raises(CodeWarzError) as caught:
        decode_json(raw, "application/json", Signup)
    assert isinstance(caught.value, Malformed)
    assert caught.value.detail.startswith("The body is not valid JSON")


@pytest.mark.parametrize(
    "email", ["a\u202eb@x.y", "a\u200b@x.y", "a@x\u2066.y", "a\x85@x.y", "a\ufeff@x.y", "a\u200d@x.y"]
)
def test_an_address_has_nothing_unseen(email: str) -> None:
    assert "/email" in details(Signup, {"email": email})


@pytest.mark.parametrize(
    "name", ["\u0430da", "ad\u0430", "ada\u200b", "\uff41da", "ada\n", ".ada", "-ada", "a\u0308da"]
)
def test_a_username_has_no_look_alikes(name: str) -> None:
    assert "/username" in details(Signup, {"username": name})


@pytest.mark.parametrize("title", ["a\u202etxt", "a\nb", "a\tb", "a\u2028b", "\ufeff"])
def test_a_title_is_one_visible_line(title: str) -> None:
    assert "/title" in details(NewContest, {"title": title})


@pytest.mark.parametrize("title", ["Herbst 2026 — Finale", "مسابقة", "می‌خواهم", "👩‍💻 Cup", "東京"])
def test_a_title_may_be_in_any_script(title: str) -> None:
    assert "/title" not in details(NewContest, {"title": title})
