"""`Picture`: print a picture, write it as SVG, HTML or text, and show it in a notebook."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable
from html import escape
from os import PathLike
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

from relay_models._checks import check_path
from relay_models._files import open_output
from relay_models.errors import InvalidConfigurationError
from relay_models.pictures.svg import STYLE, usable_width

__all__ = ["Picture"]

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body class="rm-page">
<main>
{body}
</main>
</body>
</html>
"""


class Picture(ABC):
    """Base class of pictures of records. Pictures use no connection and fetch nothing."""

    @property
    @abstractmethod
    def title(self) -> str:
        """One line that says what is shown, which screen readers read."""

    @abstractmethod
    def svg(self, *, width: int = 960) -> str:
        """Return one self-contained ``<svg>`` element, without scripts, fonts or external resources.

        Args:
            width: The width in pixels; the height depends on the content.
        """

    @abstractmethod
    def renderable(self, width: int, *, ascii_only: bool = False) -> RenderableType:
        """Return the picture for a terminal that is `width` cells wide."""

    def details(self) -> str:
        """Return HTML that describes the picture in words, which `html` puts below it; may be empty."""
        return ""

    def html(self, *, width: int = 960) -> str:
        """Return a complete HTML page, light or dark as the reader's system is.

        Args:
            width: The width of the picture in pixels.
        """
        return _PAGE.format(title=escape(self.title), style=STYLE, body=f"{self.svg(width=width)}\n{self.details()}")

    def text(self, *, width: int = 80, color: bool = False, ascii_only: bool = False) -> str:
        """Return the picture as lines of text.

        Args:
            width: The maximum width in cells.
            color: Use ANSI colors.
            ascii_only: Use only ASCII characters.
        """
        usable_width(width, 1)
        buffer = io.StringIO()
        console = Console(
            file=buffer, width=width, force_terminal=color, no_color=not color, legacy_windows=False,
            color_system="truecolor" if color else None, _environ={},
        )  # fmt: skip
        console.print(self.renderable(width, ascii_only=ascii_only))
        return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"

    def save(self, path: str | PathLike[str], *, width: int | None = None) -> Path:
        """Write the picture to a file: ``.svg``, ``.html`` or ``.txt``, by its extension.

        Args:
            path: The file.
            width: The width, in pixels or (``.txt``) in cells; by default 960 or 120.

        Returns:
            The path.

        Raises:
            InvalidConfigurationError: The extension is another one.
            OSError: The file cannot be written.
        """
        check_path("path", path)
        target = Path(path)
        match target.suffix.lower():
            case ".svg":
                content = self.svg(width=width or 960)
            case ".html" | ".htm":
                content = self.html(width=width or 960)
            case ".txt":
                content = self.text(width=width or 120)
            case other:
                raise InvalidConfigurationError(
                    f"a picture is saved as .svg, .html or .txt, not as {other or 'nothing'!r}"
                )
        with open_output(target) as file:
            file.write(content.encode())
        return target

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.renderable(options.max_width, ascii_only=options.ascii_only)

    def _repr_html_(self) -> str:
        return f'<div class="rm-notebook" style="overflow-x:auto">{self.svg()}</div>'

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.title}>"


def table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return an HTML table with escaped cells; columns whose head starts with ``#`` are right-aligned."""
    names = list(heads)
    cells = [list(row) for row in rows]
    kinds = [
        "rm-right" if name.startswith("#") else "rm-short" if all(len(row[place]) <= 16 for row in cells) else ""
        for place, name in enumerate(names)
    ]
    head = "".join(
        f'<th scope="col"{_class(kind)}>{escape(name.lstrip("#"))}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{_class(kind)}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in cells
    )
    return (
        f'<div class="rm-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
