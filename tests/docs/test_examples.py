"""Every block of the README and of the documentation runs, and prints what is shown."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay_models.embedded import EmbeddedServer, serving

from . import pages

SOURCES = [pages.ROOT / "README.md", *sorted((pages.ROOT / "docs").rglob("*.md"))]


@pytest.fixture
def start_server() -> Iterator[Callable[[], str]]:
    """Starts a server of the embedded engine when a page first names one; gives its host and port."""
    with contextlib.ExitStack() as started:
        yield lambda: started.enter_context(served())


@contextlib.contextmanager
def served() -> Iterator[str]:
    """An empty engine behind a port of this machine, in a thread of its own."""
    ready: queue.SimpleQueue[tuple[str, Callable[[], None]]] = queue.SimpleQueue()

    async def serve() -> None:
        leave = asyncio.Event()
        loop = asyncio.get_running_loop()
        with EmbeddedServer() as engine:
            async with serving(engine) as endpoint:
                ready.put((f"{endpoint.host}:{endpoint.port}", lambda: loop.call_soon_threadsafe(leave.set)))
                await leave.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    where, leave = ready.get(timeout=30)
    try:
        yield where
    finally:
        leave()
        thread.join()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(pages.ROOT).as_posix())
def test_page(path: Path, tmp_path: Path, start_server: Callable[[], str]) -> None:
    pages.run(pages.Page(path, tmp_path, start_server))


def write(folder: Path, text: str) -> pages.Page:
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return pages.Page(path, folder, lambda: pytest.fail("no server is needed here"))


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```\n\n```output\n2\n```\n",
        "```python\nraise ValueError('no')\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ false\n```\n",
        "```output\nnothing printed this\n```\n",
        "```sh\npip install 'relay-models[nothing]'\n```\n",
    ],
)
def test_a_page_that_is_not_true_fails(text: str, tmp_path: Path) -> None:
    with pytest.raises(pages.BlockFailed):
        pages.run(write(tmp_path, text))


def test_blocks_share_a_page(tmp_path: Path) -> None:
    text = """
<!-- hidden: python
start = 40
-->

=== "Async"

    ```python
    import asyncio

    await asyncio.sleep(0)
    value = start + 2
    print(value, "…and more")
    ```

    ```output
    42 ...
    ```

```console
$ echo one; \\
> echo two
one
two
$ pwd > here
$ test -s here
```
"""
    page = write(tmp_path, text)
    pages.run(page)
    assert page.namespace["value"] == 42
    assert page.blocks == 4
