"""The built site in headless Chromium: no errors, no request off the site, search, diagrams, tabs, dark, a phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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


@pytest.fixture
def page(browser: Browser, site_url: str) -> Iterator[Page]:
    """A page that notes every console error and every request that leaves the site, and fails the test for them."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    inside = (site_url, "data:", "blob:")
    page.on(
        "request", lambda request: None if request.url.startswith(inside) else faults.append(f"request: {request.url}")
    )
    page.on(
        "response", lambda answer: faults.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None
    )
    yield page
    context.close()
    assert not faults, "\n".join(faults)


OVERFLOW = """() => {
    const width = document.documentElement.clientWidth;
    const wide = [...document.querySelectorAll('.md-content *')].filter(e => {
        const box = e.getBoundingClientRect();
        if (!box.width || box.right <= width + 1) return false;
        for (let p = e.parentElement; p; p = p.parentElement)
            if (getComputedStyle(p).overflowX !== 'visible' && p.getBoundingClientRect().right <= width + 1)
                return false;
        return true;
    });
    const shown = wide.slice(0, 5).map(e => e.outerHTML.slice(0, 120));
    return {scroll: document.documentElement.scrollWidth - width, wide: shown};
}"""
UNDRAWN = """() => document.querySelectorAll('pre.mermaid').length
    + [...document.querySelectorAll('div.mermaid')].filter(e => e.getBoundingClientRect().height < 40).length"""


def test_every_page_loads_on_a_desktop_and_a_phone(page: Page, site_url: str, site_pages: list[str]) -> None:
    assert len(site_pages) > 10
    diagrams = 0
    for address in site_pages:
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(site_url + address)
        assert page.locator(".md-content h1").count() == 1, f"{address} has not one headline"
        page.wait_for_function(f"({UNDRAWN})() === 0", timeout=15_000)
        diagrams += page.locator("div.mermaid").count()
        page.set_viewport_size({"width": 390, "height": 844})
        result = page.evaluate(OVERFLOW)
        assert result["scroll"] <= 0, f"{address} scrolls sideways by {result['scroll']} px at 390 px: {result['wide']}"
        assert not result["wide"], f"{address} overflows at 390 px: {result['wide']}"
    assert diagrams >= 7


def test_search_finds_duration(page: Page, site_url: str) -> None:
    page.goto(site_url)
    page.locator("[data-md-component=search-query]").click()
    page.keyboard.type("duration")
    result = page.locator(".md-search-result__link[href*='h=duration']").first
    result.wait_for()
    assert "duration" in result.inner_text().lower()
    result.click()
    page.wait_for_url(lambda url: "h=duration" in url)
    page.locator("mark").first.wait_for()


def test_tabs_switch_together(page: Page, site_url: str) -> None:
    page.goto(site_url + "quickstart/")
    labels = page.locator(".tabbed-labels label")
    assert labels.count() >= 2
    blocks = page.locator(".tabbed-set").first.locator(".tabbed-block")
    assert blocks.nth(0).is_visible()
    assert not blocks.nth(1).is_visible()
    labels.nth(1).click()
    assert blocks.nth(1).is_visible()
    assert not blocks.nth(0).is_visible()


def test_dark_switch(page: Page, site_url: str) -> None:
    page.goto(site_url)
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.locator("label[for=__palette_1]").click()
    page.wait_for_function("document.body.dataset.mdColorScheme === 'slate'")
    assert page.evaluate(background) != light
    page.reload()
    assert page.evaluate("document.body.dataset.mdColorScheme") == "slate"
