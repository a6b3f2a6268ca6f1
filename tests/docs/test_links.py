"""Every link and anchor of the built site leads somewhere, and nothing on it is fetched from another site."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

SITE = "http://site.test/"
FETCHED = {("script", "src"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("video", "src")}


@dataclass
class Read(HTMLParser):
    """The links, what is fetched, and the anchors of a page."""

    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload", "modulepreload"):
            self.fetched.append(values["href"])
        self.fetched += [values[name] for element, name in FETCHED if element == tag and name in values]


@pytest.fixture(scope="module")
def read(site: Path) -> dict[str, Read]:
    pages = {}
    for path in sorted(site.rglob("*.html")):
        page = Read()
        page.feed(path.read_text(encoding="utf-8"))
        pages[SITE + path.relative_to(site).as_posix()] = page
    return pages


def file_of(site: Path, address: str) -> Path:
    path = site / unquote(urlsplit(address).path).lstrip("/")
    return path / "index.html" if path.is_dir() else path


def test_links_and_anchors_resolve(site: Path, read: dict[str, Read]) -> None:
    broken = []
    for address, page in read.items():
        base = address.removesuffix("index.html")
        for link in page.links:
            target = urljoin(base, link)
            if not target.startswith(SITE):
                continue
            path = file_of(site, target)
            if not path.is_file():
                broken.append(f"{address}: {link}")
                continue
            anchor = unquote(urlsplit(target).fragment)
            known = read.get(SITE + path.relative_to(site).as_posix())
            # `__` begins what the theme's own script handles, such as the tabs.
            if anchor and known is not None and anchor not in known.anchors and not anchor.startswith("__"):
                broken.append(f"{address}: {link} (no such anchor)")
    assert not broken, "\n".join(broken)


def test_everything_fetched_is_on_the_site(site: Path, read: dict[str, Read]) -> None:
    outside = [
        f"{address}: {source}"
        for address, page in read.items()
        for source in page.fetched
        if not source.startswith("data:") and not file_of(site, urljoin(address, source)).is_file()
    ]
    assert not outside, "\n".join(outside)
    styles = "\n".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert "url(http" not in styles
    assert "@import" not in styles


def test_llms_txt_lists_every_page(site: Path, site_pages: list[str]) -> None:
    text = (site / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith("# relay_models\n\n> ")
    for address in site_pages:
        named = [address, address.rstrip("/") + ".md", f"{address}index.md"]
        assert any(f"]({name})" in text for name in named), address
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert file_of(site, SITE + target).is_file(), target
