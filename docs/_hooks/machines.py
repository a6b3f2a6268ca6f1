"""What the site has for programs: `llms.txt`, and the Markdown of pages beside their HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

_markdown: dict[str, str] = {}
_nav: list[Navigation] = []


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> None:
    _markdown[page.file.src_uri] = markdown


def on_nav(nav: Navigation, config: Any, files: Files) -> None:
    _nav[:] = [nav]


def on_post_build(config: Any) -> None:
    site = Path(config.site_dir)
    for source, markdown in _readable().items():
        target = site / source
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(markdown, encoding="utf-8")
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for item in _nav[0].items:
        lines += _entries(item)
    lines += ["## JSON Schemas", ""]
    for path in sorted(site.glob("schema/*.schema.json")):
        lines.append(f"- [{path.name}]({path.relative_to(site).as_posix()})")
    (site / "llms.txt").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _readable() -> dict[str, str]:
    """The pages whose Markdown says what the page says; in the others the text comes from docstrings."""
    return {source: text for source, text in _markdown.items() if "\n::: " not in text}


def _entries(item: Any) -> list[str]:
    if isinstance(item, Section):
        lines = [f"## {item.title}", ""] if not item.parent else []
        for child in item.children:
            lines += _entries(child)
        return lines if item.parent else [*lines, ""]
    if isinstance(item, Page):
        about = item.meta.get("description") or ""
        address = item.file.src_uri if item.file.src_uri in _readable() else item.url
        return [f"- [{item.title}]({address})" + (f": {about}" if about else "")]
    return []
