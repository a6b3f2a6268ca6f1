"""The pages in headless Chromium: no errors, no request off the page, a desktop and a phone, the flows of a reader."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import uvicorn

from relay_models import RunRecord
from relay_models.cli.capture import open_capture
from relay_models.cli.demo_data import as_of_now
from relay_models.cli.import_capture import import_capture
from relay_models.errors import ConnectionFailedError
from relay_models.records import Timestamp
from relay_models.sync import RedisBackend
from relay_models.web import create_app
from tests.web.hostile import ATTACKS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def unavailable(reason: str) -> None:
    """A user without a browser may skip this; CI may not."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("playwright is not installed: pip install 'relay-models[test]'")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        unavailable("no Chromium on the PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def served(backend: RedisBackend) -> Iterator[str]:
    """Serve the page of a store on a free port."""
    config = uvicorn.Config(create_app(backend), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join(20)


@contextmanager
def opened(browser: Browser, url: str, size: dict[str, int], scheme: str = "light") -> Iterator[Page]:
    """A page that notes every console error and every request off the page, and fails for them."""
    size_: Any = size
    scheme_: Any = scheme
    context = browser.new_context(viewport=size_, color_scheme=scheme_)
    page = context.new_page()
    faults: list[str] = []
    noted = ("error", "warning")
    page.on("console", lambda message: faults.append(f"console: {message.text}") if message.type in noted else None)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on(
        "request",
        lambda request: None if request.url.startswith((url, "data:")) else faults.append(f"request: {request.url}"),
    )
    page.on("response", lambda reply: faults.append(f"{reply.status}: {reply.url}") if reply.status >= 400 else None)
    page.goto(url + "runs")
    try:
        yield page
    finally:
        context.close()
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="module")
def url(store: RedisBackend) -> Iterator[str]:
    with served(store) as address:
        yield address


@pytest.fixture(scope="module")
def demo(capture_path: Path) -> Iterator[RedisBackend]:
    """The store of `demo --web`; tests only read it."""
    with RedisBackend.embedded() as backend:
        with open_capture(str(capture_path)) as capture:
            import_capture(backend, capture, "tests")
        as_of_now(backend, datetime.now(UTC))
        yield backend


def paths(backend: RedisBackend) -> list[str]:
    ids = [str(run.run_id) for run in backend.find_runs(order_by="-calls", limit=2)]
    return [
        "runs", "runs?filter=duration+>+20ms&order=-duration", f"runs/{ids[0]}", f"runs/{ids[0]}?zoom=4&rows=names",
        "numbers?filter=all", "agents", "agents/agent?id=research-agent", f"compare?run={ids[0]}&run={ids[1]}",
        "compare?left=agent+%3D+research-agent&right=all", "saved", "sessions",
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_every_page_loads_and_fits(
    browser: Browser, url: str, store: RedisBackend, size: dict[str, int], scheme: str
) -> None:
    with opened(browser, url, size, scheme) as page:
        for path in paths(store):
            page.goto(url + path, wait_until="networkidle" if path == "runs" else "load")
            assert page.locator("h1").count() == 1, path
            excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert excess <= 0, f"{path} scrolls sideways by {excess} px at {size['width']} px"
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (scheme == "light"), path


def test_hostile_runs_run_nothing(browser: Browser, hostile_store: RedisBackend) -> None:
    with served(hostile_store) as url, opened(browser, url, WIDE) as page:
        ids = [str(run.run_id) for run in hostile_store.find_runs(limit=50)]
        items = [urlencode({"id": text or "empty"}) for text in ATTACKS]
        paths = ["runs", "numbers?filter=all", "agents", "sessions", "saved", "models", "models/feedback"]
        paths += [*(f"runs/{each}" for each in ids), *(f"models/feedback/item?{each}" for each in items)]
        for path in paths:
            page.goto(url + path)
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            page.locator("body").hover()
            assert page.evaluate("window.broken") is None, path
            assert page.locator("h1").count() == 1, path
        page.goto(url + "runs")
        page.keyboard.press("/")
        page.keyboard.type("agent = ")
        page.locator(".choices li").first.wait_for()
        assert page.evaluate("window.broken") is None


def test_a_newcomer_finds_the_slowest_failed_run_of_yesterday(browser: Browser, demo: RedisBackend) -> None:
    found = demo.find_runs("started = yesterday and status = failed", order_by="-duration", limit=1)
    with served(demo) as url, opened(browser, url, WIDE) as page:
        page.get_by_role("link", name="Yesterday", exact=True).click()
        page.get_by_role("link", name="Failed", exact=True).click()
        page.get_by_role("link", name="Slowest first").click()
        page.locator("a.open").first.click()
        page.wait_for_url("**/runs/*")
        assert str(found[0].run_id) in page.url
        assert page.locator(".picture svg").count() == 1
        assert page.locator("pre.error").first.is_visible()


@pytest.mark.parametrize("has_scripts", [True, False])
def test_the_bars_of_a_timeline_lead_to_their_calls(browser: Browser, demo: RedisBackend, has_scripts: bool) -> None:
    run = demo.find_runs(order_by="-calls", limit=1)[0]
    with served(demo) as url:
        context = browser.new_context(java_script_enabled=has_scripts)
        page = context.new_page()
        page.goto(f"{url}runs/{run.run_id}")
        bars, calls = page.locator(".timeline a"), page.locator("details.call")
        assert bars.count() == calls.count() == run.calls
        closed = page.locator("details.call:not([open])").first
        number = closed.locator(".index").inner_text()
        bars.locator(f"xpath=self::*[@href='#call-{number}']").click()
        page.wait_for_url(f"**#call-{number}")
        assert page.locator("details.call", has=page.locator(f"#call-{number}")).get_attribute("open") is not None
        context.close()


def test_a_session_and_a_chart_lead_to_runs(browser: Browser, demo: RedisBackend) -> None:
    with served(demo) as url, opened(browser, url, WIDE) as page:
        page.get_by_role("link", name="Sessions", exact=True).click()
        page.locator("table a.bad").first.click()
        page.locator("tr[data-row]").first.wait_for()
        assert page.locator("tr[data-row]").count() == page.locator(".status-failed").count()
        page.get_by_role("link", name="Numbers", exact=True).click()
        page.locator(".failures a").last.click()
        page.wait_for_url("**/runs?filter=**")
        assert page.locator(".status-failed").count() == page.locator("tr[data-row]").count() > 0


def test_a_run_is_labelled_and_the_label_taken_away(browser: Browser, empty: RedisBackend) -> None:
    run = RunRecord(agent_id="planner")
    empty.store_run(run)
    with served(empty) as url, opened(browser, url, NARROW, "dark") as page:
        page.goto(f"{url}runs/{run.id}")
        page.get_by_label("Tags").fill("golden")
        page.get_by_label("Score").fill("clear")
        page.get_by_label("Value").fill("0.5")
        page.get_by_role("button", name="Add").click()
        page.get_by_text("clear 0.5").wait_for()
        assert empty.count_runs("tags = golden and score.clear = 0.5") == 1
        page.get_by_role("button", name="remove golden").click()
        page.get_by_text("golden").wait_for(state="detached")
        assert empty.count_runs("tags = golden") == 0


def test_long_labels_fit_a_narrow_screen(browser: Browser, empty: RedisBackend) -> None:
    run = RunRecord(agent_id="a" * 200)
    empty.store_run(run)
    empty.runs.label(run, tags={"t" * 200}, scores={"s" * 100: 1}, note="n" * 300, by="b" * 80)
    with served(empty) as url, opened(browser, url, NARROW) as page:
        for path in ("runs", f"runs/{run.id}", "sessions", "agents", f"compare?run={run.id}"):
            page.goto(url + path)
            excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert excess <= 0, path


def test_chips_are_put_in_and_taken_out(browser: Browser, demo: RedisBackend) -> None:
    with served(demo) as url, opened(browser, url, NARROW) as page:
        page.get_by_role("link", name="Today", exact=True).click()
        page.get_by_role("link", name="Yesterday", exact=True).click()
        page.wait_for_url("**yesterday**")
        assert page.locator("#filter").input_value() == "started_at = yesterday"
        assert page.locator("tr[data-row]").count() == min(50, demo.count_runs("started = yesterday")) > 0
        page.get_by_role("link", name="Yesterday", exact=True).click()
        page.wait_for_url("**/runs")
        assert page.locator("#filter").input_value() == ""


def test_both_filters_of_a_comparison_are_completed(browser: Browser, url: str) -> None:
    with opened(browser, url, WIDE) as page:
        page.goto(url + "compare")
        for name in ("left", "right"):
            page.locator(f"#{name}").focus()
            page.keyboard.type("agent = rese")
            page.locator(f"#{name}-choices li", has_text="research-agent").first.wait_for()
            page.keyboard.press("ArrowDown")
            page.keyboard.press("Enter")
            assert page.locator(f"#{name}").input_value().strip() == "agent = research-agent"
            page.keyboard.press("Escape")
        page.get_by_role("button", name="Compare").last.click()
        page.get_by_text("duration, median").wait_for()


def test_colors_are_chosen_and_kept(browser: Browser, url: str) -> None:
    with opened(browser, url, WIDE, "light") as page:
        page.get_by_role("button", name="dark colors").click()
        page.goto(url + "agents")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        page.get_by_role("button", name="light colors").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_own_models_are_filtered_with_completion(browser: Browser, hostile_store: RedisBackend) -> None:
    with served(hostile_store) as url, opened(browser, url, NARROW) as page:
        page.goto(url + "models/feedback")
        page.locator("#filter").focus()
        page.keyboard.type("top")
        page.locator(".choices li", has_text="topics").first.wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.keyboard.type("has oth")
        page.locator(".choices li", has_text="other").first.wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        page.wait_for_url("**filter=topics**")
        assert page.locator("tr[data-row]").count() == len(ATTACKS)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_the_filter_is_completed_by_keyboard(browser: Browser, url: str) -> None:
    with opened(browser, url, WIDE) as page:
        page.keyboard.press("/")
        page.keyboard.type("dur")
        page.locator(".choices li", has_text="duration").first.wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.keyboard.type("> 20ms and agent ")
        page.locator(".choices li", has_text="=").first.wait_for()
        page.keyboard.type("= rese")
        page.locator(".choices li", has_text="research-agent").first.wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        assert page.locator("#filter").input_value().strip() == "duration > 20ms and agent = research-agent"
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        page.wait_for_url("**filter=duration**")
        assert page.locator("tr[data-row]").count() > 0


def test_rows_are_reached_by_keyboard(browser: Browser, url: str) -> None:
    with opened(browser, url, WIDE) as page:
        page.keyboard.press("j")
        page.keyboard.press("j")
        expected = page.locator("a.open").nth(1).get_attribute("href")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{expected}")


def test_two_runs_are_chosen_and_compared_by_keyboard(browser: Browser, url: str) -> None:
    with opened(browser, url, WIDE) as page:
        expected = [box.get_attribute("value") for box in page.locator("input[name=run]").all()[:3:2]]
        page.keyboard.press("j")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Space")
        # Back to the row of the box, and on to the third.
        for key in ("j", "j", "j", "Shift+Tab", "Space", "Enter"):
            page.keyboard.press(key)
        page.wait_for_url("**/compare?run=**")
        assert [box.input_value() for box in page.locator("input[name=run]").all()] == expected


def test_new_runs_appear(browser: Browser, empty: RedisBackend) -> None:
    empty.store_run(RunRecord(agent_id="first", started_at=Timestamp("2026-11-23T10:00:00Z")))
    with served(empty) as url, opened(browser, url, WIDE) as page:
        assert page.locator("tr[data-row]").count() == 1
        empty.store_run(RunRecord(agent_id="second", started_at=Timestamp("2026-11-23T11:00:00Z")))
        page.locator("tr[data-row]", has_text="second").wait_for(timeout=20_000)
        assert page.locator("tr[data-row]").count() == 2


def test_new_runs_are_said_where_they_do_not_appear(browser: Browser, empty: RedisBackend) -> None:
    def store(agent: str, minute: int) -> None:
        at = Timestamp(f"2026-11-23T10:{minute:02}:00Z")
        empty.store_run(RunRecord(agent_id=agent, started_at=at, ended_at=Timestamp("2026-11-23T11:00:00Z")))

    store("first", 10)
    store("second", 5)
    with served(empty) as url, opened(browser, url, WIDE) as page:
        page.keyboard.press("j")
        store("third", 20)
        page.get_by_text("1 new: show from the start").wait_for(timeout=20_000)
        assert page.locator("#total").inner_text() == "3"
        # What was stored after the runs of a page that are not the newest is not new.
        page.goto(url + "runs?order=-duration&limit=1")
        page.locator("#total").get_by_text("3").wait_for()
        store("fourth", 30)
        page.get_by_text("1 new: show from the start").wait_for(timeout=20_000)
        assert page.locator("#total").inner_text() == "4"


@pytest.mark.parametrize("has_scripts", [True, False])
def test_an_answer_is_shown_once_it_is_there(
    browser: Browser, empty: RedisBackend, monkeypatch: pytest.MonkeyPatch, has_scripts: bool
) -> None:
    monkeypatch.setattr("relay_models.web.kept.QUICK", 0)
    monkeypatch.setattr("relay_models.web.kept.WORTH_KEEPING", -1)
    monkeypatch.setattr("relay_models.web.kept.FRESH", -1)
    with served(empty) as url:
        context = browser.new_context(java_script_enabled=has_scripts)
        page = context.new_page()
        # The first answer, and a newer one in the place of the older.
        for number in (1, 2):
            empty.store_run(RunRecord(agent_id=f"agent {number}"))
            for path, row in (
                ("runs", "tr[data-row]"), ("agents", "a.open"), ("numbers?filter=all", "section >> nth=1 >> tbody th"),
            ):  # fmt: skip
                page.goto(url + path)
                page.locator("#answer:not([data-following])").wait_for(state="attached")
                assert page.locator(f"#answer {row}").count() == number, path
                assert "…" not in page.locator("#progress").inner_text()
        context.close()


def test_a_reader_keeps_the_place_when_a_newer_answer_comes(
    browser: Browser, empty: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.store_runs(RunRecord(agent_id=f"agent {number:03}") for number in range(10, 90))
    may_go_on = threading.Event()
    may_go_on.set()
    find_agents = empty.agents
    monkeypatch.setattr(empty, "agents", lambda: find_agents() if may_go_on.wait(30) else None)
    monkeypatch.setattr("relay_models.web.kept.WORTH_KEEPING", -1)
    with served(empty) as url, opened(browser, url, WIDE) as page:
        page.goto(url + "agents")
        monkeypatch.setattr("relay_models.web.kept.QUICK", 0)
        may_go_on.clear()
        # Rows that come before those that are read.
        empty.store_runs(RunRecord(agent_id=f"agent {number:03}") for number in range(10))
        page.goto(url + "agents?again=1")
        row = page.locator("a.open", has_text="agent 070")
        row.focus()
        top = row.bounding_box()["y"]  # type: ignore[index]
        may_go_on.set()
        page.locator("a.open", has_text="agent 005").wait_for(state="attached")
        assert row.evaluate("each => each === document.activeElement")
        assert abs(row.bounding_box()["y"] - top) < 2  # type: ignore[index]


def test_tables_stay_unfolded_while_numbers_come(
    browser: Browser, empty: RedisBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.store_run(RunRecord(agent_id="planner"))
    may_go_on = threading.Event()
    aggregate = empty.aggregate_runs

    def wait(*arguments: Any, **options: Any) -> Any:
        if options.get("by"):
            assert may_go_on.wait(30)
        return aggregate(*arguments, **options)

    monkeypatch.setattr(empty, "aggregate_runs", wait)
    monkeypatch.setattr("relay_models.web.numbers.MOST_EXACT", 0)
    monkeypatch.setattr("relay_models.web.kept.QUICK", 0)
    monkeypatch.setattr("relay_models.web.kept.WORTH_KEEPING", -1)
    with served(empty) as url, opened(browser, url, WIDE) as page:
        page.goto(url + "numbers?filter=all")
        summary = page.locator("section", has_text="Over time").locator("summary")
        summary.press("Enter")
        assert page.locator("#progress").inner_text() == "Computing the numbers …"
        may_go_on.set()
        page.locator("section", has_text="By agent").wait_for()
        page.locator("#answer:not([data-following])").wait_for(state="attached")
        assert page.locator("section", has_text="Over time").locator("tbody").is_visible()
        assert summary.evaluate("each => each === document.activeElement")


def test_an_answer_that_fails_is_said(browser: Browser, empty: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise ConnectionFailedError("the server is gone")

    monkeypatch.setattr(empty, "agents", fail)
    monkeypatch.setattr("relay_models.web.kept.QUICK", 0)
    with served(empty) as url:
        page = browser.new_page()
        page.goto(url + "agents")
        page.get_by_role("alert").get_by_text("the server is gone").wait_for()
        assert page.locator("#progress").inner_text() == ""
        page.close()


def test_pages_work_without_scripts(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url + "runs")
    page.locator("#filter").fill("duration > 20ms")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**filter=duration**")
    boxes = page.locator("input[name=run]")
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/compare?run=**")
    assert page.locator("h2", has_text="Calls").count() == 1
    context.close()
