"""Generate every `_sync` twin from its `_async` source: ``python scripts/generate_sync.py [--check]``.

``--check`` writes nothing and fails, naming the files, where a twin is not what its source gives.
"""

from __future__ import annotations

import argparse
import difflib
import io
import re
import sys
import tempfile
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import unasync

ROOT = Path(__file__).resolve().parent.parent
SEARCHED = ("relay_models", "tests")

# Names that differ beyond what unasync itself knows (`__aenter__`, `AsyncIterator`, …).
NAMES = {
    "_async": "_sync",
    "_io_async": "_io_sync",
    "aclose": "close",
    "aclosing": "closing",
    "anext": "next",
    "aiter": "iter",
    "async_client": "client",
    "AsyncExitStack": "ExitStack",
}
# Packages whose sync names are in a module of their own.
FACES = {
    "relay_models.backend": "relay_models.backend.sync",
    "relay_models.native": "relay_models.native.sync",
    "relay_models.transport": "relay_models.transport.sync",
}
# What documentation strings and comments say.
WORDING = (
    ("``async with``", "``with``"),
    ("The backend: await it, or enter it with ``with``.", "The backend, which ``with`` closes."),
    ("async with ", "with "),
    ("async for ", "for "),
    ("await ", ""),
    ("from relay_models import RedisBackend", "from relay_models.sync import RedisBackend"),
    ("redis.asyncio", "redis"),
    ("anything that can be awaited", "anything"),
)
HEADER = "# ruff: noqa\n# fmt: off\n# Generated from {source} by scripts/generate_sync.py: change that, not this.\n"


def sources() -> Iterator[Path]:
    """Every module inside an `_async` directory."""
    for top in SEARCHED:
        for directory in sorted((ROOT / top).rglob("_async")):
            yield from sorted(directory.rglob("*.py"))


def twin(source: Path) -> Path:
    """Where the twin of `source` lies."""
    return Path(*("_sync" if part == "_async" else part for part in source.parts))


def generate(source: Path) -> str:
    """The text of the twin of `source`."""
    with tempfile.TemporaryDirectory() as scratch:
        name = source.name
        begin, end = Path(scratch, "_async"), Path(scratch, "_sync")
        begin.mkdir()
        (begin / name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        converter: Any = unasync
        rule = converter.Rule(fromdir="/_async/", todir="/_sync/", additional_replacements=NAMES)
        converter.unasync_files([str(begin / name)], [rule])
        text = (end / name).read_text(encoding="utf-8")
    return HEADER.format(source=source.relative_to(ROOT).as_posix()) + _reword(_face_names(text))


def _face_names(text: str) -> str:
    """Import from the sync face of a package where the source imports from its async one."""
    return re.sub(r"^( *from )(\S+)( import )", lambda m: m[1] + FACES.get(m[2], m[2]) + m[3], text, flags=re.MULTILINE)


def _reword(text: str) -> str:
    """Apply `WORDING` to strings and comments; code is unasync's business."""
    lines = text.splitlines(keepends=True)
    changes: list[tuple[int, int, int, int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            said = token.string
            for old, new in WORDING:
                said = said.replace(old, new)
            if said != token.string:
                changes.append((*token.start, *token.end, said))
    for first, start, last, end, said in reversed(changes):
        lines[first - 1 : last] = [lines[first - 1][:start] + said + lines[last - 1][end:]]
    return "".join(lines)


def main() -> int:
    """Write the twins, or check them; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail where a twin is not up to date; write nothing")
    check = parser.parse_args().check
    wanted = {twin(source): generate(source) for source in sources()}
    existing = {path for target in {path.parent for path in wanted} for path in target.glob("*.py")}
    drifted = 0
    for path in sorted(existing | set(wanted)):
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        new = wanted.get(path, "")
        if old == new and path in wanted:
            continue
        drifted += 1
        if check:
            name = path.relative_to(ROOT).as_posix()
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, "generated"))
        elif path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(new, encoding="utf-8")
        else:
            path.unlink()
    if check and drifted:
        print(f"{drifted} generated files differ from their sources: run python scripts/generate_sync.py")
    return 1 if check and drifted else 0


if __name__ == "__main__":
    sys.exit(main())
