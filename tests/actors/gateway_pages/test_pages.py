"""The pages as a browser gets them: complete without scripts, and nothing in them that the content policy would refuse."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from actors.gateway.pages.routes import own_path
from contracts.messages import Role
from contracts.scoring import Entry
from contracts.verdicts import Verdict
from tests.actors.gateway_pages.house import NEXT, OPEN, POINTS, House, add_submission

PUBLIC = [
    "/", "/contests", f"/contests/{OPEN}", f"/contests/{NEXT}", f"/contests/{OPEN}/problems/B", f"/contests/{OPEN}/leaderboard",
    f"/contests/{POINTS}/leaderboard", "/problems", "/problems/p1",
]  # fmt: skip
OWN = [
    "/submissions",
    "/submissions?verdict=AC",
    f"/submissions?contest_id={OPEN}&problem_id=p1",
    f"/submissions/{OPEN}-0",
]
VOID = {"meta", "link", "input", "br", "hr", "img"}
SHAPES = {"path", "ellipse", "circle", "rect", "use"}


class Reader(HTMLParser):
    """Collects what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.references: list[str] = []
        self.labels: list[str] = []
        self.fields: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in found) or "style" in found:
            self.inline.append(f"<{tag}>")
        self.inline += [name for name in found if name.startswith("on")]
        self.ids += [found["id"] or ""] if "id" in found else []
        self.headings += [tag] if re.fullmatch(r"h[1-6]", tag) else []
        self.references += [str(found[name]) for name in ("src", "href") if found.get(name)]
        self.labels += [str(found["for"])] if "for" in found else []
        if tag in ("select", "textarea") or (
            tag == "input" and found.get("type") != "hidden" and "hidden" not in found
        ):
            self.fields.append((tag, found))
        if tag not in VOID | SHAPES:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID | SHAPES:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID | SHAPES:
            return
        assert self.open.pop() == tag, f"</{tag}> closes something else"


def check(text: str) -> Reader:
    """Check what holds for every page."""
    page = Reader(text)
    assert page.open == []
    assert page.inline == []
    assert len(page.ids) == len(set(page.ids))
    assert page.headings.count("h1") == 1
    assert "main" in page.ids
    for tag, attributes in page.fields:
        assert attributes.get("id") in page.labels or "aria-label" in attributes, (tag, attributes)
    assert all(not reference.startswith(("http", "//", "data:")) for reference in page.references)
    return page


@pytest.mark.parametrize("path", [*PUBLIC, "/signin", "/signup"])
async def test_a_public_page_is_complete_for_a_stranger(house: House, path: str) -> None:
    status, text, headers = await house.get(path)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    check(text)


@pytest.mark.parametrize("path", [*PUBLIC, *OWN])
@pytest.mark.parametrize("role", [Role.CONTESTANT, Role.ADMIN])
async def test_a_page_is_complete_for_somebody(house: House, path: str, role: Role) -> None:
    status, text, _ = await house.get(path, house.cookie("ada", role=role))
    assert status == 200
    page = check(text)
    assert re.search(r'name="csrf-token" content="[0-9a-f]{64}"', text)
    assert "/signin" not in page.references


async def test_every_file_that_a_page_names_is_there(house: House) -> None:
    named: set[str] = set()
    for path in [*PUBLIC, *OWN]:
        _, text, _ = await house.get(path, house.cookie("ada"))
        named |= {each.split("#")[0] for each in Reader(text).references if each.startswith(("/static/", "/palette/"))}
    assert any(each.startswith("/palette/") for each in named)
    for each in sorted(named):
        status, _, headers = await house.get(each)
        assert status == 200, each
        assert "immutable" in headers["Cache-Control"]


async def test_scripts_import_only_files_that_are_there(house: House) -> None:
    _, text, _ = await house.get(f"/contests/{OPEN}/problems/B", house.cookie("ada"))
    seen: set[str] = set()
    left = [each for each in Reader(text).references if each.endswith(".js")]
    while left:
        url = left.pop()
        status, script, _ = await house.get(url)
        assert status == 200, url
        seen.add(url)
        folder = url.rsplit("/", 1)[0]
        left += [
            f"{folder}/{name}" for name in re.findall(r'from "\./([\w.]+)"', script) if f"{folder}/{name}" not in seen
        ]
    assert len(seen) > 8


async def test_icons_that_templates_use_exist(house: House) -> None:
    used: set[str] = set()
    for path in [*PUBLIC, *OWN]:
        _, text, _ = await house.get(path, house.cookie("ada"))
        used |= set(re.findall(r"icons\.svg#([\w-]+)", text))
    _, sprite, _ = await house.get("/static/now/img/icons.svg")
    assert used - set(re.findall(r'symbol id="([\w-]+)"', sprite)) == set()


# ---- what may be seen ------------------------------------------------------------------------------------------------


async def test_problems_stay_sealed_until_the_contest_starts(house: House) -> None:
    _, text, _ = await house.get(f"/contests/{NEXT}", house.cookie("ada"))
    assert "The problems are sealed" in text
    assert "Longest run" not in text
    assert (await house.get(f"/contests/{NEXT}/problems/B", house.cookie("ada")))[0] == 404
    _, text, _ = await house.get(f"/contests/{NEXT}/leaderboard", house.cookie("ada"))
    assert "Longest run" not in text


async def test_somebody_elses_submission_is_not_there(house: House) -> None:
    path = f"/submissions/{OPEN}-0"
    assert (await house.get(path, house.cookie("bob")))[0] == 404
    assert (await house.get(path, house.cookie("root", role=Role.ADMIN)))[0] == 200


async def test_a_stranger_is_asked_to_sign_in_and_comes_back(house: House) -> None:
    status, _, headers = await house.get("/submissions?verdict=AC")
    assert (status, headers["Location"]) == (303, "/signin?next=/submissions%3Fverdict%3DAC")
    _, text, _ = await house.get(headers["Location"])
    assert 'data-next="/submissions?verdict=AC"' in text


async def test_an_expired_session_passes_through_the_refresh_page(house: House) -> None:
    status, _, headers = await house.get(f"/contests/{OPEN}?a=b", house.expired("ada"))
    assert (status, headers["Location"]) == (303, f"/refresh?next=/contests/{OPEN}%3Fa%3Db")
    status, text, _ = await house.get(headers["Location"], house.expired("ada"))
    assert status == 200
    assert f'data-next="/contests/{OPEN}?a=b"' in text
    check(text)
    status, _, headers = await house.get(headers["Location"], house.cookie("ada"))
    assert (status, headers["Location"]) == (303, f"/contests/{OPEN}?a=b")


async def test_files_need_no_session(house: House) -> None:
    assert (await house.get("/static/x/css/base.css", house.expired("ada")))[0] == 200
    assert (await house.get("/signin", house.expired("ada")))[0] == 200


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:1", "/a\nb", "", "x", "/" + "a" * 600],
)
def test_a_link_cannot_send_anybody_elsewhere_after_signing_in(wanted: str) -> None:
    assert own_path(wanted) == ""


@pytest.mark.parametrize(
    "path",
    ["/contests/nope", "/contests/%00", f"/contests/{OPEN}/problems/Z", "/problems/a.b", "/contests/nope/leaderboard"],
)
async def test_what_is_not_there_says_so_on_a_page(house: House, path: str) -> None:
    status, text, _ = await house.get(path)
    assert status == 404
    assert "Nothing here" in text
    check(text)


@pytest.mark.parametrize(
    "path",
    [
        "/contests?cursor=x",
        "/problems?limit=0",
        f"/contests/{OPEN}/leaderboard?page=0",
        f"/contests/{OPEN}/leaderboard?page=x",
    ],
)
async def test_a_bad_query_is_the_readers_error_not_ours(house: House, path: str) -> None:
    assert (await house.get(path))[0] == 422


# ---- what is shown ---------------------------------------------------------------------------------------------------


async def test_the_readers_own_row_is_marked_and_others_are_not(house: House) -> None:
    _, text, _ = await house.get(f"/contests/{OPEN}/leaderboard", house.cookie("carol"))
    assert re.findall(r'<tr data-user="(\w+)" class="is-me">', text) == ["carol"]
    _, text, _ = await house.get(f"/contests/{OPEN}/leaderboard")
    assert "is-me" not in text


async def test_a_frozen_board_says_so_and_shows_question_marks(house: House) -> None:
    _, text, _ = await house.get(f"/contests/{POINTS}/leaderboard")
    assert '<p class="note note-frozen" data-frozen-note>' in text
    assert "is-frozen" in text
    _, text, _ = await house.get(f"/contests/{OPEN}/leaderboard")
    assert '<p class="note note-frozen" data-frozen-note hidden>' in text


async def test_each_problem_is_first_solved_by_exactly_one(house: House) -> None:
    _, text, _ = await house.get(f"/contests/{OPEN}/leaderboard")
    assert text.count('first to solve"') == len(re.findall(r'data-problem="', text))


async def test_markup_in_names_stays_text(house: House) -> None:
    await house.database.execute("UPDATE contests SET title = $1 WHERE id = $2", "<script>alert(1)</script>\"'", OPEN)
    await house.database.execute("UPDATE problems SET title = $1 WHERE id = 'p1'", "<img src=x onerror=alert(1)>")
    for path in ("/contests", f"/contests/{OPEN}", f"/contests/{OPEN}/leaderboard", "/problems", "/"):
        _, text, _ = await house.get(path)
        check(text)
        assert "<script>alert" not in text


async def test_source_and_compiler_output_are_shown_as_they_are(house: House) -> None:
    entry = Entry("mine", 1, "ada", "p1", house.clock.now_ms(), Verdict.CE)
    await add_submission(house, entry, OPEN)
    await house.database.execute(
        "UPDATE submissions SET source = $1 WHERE id = 'mine'", "\n\n#include <x>\n</pre><script>"
    )
    _, text, _ = await house.get("/submissions/mine", house.cookie("ada"))
    check(text)
    assert "\n\n\n#include &lt;x&gt;\n&lt;/pre&gt;&lt;script&gt;</pre>" in text
    assert "What the compiler says" in text
    assert "Compile error" in text


async def test_a_waiting_submission_offers_what_its_script_needs(house: House) -> None:
    await add_submission(house, Entry("w1", 1, "ada", "p1", house.clock.now_ms(), Verdict.AC), OPEN, is_judged=False)
    _, text, _ = await house.get("/submissions", house.cookie("ada"))
    assert 'data-waiting="w1"' in text
    _, text, _ = await house.get("/submissions/w1", house.cookie("ada"))
    assert 'data-judged="false"' in text
    assert "Waiting for a judge" in text


async def test_only_people_who_take_part_submit_to_the_contest(house: House) -> None:
    path = f"/contests/{OPEN}/problems/A"
    _, text, _ = await house.get(path, house.cookie("ada"))
    assert f'data-contest="{OPEN}"' in text
    _, text, _ = await house.get(path, house.cookie("root", role=Role.ADMIN))
    assert 'data-contest=""' in text
    assert "Take part to run and submit" in text


async def test_filters_keep_their_choice_and_show_what_fits(house: House) -> None:
    _, text, _ = await house.get("/submissions?verdict=AC&problem_id=p1", house.cookie("ada"))
    assert '<option value="AC" selected>' in text
    assert '<option value="p1" selected>' in text
    assert set(re.findall(r'data-title="([^"]+)"', text)) <= {"Longest run"}
    assert "v-wa" not in text


async def test_empty_pages_say_what_to_do(house: House) -> None:
    for table in (
        "verdicts",
        "submissions",
        "registrations",
        "contest_problems",
        "contests",
        "problem_versions",
        "problems",
    ):
        await house.database.execute(f"DELETE FROM {table}")
    for path, words in (
        ("/contests", "No contest yet"),
        ("/problems", "Nothing to practise yet"),
        ("/submissions", "Nothing submitted yet"),
        ("/", "Watch it land"),
    ):
        status, text, _ = await house.get(path, house.cookie("ada"))
        assert status == 200
        assert words in text
        check(text)
