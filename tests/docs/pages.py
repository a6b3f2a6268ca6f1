"""Runs the fenced blocks of a Markdown page, in order, as a reader would who follows it from top to bottom.

- ``python`` blocks share one namespace and one event loop per page; ``await`` at the top level works.
- an ``output`` block is what the Python block before it printed; ``...`` stands for anything.
- ``console`` blocks hold commands after ``$`` and, below each, what it printed. A command that ends in ``&`` is
  started, and stopped at the end of the page.
- ``redis://localhost:6379`` means a server of the embedded engine, started for the page; no block reaches another.
- ``sh`` blocks are what a reader does to a machine (install, start a container): they aren't run, but what they
  install is checked.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import difflib
import doctest
import inspect
import io
import os
import re
import socket
import subprocess
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]
TITLED = re.compile(r"(?P<language>[\w-]+)(?P<options>[^\n]*)$\n", re.MULTILINE)
SERVER = re.compile(r"(?:localhost|127\.0\.0\.1):6379|(?<=redis-cli )-p 6379")
CHECKER = doctest.OutputChecker()


class BlockFailed(AssertionError):
    """A block of a page did not do what the page says; the message names the file and the line."""


@dataclass
class Page:
    """The state that the blocks of one page share."""

    path: Path
    folder: Path
    start_server: Callable[[], str]
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    printed: str | None = None
    blocks: int = 0
    _server: str | None = None
    _background: list[subprocess.Popen[str]] = field(default_factory=list)
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    def where(self, example: Example) -> str:
        return f"{os.path.relpath(self.path, ROOT)}:{example.line}"

    def located(self, source: str) -> str:
        """The source with the page's own server in the place of the one that it names."""
        if SERVER.search(source) is None:
            return source
        if self._server is None:
            self._server = self.start_server()
        host, _, port = self._server.partition(":")
        return SERVER.sub(
            lambda found: f"-h {host} -p {port}" if found[0].startswith("-p") else f"{host}:{port}", source
        )

    def python(self, example: Example) -> None:
        source = self.located(str(example.parsed))
        padding = "\n" * (example.line + example.parsed.line_offset)
        output = io.StringIO()
        try:
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code: CodeType = compile(padding + source, str(self.path), "exec", flags=flags, dont_inherit=True)
            with contextlib.redirect_stdout(output):
                if code.co_flags & inspect.CO_COROUTINE:
                    self._runner.run(self._await(code))
                else:
                    exec(code, self.namespace)
        except Exception as error:
            shown = "".join(traceback.format_exception(error))
            raise BlockFailed(f"{self.where(example)}: this block raised\n{source}\n{shown}") from error
        self.printed = output.getvalue()

    async def _await(self, code: CodeType) -> None:
        async with asyncio.timeout(90):
            await eval(code, self.namespace)

    def output(self, example: Example) -> None:
        if self.printed is None:
            raise BlockFailed(f"{self.where(example)}: no Python block before this output")
        self.compare(str(example.parsed), self.printed, self.where(example))
        self.printed = None

    def console(self, example: Example) -> None:
        for command, expected in commands(str(example.parsed)):
            where = f"{self.where(example)}: $ {command}"
            if command.endswith("&"):
                self._serve(command[:-1])
                continue
            done = self._start(command)
            try:
                printed, _ = done.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                done.kill()
                raise BlockFailed(f"{where} did not end") from None
            if done.returncode and "error" not in expected:
                raise BlockFailed(f"{where} exited with {done.returncode}:\n{printed}")
            if expected.strip():
                self.compare(expected, printed, where)

    def _serve(self, command: str) -> None:
        """Start what stays. A port 6379 that it opens is a free one here, and the page's server from now on."""
        port = 0
        if "--port 6379" in command:
            port = free_port()
            command = command.replace("--port 6379", f"--port {port}")
        process = self._start("exec " + command)
        self._background.append(process)
        if port:
            wait_for(port, process)
            self._server = f"127.0.0.1:{port}"

    def _start(self, command: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ["PATH"]])
        settings = {
            "PATH": path,
            "COLUMNS": "100",
            "LINES": "50",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.Popen(
            ["bash", "-c", "exec 2>&1; " + self.located(command)],
            cwd=self.folder,
            env={"HOME": str(self.folder), **settings},
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def shell(self, example: Example) -> None:
        """What an installation line names must be an extra that the package has."""
        from importlib.metadata import metadata

        known = set(metadata("relay-models").get_all("Provides-Extra") or [])
        for extras in re.findall(r"relay-models\[([^\]]+)\]", str(example.parsed)):
            for extra in extras.split(","):
                if extra.strip() not in known:
                    raise BlockFailed(f"{self.where(example)}: no extra {extra!r}; there are {sorted(known)}")

    def compare(self, expected: str, printed: str, where: str) -> None:
        wanted = tidy(expected)
        got = tidy(printed)
        if not CHECKER.check_output(wanted, got, doctest.ELLIPSIS):
            lines = difflib.unified_diff(wanted.splitlines(), got.splitlines(), "shown", "printed", lineterm="")
            raise BlockFailed(f"{where}: the output differs\n" + "\n".join(lines) + "\n--- printed in full:\n" + got)

    def close(self) -> None:
        self._runner.close()
        for process in self._background:
            process.terminate()
        for process in self._background:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=20)
            if process.poll() is None:
                process.kill()
                process.communicate()


def tidy(text: str) -> str:
    """Without blanks at the ends of lines and empty lines around; always one newline at the end."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") + "\n"


def commands(source: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, with the output that is shown for it."""
    command: list[str] = []
    shown: list[str] = []
    for line in source.splitlines():
        if line.startswith("$ "):
            if command:
                yield "\n".join(command), "\n".join(shown)
            command, shown = [line[2:]], []
        elif line.startswith("> ") and command and not shown:
            command.append(line[2:])
        elif command:
            shown.append(line)
        elif line.strip():
            raise BlockFailed(f"a console block starts with a command after '$ ', not with {line!r}")
    if command:
        yield "\n".join(command), "\n".join(shown)


def wait_for(port: int, process: subprocess.Popen[str], seconds: float = 30.0) -> None:
    """Until a process listens on a port of this machine."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end or process.poll() is not None:
                raise
            time.sleep(0.02)


def parse(path: Path) -> Document:
    """The page's blocks in order: fenced ones and, for what a reader need not see, ones in HTML comments."""

    def evaluate(example: Example) -> None:
        page: Page = example.namespace["page"]
        language = example.region.lexemes["language"]
        page.blocks += 1
        if language == "python":
            page.python(example)
        elif language == "output":
            page.output(example)
        elif language == "console":
            page.console(example)
        elif language == "sh":
            page.shell(example)

    def regions(document: Document) -> Iterator[Region]:
        fenced = RawFencedCodeBlockLexer(TITLED)
        hidden = DirectiveInHTMLCommentLexer("hidden", r"python")
        for region in fenced(document):
            yield Region(region.start, region.end, region.lexemes["source"], evaluate, region.lexemes)
        for region in hidden(document):
            region.lexemes["language"] = "python"
            yield Region(region.start, region.end, region.lexemes["source"], evaluate, region.lexemes)

    return Sybil(parsers=[regions]).parse(path)


def run(page: Page) -> None:
    """Run all blocks of a page; the first that does not do what is shown raises `BlockFailed`."""
    document = parse(page.path)
    document.namespace["page"] = page
    try:
        with contextlib.chdir(page.folder):
            for example in document.examples():
                example.evaluate()
    finally:
        page.close()
