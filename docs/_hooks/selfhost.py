"""Puts mermaid beside the pages that draw diagrams, so that no page asks another site for anything.

mkdocs-material would load it from a CDN. The script comes out of the `mermaidx` package, which ships it unchanged.
"""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

SCRIPT = "assets/javascripts/mermaid.min.js"


def mermaid_script() -> Path:
    """Where the installed package keeps mermaid's browser build."""
    return Path(str(distribution("mermaidx").locate_file("mermaidx/assets/mermaid.js")))


def on_files(files: Files, config: Any) -> Files:
    files.append(File.generated(config, SCRIPT, abs_src_path=str(mermaid_script())))
    return files


def on_post_page(output: str, page: Page, config: Any) -> str:
    if 'class="mermaid"' not in output:
        return output
    tag = f'<script src="{get_relative_url(SCRIPT, page.url)}"></script>\n'
    return (
        output.replace("</body>", tag + "</body>", 1) if "<script src=" not in output else _before_bundle(output, tag)
    )


def _before_bundle(output: str, tag: str) -> str:
    # The theme's own script looks for a global `mermaid` when it meets a diagram; so it has to be there first.
    head, found, tail = output.rpartition('<script src="')
    return head + tag + found + tail
