"""Static files and palettes."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from actors.gateway.pages.assets import Assets
from actors.gateway.pages.palette import MOST_COLOURS, colour_class, colour_code, palette_css, palette_url
from tests.actors.gateway_pages.house import House


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    (tmp_path / "css").mkdir()
    (tmp_path / "css" / "a.css").write_text("a { color: red }\n" * 50)
    (tmp_path / "b.js").write_text("1")
    return Assets(tmp_path)


def test_the_current_version_may_be_kept_for_ever(assets: Assets) -> None:
    answer = assets.answer(assets.version, "css/a.css")
    assert answer is not None
    body, status, headers = answer
    assert (status, body[:3]) == (200, b"a {")
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Content-Type"] == "text/css; charset=utf-8"


def test_an_older_version_is_served_but_asked_for_again(assets: Assets) -> None:
    answer = assets.answer("0" * 16, "b.js")
    assert answer is not None
    assert answer[2]["Cache-Control"] == "no-cache"


def test_a_known_etag_is_answered_without_a_body(assets: Assets) -> None:
    first = assets.answer(assets.version, "b.js")
    assert first is not None
    for sent in (first[2]["ETag"], f'"other", W/{first[2]["ETag"]}'):
        again = assets.answer(assets.version, "b.js", if_none_match=sent)
        assert again is not None
        assert again[:2] == (b"", 304)


@pytest.mark.parametrize(
    ("header", "is_compressed"), [("gzip, br", True), ("br", False), ("gzip;q=0", False), ("", False)]
)
def test_text_is_compressed_for_those_who_take_it(assets: Assets, header: str, is_compressed: bool) -> None:
    answer = assets.answer(assets.version, "css/a.css", accept_encoding=header)
    assert answer is not None
    body, _, headers = answer
    assert ("Content-Encoding" in headers) is is_compressed
    assert (gzip.decompress(body) if is_compressed else body).startswith(b"a {")


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    before = Assets(tmp_path).version
    (tmp_path / "a.js").write_text("2")
    assert Assets(tmp_path).version != before


def test_a_file_of_another_type_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "secret.env").write_text("x")
    with pytest.raises(ValueError, match=r"secret\.env"):
        Assets(tmp_path)


def test_a_template_cannot_point_at_nothing(assets: Assets) -> None:
    with pytest.raises(KeyError):
        assets.url("css/missing.css")


@pytest.mark.parametrize(
    "path",
    [
        "../routes.py",
        "..%2froutes.py",
        "%2e%2e/routes.py",
        "css/../../routes.py",
        "/etc/passwd",
        "css",
        "",
        "css/a.css%00",
    ],
)
async def test_nothing_outside_the_folder_is_served(house: House, path: str) -> None:
    status, text, _ = await house.get(f"/static/x/{path}")
    assert status in (404, 308)
    assert "import" not in text


@pytest.mark.parametrize(
    ("colour", "code"),
    [
        ("#E6194B", "e6194b"),
        ("#abc", "aabbcc"),
        ("Red", "e5484d"),
        ("", "e5484d"),
        ("url(x)", "e5484d"),
        ("#12345", "e5484d"),
    ],
)
def test_a_colour_becomes_six_digits_whatever_was_written(colour: str, code: str) -> None:
    assert colour_code(colour, "A") == code
    assert colour_class(colour, "A") == f"c-{code}"


def test_problems_without_colours_get_different_ones() -> None:
    assert len({colour_code("", label) for label in "ABCDEFGHIJKL"}) == 12


def test_a_palette_says_what_its_name_says() -> None:
    url = palette_url(["ff0000", "00ff00", "ff0000"])
    assert url == "/palette/00ff00.ff0000.css"
    assert palette_css("00ff00.ff0000") == ".c-00ff00{--balloon:#00ff00}\n.c-ff0000{--balloon:#ff0000}\n"
    assert palette_url([]) is None


@pytest.mark.parametrize(
    "name", ["", "red", "ff0000}", "ff0000.", "FF0000", ".".join(["ff0000"] * (MOST_COLOURS + 1)), "ff0000\n"]
)
def test_a_name_that_is_no_palette_is_not_found(name: str) -> None:
    assert palette_css(name) is None


async def test_palettes_and_files_come_with_their_types(house: House) -> None:
    status, text, headers = await house.get("/palette/ff0000.css")
    assert (status, headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert "#ff0000" in text
    assert (await house.get("/palette/nonsense.css"))[0] == 404
