"""The newcomer's story in two windows of a real browser: one submits, in the other the standings move with no reload.

Pictures of what both saw go to ``tests/artifacts``: wide and phone-sized, light and dark.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.demo.contest import PROBLEMS
from tests.browser import chromium, in_a_browser, window
from tests.house.conftest import NewServer
from tests.house.server import Server

pytestmark = in_a_browser
ARTIFACTS = Path(__file__).parents[1] / "artifacts"
SIZES = {"wide": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
SOLUTION = (PROBLEMS / "firstlight" / "submissions" / "accepted").glob("*.py")


@pytest.fixture(scope="module")
def server(new_server: NewServer) -> Server:
    made = new_server(demo_contestants=3)
    made.start()
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as launched:
        yield launched


def picture(page: Any, name: str, *, phone_tab: str = "") -> None:
    """Store what the page looks like in every size and theme, on a phone with ``phone_tab`` open; the page itself stays as it is."""
    ARTIFACTS.mkdir(exist_ok=True)
    before = page.viewport_size
    for (size, viewport), scheme in itertools.product(SIZES.items(), ("light", "dark")):
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        if phone_tab and size == "phone":
            page.get_by_role("tab", name=phone_tab).locator("visible=true").first.click()
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # painted anew
        page.screenshot(path=ARTIFACTS / f"{name}-{size}-{scheme}.png")
    page.set_viewport_size(before)
    page.emulate_media(color_scheme="light", reduced_motion="no-preference")


def test_a_newcomer_signs_up_solves_a_problem_and_the_standings_move_by_themselves(
    server: Server, browser: Any
) -> None:
    troubles: list[str] = []
    windows = [window(browser, server.url, viewport=SIZES["wide"]) for _ in range(2)]
    mine, theirs = (each.new_page() for each in windows)
    for page in (mine, theirs):
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)

    # The other window: somebody who only watches.
    theirs.goto("/contests")
    theirs.get_by_role("link", name="A Day at Lanternmouth").first.click()
    theirs.get_by_role("link", name="Live standings").click()
    theirs.locator(".live[data-state=open]").wait_for()
    theirs.evaluate("window.neverReloaded = true")

    # This window: the newcomer.
    mine.goto("/")
    picture(mine, "1-landing")
    mine.get_by_role("link", name="Sign up").first.click()
    mine.get_by_label("Username").fill("newcomer")
    mine.get_by_label("E-mail").fill("newcomer@example.org")
    mine.locator("#password").fill("a long enough secret")
    picture(mine, "2-signup")
    mine.get_by_role("button", name="Sign up").click()
    mine.wait_for_url(re.compile(r"/(contests.*)?$"))
    mine.goto("/contests")
    picture(mine, "3-contests")
    mine.get_by_role("link", name="A Day at Lanternmouth").first.click()
    mine.get_by_role("button", name="Take part").click()
    mine.get_by_role("button", name="Take part").wait_for(state="detached")
    row = theirs.locator("tr", has=theirs.get_by_title("newcomer"))
    row.wait_for()  # the standings know already
    assert row.locator(".cell").count() == 0
    picture(mine, "4-contest")

    mine.get_by_role("link", name="First Light").click()
    mine.locator("#language").select_option("python")
    mine.locator("#code").fill("print('no idea')\n")
    mine.get_by_role("button", name="Submit").click()
    mine.locator(".judging-words", has_text="Wrong answer").wait_for()
    row.locator(".cell-tried").wait_for()
    picture(mine, "5-wrong-answer", phone_tab="Result")

    mine.locator("#code").fill(next(SOLUTION).read_text())
    mine.get_by_role("button", name="Run", exact=True).click()
    mine.locator("#pane-result .out").first.wait_for()
    picture(mine, "6-run", phone_tab="Result")
    mine.get_by_role("button", name="Submit").click()
    mine.locator(".judging-words", has_text="Accepted").wait_for()
    picture(mine, "7-accepted", phone_tab="Result")

    row.locator(".cell-solved, .cell-first").wait_for()
    assert theirs.evaluate("window.neverReloaded") is True
    picture(theirs, "8-standings")

    mine.goto("/submissions")
    mine.locator("td[data-verdict]", has_text="Accepted").wait_for()
    picture(mine, "9-submissions")
    mine.locator("td a[href^='/submissions/']").first.click()
    mine.wait_for_url(re.compile("/submissions/."))
    picture(mine, "10-submission")
    assert troubles == []
    for each in windows:
        each.close()
