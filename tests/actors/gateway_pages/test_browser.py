"""What only a browser can tell: the content policy holds, nothing overflows, the theme does not flash, the editor edits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from actors.gateway.identity import ACCESS_COOKIE
from contracts.scoring import Entry
from contracts.verdicts import Verdict
from tests.actors.gateway_pages.house import NEXT, OPEN, POINTS, House, add_submission
from tests.browser import chromium, in_a_browser, window

pytestmark = in_a_browser
PAGES = [
    "/", "/contests", f"/contests/{OPEN}", f"/contests/{NEXT}", f"/contests/{OPEN}/problems/B", f"/contests/{OPEN}/leaderboard",
    f"/contests/{POINTS}/leaderboard", "/problems", "/problems/p1", "/submissions", f"/submissions/{OPEN}-0", "/submissions/waiting",
]  # fmt: skip


@pytest.fixture
async def address(house: House, nursery: trio.Nursery) -> AsyncIterator[str]:
    await add_submission(
        house, Entry("waiting", 1, "ada", "p1", house.clock.now_ms(), Verdict.AC), OPEN, is_judged=False
    )
    config = Config()
    config.bind = ["127.0.0.1:0"]
    over = trio.Event()
    binds = await nursery.start(
        lambda task_status: serve(house.app, config, shutdown_trigger=over.wait, task_status=task_status)
    )
    yield binds[0]
    over.set()


@contextmanager
def browser_page(address: str, cookie: str, **options: Any) -> Iterator[Any]:
    with chromium() as browser:
        context = window(browser, address, **options)
        if cookie:
            context.add_cookies([{"name": ACCESS_COOKIE, "value": cookie, "url": address}])
        yield context.new_page()
        context.close()


async def drive(house: House, address: str, act: Callable[[Any], None], *, user: str = "ada", **options: Any) -> None:
    """Run ``act(page)`` in a browser in which ``user`` is signed in."""
    cookie = house.cookie(user)["Cookie"].partition("=")[2] if user else ""

    def run() -> None:
        with browser_page(address, cookie, **options) as page:
            act(page)

    await trio.to_thread.run_sync(run)


async def test_no_page_breaks_the_content_policy_or_raises_or_overflows_a_small_phone(
    house: House, address: str
) -> None:
    wrong: list[str] = []

    def act(page: Any) -> None:
        # Streams are refused here (no hub runs), which a browser reports as a failed load; anything else is ours.
        page.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        for path in PAGES:
            page.goto(path)
            page.wait_for_selector("html.js")
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > 360:
                wrong.append(f"{path} is {width} px wide")

    await drive(house, address, act, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    assert wrong == []


OUTCOMES = {200: f"/contests/{OPEN}", 401: "/signin?next=%2Fcontests", 503: "/refresh?next=/problems"}


async def test_an_expired_session_comes_back_signs_in_again_or_waits(house: House, address: str) -> None:
    """The exchange itself is the API's and tested there; here its three outcomes are handed to the page."""
    fresh, seen = house.cookie("ada")["Cookie"], []
    expired = house.expired("ada")["Cookie"].partition("=")[2]

    def act(page: Any) -> None:
        page.route("**/auth/signout", lambda route: route.fulfill(status=204))
        for (status, ends_at), path in zip(
            OUTCOMES.items(), (f"/contests/{OPEN}", "/contests", "/problems"), strict=True
        ):
            page.context.add_cookies([{"name": ACCESS_COOKIE, "value": expired, "url": address}])
            headers = {"set-cookie": f"{fresh}; Path=/"} if status == 200 else {}
            answer = {
                "status": status,
                "headers": headers,
                "content_type": "application/json",
                "body": '{"csrf_token": "x"}',
            }
            page.route("**/auth/refresh", lambda route, *, answer=answer: route.fulfill(**answer))
            page.goto(path)
            page.wait_for_url(f"{address}{ends_at}")
            if status == 503:
                page.locator("[data-retry]").wait_for()
            seen.append(page.inner_text("h1"))

    await drive(house, address, act, user="")
    assert seen == ["Lanternmouth Open", "Welcome back", "Welcome back"]


async def test_the_theme_is_kept_and_there_before_the_first_paint(house: House, address: str) -> None:
    grounds: list[str] = []

    def act(page: Any) -> None:
        page.goto("/")
        page.click("[data-theme-toggle]")
        page.add_init_script(
            "addEventListener('DOMContentLoaded', () => (window.first = getComputedStyle(document.documentElement).backgroundColor))"
        )
        page.goto("/contests")
        grounds.append(page.evaluate("window.first"))
        page.click("[data-theme-toggle]")
        grounds.append(page.evaluate("document.documentElement.dataset.theme ?? 'system'"))

    await drive(house, address, act, user="", color_scheme="light")
    assert grounds == ["rgb(13, 15, 20)", "system"]


async def test_a_reader_with_a_keyboard_can_skip_to_the_content_and_leave_the_editor(
    house: House, address: str
) -> None:
    found: list[str] = []

    def act(page: Any) -> None:
        page.goto(f"/contests/{OPEN}/problems/B")
        page.keyboard.press("Tab")
        found.append(page.evaluate("document.activeElement.textContent"))
        page.focus("#code")
        page.keyboard.press("Tab")
        found.append(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Escape")
        page.keyboard.press("Tab")
        found.append(page.evaluate("document.activeElement.id"))

    await drive(house, address, act)
    assert found[:2] == ["Skip to the content", "code"]
    assert found[2] != "code"


async def test_the_editor_indents_colours_stays_aligned_and_keeps_the_draft(house: House, address: str) -> None:
    seen: dict[str, Any] = {}

    def act(page: Any) -> None:
        page.goto(f"/contests/{OPEN}/problems/B")
        page.wait_for_selector(".ed.is-lit")
        page.select_option("#language", "python")
        page.click("#code")
        page.keyboard.press("Control+a")
        page.keyboard.press("Delete")
        page.keyboard.type("def f(x):\nreturn x  # é 😀\n\tand more\n")
        page.keyboard.insert_text("tail " * 60)
        seen["text"] = page.input_value("#code")
        seen["painted"] = page.evaluate("document.querySelector('.work-code .ed-under').textContent")
        seen["keywords"] = page.eval_on_selector_all(".work-code .tk-k", "all => all.map((each) => each.textContent)")
        seen["sizes"] = page.evaluate(
            "(() => { const [t, u] = ['.ed-text', '.ed-under'].map((name) => document.querySelector('.work-code ' + name));"
            " return [t.scrollWidth - u.offsetWidth, t.scrollHeight - u.offsetHeight]; })()"
        )
        page.locator("[data-draft]", has_text="Draft kept").wait_for()
        page.reload()
        page.wait_for_selector(".ed.is-lit")
        seen["again"] = page.input_value("#code")

    await drive(house, address, act)
    assert seen["text"].startswith("def f(x):\n    return x  # é 😀\n    \tand more\n")
    assert seen["painted"] == seen["text"] + "\n"
    assert seen["keywords"] == ["def", "return", "and"]
    assert seen["sizes"] == [0, 0]
    assert seen["again"] == seen["text"]


@pytest.mark.parametrize("draft", ["", "# a draft of yesterday\n"], ids=["no draft", "a draft"])
async def test_what_is_written_before_the_editors_script_has_come_stays(draft: str, house: House, address: str) -> None:
    """On a slow line the text area is there seconds before its script, and contestants paste."""
    seen: dict[str, Any] = {}

    def act(page: Any) -> None:
        page.goto(f"/contests/{OPEN}/problems/B")
        page.wait_for_selector(".ed.is-lit")
        seen["starter"] = page.input_value("#code")
        if draft:
            page.fill("#code", draft)
            page.locator("[data-draft]", has_text="Draft kept").wait_for()
        held: list[Any] = []
        page.route("**/js/problem*.js*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright writes on its handler
        with page.expect_request("**/js/problem*.js*"):
            page.goto(f"/contests/{OPEN}/problems/B", wait_until="commit")
        page.fill("#code", "print(1)\nprint(2)")
        page.evaluate("document.getElementById('code').setSelectionRange(9, 9)")
        (script,) = held
        script.continue_()
        page.locator("[data-draft]", has_text="Draft kept").wait_for()
        seen["text"] = page.input_value("#code")
        seen["caret"] = page.evaluate("document.getElementById('code').selectionStart")
        seen["told"] = page.locator(".toast", has_text="Ctrl+Z brings your draft back").count()
        page.keyboard.press("Control+z")
        seen["before"] = page.input_value("#code")

    await drive(house, address, act)
    assert seen["text"] == "print(1)\nprint(2)"
    assert seen["caret"] == 9
    assert seen["told"] == (1 if draft else 0)
    assert seen["before"] == (draft or seen["starter"])


@pytest.mark.parametrize(
    ("path", "script", "button", "user"),
    [
        ("/signin", "forms", "form[data-api] [type=submit]", ""),
        ("/signup", "forms", "form[data-api] [type=submit]", ""),
        (f"/contests/{NEXT}", "contest", "[data-registration]", "ada"),
        (f"/contests/{OPEN}/problems/B", "problem", "[data-run]", "ada"),
        (f"/contests/{OPEN}/problems/B", "problem", "[data-submit]", "ada"),
    ],
)
async def test_a_button_waits_for_the_script_that_it_needs(
    path: str, script: str, button: str, user: str, house: House, address: str
) -> None:
    """On a slow line it is drawn seconds before; a click would do nothing, and Enter would send a form to a page that takes none."""
    seen: dict[str, Any] = {}

    def act(page: Any) -> None:
        held: list[Any] = []
        page.route(f"**/js/{script}.js*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright writes on its handler
        with page.expect_request(f"**/js/{script}.js*"):
            page.goto(path, wait_until="commit")
        page.locator(button).wait_for()
        seen["before it"] = page.locator(button).is_enabled()
        for route in held:
            route.continue_()
        page.wait_for_selector(f"{button}:enabled")

    await drive(house, address, act, user=user)
    assert seen["before it"] is False


async def test_rows_look_the_same_before_and_after_the_scripts_draw_them(house: House, address: str) -> None:
    """The stream is refused here, so the script is handed the page that a snapshot would be."""
    seen: dict[str, Any] = {}

    def act(page: Any) -> None:
        page.route(
            "**/leaderboard/stream/*",
            lambda route: route.fulfill(content_type="text/event-stream", body=snapshot(page)),
        )
        page.goto(f"/contests/{OPEN}/leaderboard")
        first = page.request.get(f"/contests/{OPEN}/leaderboard").text()
        page.locator('.live[data-state="waiting"]').wait_for()  # the snapshot was drawn, and this stream ends after it
        rows = "doc => [...doc.querySelectorAll('table.board tbody tr')].map((tr) => tr.outerHTML.replace(/\\s+/g, ' ').replace(/> </g, '><'))"
        seen["after"] = page.evaluate(f"({rows})(document)")
        seen["before"] = page.evaluate(f"text => ({rows})(new DOMParser().parseFromString(text, 'text/html'))", first)

    def snapshot(page: Any) -> str:
        return f"event: snapshot\ndata: {page.request.get(f'/api/v1/leaderboard/{OPEN}').text()}\n\n"

    await drive(house, address, act, user="carol")
    assert len(seen["before"]) == 16
    assert seen["after"] == seen["before"]
