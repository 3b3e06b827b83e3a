"""The page at `/`, in a real browser: events as they come, filters, what it says of the connection, and no more."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser import Page, browser
from tests.thread_server import ThreadServer

ROWS = "[...document.querySelectorAll('#events .message')].map(found => found.textContent)"
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"> \u202egnp.exe \x1b[31m <script>document.title='owned'</script>"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadServer]:
    with ThreadServer(tmp_path) as running:
        yield running


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browser(tmp_path / "profile") as tab:
        yield tab


def say(server: ThreadServer, message: str, **fields: Any) -> None:
    event = {"event_data": {"message": message}, **fields}
    httpx.post(f"{server.url}/event", json=event).raise_for_status()


def purge(server: ThreadServer, event_id: str) -> None:
    httpx.post(f"{server.url}/events/archive", json={"event_ids": [event_id]}).raise_for_status()
    httpx.delete(f"{server.url}/events/archived?older_than_days=0").raise_for_status()


async def opened(page: Page, server: ThreadServer) -> None:
    await page.open(server.url)
    await page.until("document.getElementById('link')?.dataset.link === 'live'")


async def shows(page: Page, *messages: str) -> None:
    """Waits until exactly these are there, the newest first."""
    wanted = str(list(messages))
    await page.until(f"JSON.stringify({ROWS}) === JSON.stringify({wanted})")


async def choose(page: Page, control: str, value: str) -> None:
    await page.evaluate(
        f"(control => {{ control.value = '{value}'; control.dispatchEvent(new Event('input', {{bubbles: true}}));"
        f" control.dispatchEvent(new Event('change', {{bubbles: true}})) }})(document.getElementById('{control}'))"
    )


async def test_events_show_as_they_come_the_newest_first(page: Page, server: ThreadServer) -> None:
    say(server, "one")
    await opened(page, server)
    await shows(page, "one")
    say(server, "two")
    say(server, "three", log_level="error")

    await shows(page, "three", "two", "one")
    assert await page.evaluate("document.querySelector('#events li .level').textContent") == "ERR"


async def test_a_raised_event_changes_where_it_stands(page: Page, server: ThreadServer) -> None:
    await opened(page, server)
    say(server, "one", event_id="e1")
    say(server, "two")
    await shows(page, "two", "one")
    say(server, "one", event_id="e1", log_level="critical")

    await page.until("document.querySelectorAll('#events .level')[1].textContent === 'CRT'")
    await shows(page, "two", "one")


async def test_filters_of_level_source_and_words(page: Page, server: ThreadServer) -> None:
    say(server, "plate moved", source={"name": "arm_1"})
    say(server, "plate lost", source={"name": "arm_1"}, log_level="error")
    say(server, "door open", source={"name": "hood_2"}, log_level="critical")
    await opened(page, server)
    await shows(page, "door open", "plate lost", "plate moved")
    await choose(page, "level", "error")
    await shows(page, "door open", "plate lost")
    await choose(page, "source", "arm_1")
    await shows(page, "plate lost")
    say(server, "door closed", source={"name": "hood_2"}, log_level="error")
    say(server, "tip lost", source={"name": "arm_1"}, log_level="error")
    await shows(page, "tip lost", "plate lost")
    await choose(page, "search", "pla*")

    await shows(page, "plate lost")
    assert await page.evaluate("location.hash") == "#level=error&node=arm_1&search=pla*"


async def test_event_text_is_only_ever_text(page: Page, server: ThreadServer) -> None:
    say(server, HOSTILE, source={"name": HOSTILE, "host": HOSTILE}, event_id="<b>e</b>")
    await opened(page, server)
    await page.until("document.querySelectorAll('#events .message').length")
    await page.evaluate("document.querySelector('#events .row').click()")

    assert await page.evaluate("document.querySelectorAll('#events img, #events script, #events b').length") == 0
    assert await page.evaluate("document.title") == "Event Manager"
    text = await page.evaluate("document.querySelector('#events li').textContent")
    assert "<img src=x" in text
    assert not {"\u202e", "\x1b"} & set(text)
    assert page.complaints == []


async def test_it_says_that_the_server_is_gone_and_takes_up_where_it_was(page: Page, server: ThreadServer) -> None:
    await opened(page, server)
    say(server, "before")
    await shows(page, "before")
    server.stop()
    await page.until("document.getElementById('link').dataset.link !== 'live'")
    assert "Reconnecting" in await page.evaluate("document.getElementById('link-text').textContent")
    server.start()
    say(server, "meanwhile")

    await page.until("document.getElementById('link').dataset.link === 'live'")
    await shows(page, "meanwhile", "before")


async def test_paused_it_counts(page: Page, server: ThreadServer) -> None:
    await opened(page, server)
    await page.evaluate("document.getElementById('pause').click()")
    say(server, "one")
    say(server, "two", log_level="error")
    await page.until("document.getElementById('pause').textContent === '2 new (1 ERR)'")
    await shows(page)
    await page.evaluate("document.getElementById('pause').click()")

    await shows(page, "two", "one")


async def test_a_filter_that_means_nothing_is_explained(page: Page, server: ThreadServer) -> None:
    await opened(page, server)
    await choose(page, "search", "-*")
    await page.until("!document.getElementById('problem').hidden")

    assert "search" in await page.evaluate("document.getElementById('problem').textContent")


async def test_what_was_purged_before_the_page_was_opened_is_not_missing_from_it(
    page: Page, server: ThreadServer
) -> None:
    say(server, "long ago", event_id="e1")
    purge(server, "e1")
    await opened(page, server)

    assert "No event yet" in await page.until("document.getElementById('empty').textContent")
    say(server, "now")
    await shows(page, "now")
    assert await page.evaluate("document.querySelectorAll('.note').length") == 0


async def test_the_heading_leaves_room_on_a_phone_held_sideways(page: Page, server: ThreadServer) -> None:
    await opened(page, server)
    await page.look(width=800, height=380)

    assert await page.evaluate("getComputedStyle(document.querySelector('header')).position") == "static"


async def test_the_list_of_routes_stands_in_two_columns(page: Page, server: ThreadServer) -> None:
    await page.open(f"{server.url}/docs")
    await page.until("document.querySelectorAll('nav a').length > 20")
    lefts = "new Set([...document.querySelectorAll('nav .verb')].map(it => it.offsetLeft)).size"
    wrapped = "[...document.querySelectorAll('nav a')].filter(it => it.offsetHeight > 2.2 * it.firstChild.offsetHeight)"

    assert await page.evaluate(lefts) == 1
    assert await page.evaluate(f"{wrapped}.length") == 0


async def test_an_empty_log_says_so(page: Page, server: ThreadServer) -> None:
    await opened(page, server)

    assert "No event yet" in await page.until("document.getElementById('empty').textContent")


async def test_nothing_comes_from_elsewhere(page: Page, server: ThreadServer) -> None:
    say(server, "http://example.org/ is only text")
    await opened(page, server)
    await shows(page, "http://example.org/ is only text")

    assert {str(httpx.URL(url).copy_with(path="/", query=None)) for url in page.requested} == {f"{server.url}/"}
    assert page.complaints == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 800, 1280])
async def test_it_fits_any_screen_in_light_and_dark(page: Page, server: ThreadServer, width: int, dark: bool) -> None:
    say(server, "x" * 3000, source={"name": "n" * 300})
    say(server, "word " * 300, log_level="warning")
    say(server, "of another day", event_timestamp="2026-01-02T03:04:05Z")
    await page.open("about:blank")
    await page.look(width=width, dark=dark)
    await opened(page, server)
    await page.until("document.querySelectorAll('#events li').length === 3")

    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # The seconds of a time with its date, too.
    assert await page.evaluate(
        "[...document.querySelectorAll('#events time')].every(found => found.scrollWidth <= found.clientWidth)"
    )
    red, green, blue = await page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    )
    assert (max(red, green, blue) < 60) is dark


def test_the_page_may_run_its_own_script_and_no_other(server: ThreadServer) -> None:
    answer = httpx.get(server.url, headers={"Accept": "text/html"})
    rules = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))

    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert all(rules[kind].startswith("'sha256-") and " " not in rules[kind] for kind in ("script-src", "style-src"))
