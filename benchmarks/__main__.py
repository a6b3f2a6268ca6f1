"""All benchmarks that fit the given engines, in one table: ``python -m benchmarks``.

    python -m benchmarks                                      # the embedded engine in memory
    python -m benchmarks --path bench.db --url redis://localhost:6379
    python -m benchmarks scale --runs 1000000 --path bench.db --picture growth.svg
    python -m benchmarks store queries --json figures.json --check

A server given with ``--url`` is disposable: modules delete what is in it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.results import Result, Setup, across_engines, results_table
from relay_models import __version__

Measure = Callable[[Setup], Iterable[Result]]


def modules() -> Iterator[tuple[str, Any]]:
    """The modules of this folder that have a function ``results``, by name."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.stem.startswith("_"):
            module = importlib.import_module(f"benchmarks.{path.stem}")
            if hasattr(module, "results"):
                yield path.stem, module


def setups(options: argparse.Namespace) -> Iterator[Setup]:
    """One setup for each engine that is given; the embedded engine in memory where none is."""
    common = {"runs": options.runs, "rounds": options.rounds, "picture": options.picture}
    if options.path or not options.url:
        yield Setup("embedded", path=options.path, **common)
    if options.url:
        yield Setup("server", url=options.url, **common)


def own_file(setup: Setup, module: str) -> Setup:
    """The setup with a new file for one module, beside the file that was named."""
    if setup.path is None:
        return setup
    path = Path(setup.path)
    path = path.with_stem(f"{path.stem}-{module}")
    if path.exists():
        raise SystemExit(f"{path} exists; remove it, or name another file")
    return replace(setup, path=str(path))


def run(console: Console, options: argparse.Namespace) -> tuple[list[Result], list[str]]:
    """Measure, and return the figures and the modules that failed."""
    found: list[Result] = []
    failed: list[str] = []
    for name, module in modules():
        if options.modules and name not in options.modules:
            continue
        for setup in setups(options):
            if setup.engine not in getattr(module, "ENGINES", ("embedded", "server")):
                continue
            setup = own_file(setup, name)
            began = time.perf_counter()
            try:
                for result in module.results(setup):
                    found.append(replace(result, module=name, engine=setup.engine))
            except (Exception, SystemExit) as error:
                console.print(f"[red]{name}, {setup.where}: {error!r}[/]")
                failed.append(name)
            finally:
                for end in ("", "-wal", "-redo", ".lock") if setup.path else ():
                    Path(f"{setup.path}{end}").unlink(missing_ok=True)
            console.print(f"[dim]{name}, {setup.where}: {time.perf_counter() - began:.0f} s[/]", highlight=False)
    return found, failed


def main() -> int:
    """Read the arguments, measure, print the table; 1 where a module failed, or with --check a target is missed."""
    known = [name for name, _ in modules()]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"only these: {', '.join(known)}")
    parser.add_argument("--url", help="a disposable server with JSON and search")
    parser.add_argument(
        "--path", help="the embedded engine in new files beside this one; without it and without --url in memory"
    )
    parser.add_argument("--runs", type=int, default=100_000, help="runs in the largest store")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--json", metavar="FILE", help="write the figures, as docs/about/benchmarks/ keeps them")
    parser.add_argument("--picture", metavar="FILE", help="draw cost against the number of runs (module scale)")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args()
    if unknown := sorted(set(options.modules) - set(known)):
        parser.error(f"there is no module {', '.join(unknown)}; there are {', '.join(known)}")
    console = Console(width=None if sys.stdout.isatty() else 160)
    results, failed = run(console, options)
    results += list(across_engines(results))
    console.print(results_table(results, f"relay_models {__version__}"))
    if options.json:
        Path(options.json).write_text(
            json.dumps(
                {
                    "release": __version__,
                    "date": f"{datetime.now(UTC):%Y-%m-%d}",
                    "machine": f"{platform.system()} {platform.machine()}, CPython {platform.python_version()}",
                    "results": [result.to_json() for result in results],
                },
                indent=1,
                ensure_ascii=False,
            )
            + "\n",
            encoding="utf-8",
        )
    missed = [result for result in results if result.is_missed]
    if missed:
        console.print(f"[red]{len(missed)} of {len(results)} figures miss their target[/]")
    return 1 if failed or (missed and options.check) else 0


if __name__ == "__main__":
    sys.exit(main())
