"""`Canvas`: write SVG elements with escaped text; the colors of all pictures, for light and dark mode."""

from __future__ import annotations

import hashlib
import re
from html import escape
from typing import Any

from relay_models._checks import check_count
from relay_models.pictures.text import clip_pixels, plain

__all__ = ["DARK", "LIGHT", "STYLE", "Canvas", "usable_width"]

# Blue and orange are distinguishable with all common kinds of color blindness, and so are height and hatching.
LIGHT = """
--rm-bg: #ffffff; --rm-fg: #1f2430; --rm-mute: #646b7a; --rm-line: #d9dde5; --rm-band: #f5f6f9;
--rm-llm: #2f5fd0; --rm-tool: #d97706; --rm-hatch: #fff3df;
--rm-bad: #c0263b; --rm-good: #26744a; --rm-semi: #d9a406; --rm-vary: #c2410c;
"""
DARK = """
--rm-bg: #14171f; --rm-fg: #e7eaf1; --rm-mute: #9aa3b5; --rm-line: #2d3340; --rm-band: #1b1f2a;
--rm-llm: #7aa2ff; --rm-tool: #f5a742; --rm-hatch: #5b3a08;
--rm-bad: #ff7b8a; --rm-good: #5cc98b; --rm-semi: #f0c64a; --rm-vary: #ff8a5c;
"""
_FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', Arial, "
    "'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
)

# Notebooks have their own theme, independent of the system: hence the last two rules of the colors.
_RULES = f"""
.rm, .rm-page {{ {LIGHT} }}
@media (prefers-color-scheme: dark) {{ .rm, .rm-page {{ {DARK} }} }}
body[data-jp-theme-light=true] .rm, .vscode-light .rm {{ {LIGHT} }}
body[data-jp-theme-light=false] .rm, .vscode-dark .rm {{ {DARK} }}
.rm {{ font-family: {_FONT}; max-width: 100%; height: auto; }}
.rm text {{ fill: var(--rm-fg); font-size: 12px; white-space: pre; }}
.rm .h {{ font-size: 16px; font-weight: 600; }}
.rm .m {{ fill: var(--rm-mute); }}
.rm .w {{ fill: var(--rm-bad); }}
.rm .s {{ font-size: 11px; }}
.rm .e {{ text-anchor: end; }}
.rm .c {{ text-anchor: middle; }}
.rm .b {{ font-weight: 600; }}
.rm .n {{ font-variant-numeric: tabular-nums; }}
.rm .bg {{ fill: var(--rm-bg); }}
.rm .band {{ fill: var(--rm-band); }}
.rm .g {{ stroke: var(--rm-line); stroke-width: 1; fill: none; }}
.rm .k {{ stroke: var(--rm-mute); stroke-width: 1.5; fill: none; }}
.rm .llm {{ fill: var(--rm-llm); }}
.rm .tool {{ stroke: var(--rm-tool); stroke-width: 1; }}
.rm .toolfill {{ fill: var(--rm-tool); }}
.rm .open {{ stroke-dasharray: 4 3; stroke-width: 1.5; fill-opacity: .18; }}
.rm .llm.open {{ stroke: var(--rm-llm); }}
.rm .silent {{ fill: var(--rm-bg); stroke: var(--rm-bad); stroke-width: 1.5; }}
.rm .failed {{ fill: var(--rm-bad); }}
.rm .good {{ fill: var(--rm-good); }}
.rm .semi {{ fill: var(--rm-semi); }}
.rm .vary {{ fill: var(--rm-vary); }}
.rm .ghost {{ fill: var(--rm-line); }}
.rm .dot {{ fill: var(--rm-fg); }}
.rm .hit {{ fill: var(--rm-band); fill-opacity: 0; }}
.rm a:hover .hit, .rm a:focus .hit {{ fill-opacity: 1; }}
.rm .h0 {{ fill: var(--rm-hatch); }}
.rm .h1 {{ fill: var(--rm-tool); }}
.rm-page {{ background: var(--rm-bg); color: var(--rm-fg); margin: 0; padding: 24px; font: 14px/1.5 {_FONT}; }}
.rm-page main {{ max-width: 1200px; margin: 0 auto; }}
.rm-page svg {{ display: block; margin-bottom: 24px; }}
.rm-scroll {{ overflow-x: auto; }}
.rm-page table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
.rm-page caption {{ text-align: left; font-weight: 600; padding: 8px 0; }}
.rm-page th, .rm-page td {{
  border-bottom: 1px solid var(--rm-line); padding: 4px 10px 4px 0;
  text-align: left; vertical-align: top; overflow-wrap: anywhere;
}}
.rm-page th {{ color: var(--rm-mute); font-weight: 500; }}
.rm-page .rm-right {{ text-align: right; white-space: nowrap; }}
.rm-page .rm-short {{ white-space: nowrap; }}
"""
STYLE = re.sub(r"\s*([{};,])\s*", r"\1", " ".join(_RULES.split())).strip()
"""The style sheet of every picture. All rules are under ``.rm`` or ``.rm-page``, so that a page keeps its own style."""


# Widest picture (pixels or cells); its axis is divided further the wider it is.
_WIDEST = 100_000


def usable_width(width: Any, least: int) -> int:
    """Return the width to draw with, which is at least `least`.

    Raises:
        InvalidConfigurationError: It is no width.
    """
    check_count("width", width, 1, _WIDEST)
    return max(int(width), least)


class Canvas:
    """Collects SVG elements; `finish` puts the root, the description and the style around them.

    Every text that comes from a record goes through `text` or `tip`, which make it safe.
    """

    def __init__(self, width: float) -> None:
        self.width = width
        self.parts: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        content: str,
        kind: str = "",
        *,
        room: float | None = None,
        size: float = 12,
        tail: str = "",
    ) -> None:
        """Add a line of text with its baseline at `y`, cut to `room` pixels. `tail` is never user text."""
        shown = plain(content)
        if room is not None:
            shown = clip_pixels(shown, size, room)
        if shown:
            attribute = f' class="{kind}"' if kind else ""
            # A direction mark, or the number would be placed left of a right-to-left name.
            end = f"&#8206;{tail}" if tail else ""
            self.parts.append(f'<text x="{_n(x)}" y="{_n(y)}"{attribute}>{escape(shown, quote=False)}{end}</text>')

    def rect(
        self, x: float, y: float, width: float, height: float, kind: str, *, radius: float = 0, fill: str = ""
    ) -> None:
        """Add a rectangle."""
        round_ = f' rx="{_n(radius)}"' if radius else ""
        paint = f' fill="{fill}"' if fill else ""
        self.parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"{round_} class="{kind}"{paint}/>'
        )

    def path(self, data: str, kind: str, *, fill: str = "") -> None:
        """Add a path; `data` is never user text."""
        paint = f' fill="{fill}"' if fill else ""
        self.parts.append(f'<path d="{data}" class="{kind}"{paint}/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str = "g") -> None:
        """Add a straight line."""
        self.path(f"M{_n(x1)} {_n(y1)}L{_n(x2)} {_n(y2)}", kind)

    def open(self, tip: str, link: str = "") -> None:
        """Open a group whose tooltip is `tip`, and which leads to `link` where there is one.

        A picture may have hundreds of links, so none is a stop of the tab key: what they lead to is also in a table or
        list next to the picture.
        """
        start = f'<a href="{escape(link)}" tabindex="-1">' if link else "<g>"
        self.parts.append(f"{start}<title>{escape(plain_lines(tip), quote=False)}</title>")

    def close(self, link: str = "") -> None:
        """Close the group."""
        self.parts.append("</a>" if link else "</g>")

    def finish(self, height: float, title: str, description: str) -> str:
        """Return the complete ``<svg>`` element. Its ids derive from the content, so pictures can share a page."""
        content = "".join(self.parts)
        name = "rm" + hashlib.sha256(f"{title}\0{description}\0{content}".encode("utf-8", "replace")).hexdigest()[:12]
        content = content.replace(HATCH, f"url(#{name}h)")
        size = f'width="{_n(self.width)}" height="{_n(height)}" viewBox="0 0 {_n(self.width)} {_n(height)}"'
        hatch = (
            f'<pattern id="{name}h" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            '<rect width="6" height="6" class="h0"/><rect width="3" height="6" class="h1"/></pattern>'
        )
        # An image hides what is in it: the links of a chart could not be reached.
        role = "group" if "<a " in content else "img"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="rm" role="{role}" '
            f'aria-labelledby="{name}t {name}d" {size}>'
            f'<title id="{name}t">{escape(plain(title), quote=False)}</title>'
            f'<desc id="{name}d">{escape(plain_lines(description), quote=False)}</desc>'
            f"<style>{STYLE}</style><defs>{hatch}</defs>"
            f'<rect width="100%" height="100%" class="bg" rx="6"/>{content}</svg>'
        )


HATCH = "\x00hatch"
"""Placeholder for the hatching of tool bars until the picture has its id."""


def plain_lines(text: str) -> str:
    """Like `plain`, but keeps line breaks."""
    return "\n".join(plain(line) for line in text.split("\n"))


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if value != int(value) else str(int(value))
