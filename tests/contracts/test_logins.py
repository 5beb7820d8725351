"""The setting that names logins: read as it is meant, refused with a reason, and never told with its passwords."""

from __future__ import annotations

import pytest

from contracts.logins import Kind, Login, parse


def test_names_and_passwords_stand_as_in_a_url() -> None:
    logins = parse("core=house_core:p%40ss%2Fword%3A1234567  gateway=g_1:0123456789abcdef\n leaderboard=made_elsewhere")
    assert logins == (
        Login(Kind.CORE, "house_core", "p@ss/word:1234567"),
        Login(Kind.GATEWAY, "g_1", "0123456789abcdef"),
        Login(Kind.LEADERBOARD, "made_elsewhere", ""),
    )
    assert "p@ss" not in repr(logins)
    assert parse("") == parse("  ") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("judge=a:secret-secret-secret", "word 1 does not begin with one of core=, gateway=, leaderboard="),
        ("core:secret-secret-secret", "word 1 does not begin"),
        ("core=a:secret-secret-secret secret", "word 2 does not begin"),
        ("core=:secret-secret-secret", "login of core has no name"),
        ("core=Ann:secret-secret-secret", "has no name of small letters"),
        ("core=pg_monitor:secret-secret-secret", "not pg_"),
        ("core=a%22%3B--:secret-secret-secret", "has no name of small letters"),
        (f"core={'a' * 64}:secret-secret-secret", "has no name"),
        ("core=a:secret", "needs 16 to 256 characters"),
        ("core=a:", "needs 16 to 256 characters"),
        ("core=a:secret%20secret%20secret", "without spaces"),
        ("core=a:secret-secret-secret%C3%A9", "ASCII"),
        ("core=a:secret-secret-secret core=b:secret-secret-secret", "is there twice"),
        ("core=a:secret-secret-secret gateway=a:secret-secret-secret", "is there twice"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line_without_the_passwords(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse(text)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
