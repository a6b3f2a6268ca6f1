"""Write the figures of all releases as a table into docs/about/benchmarks.md.

    python scripts/benchmark_history.py [--check]

``python -m benchmarks --json docs/about/benchmarks/RELEASE.json`` measures a release. With ``--check`` nothing is
written, and the exit code is 1 where the table is not that of the files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.results import Result  # noqa: E402  # the repository's root is not on the path of a script

PAGE = ROOT / "docs" / "about" / "benchmarks.md"
BEGIN, END = "<!-- history: begin -->", "<!-- history: end -->"


def releases(folder: Path) -> list[dict[str, Any]]:
    """The files of a folder, in the order of their releases."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(found, key=lambda each: [int(part) for part in each["release"].split(".")])


def history(measured: list[dict[str, Any]]) -> str:
    """The figures as a Markdown table, a column for each release."""
    figures: dict[tuple[str, str, str], dict[str, Result]] = {}
    for each in measured:
        for value in each["results"]:
            result = Result.from_json(value)
            figures.setdefault((result.engine, result.name, result.vs), {})[each["release"]] = result
    names = [each["release"] for each in measured]
    lines = [
        f"| Engine | Operation | vs. | {' | '.join(names)} | Target |",
        "|---|---|---|" + "---|" * (len(names) + 1),
    ]
    for (engine, name, vs), found in figures.items():
        cells = [found[release].text if release in found else "" for release in names]
        target = list(found.values())[-1].target
        lines.append(f"| {engine} | {_code(name)} | {_code(vs)} | {' | '.join(cells)} | {target} |")
    lines += ["", *(f"{each['release']}: {each['date']}, {each['machine']}." for each in measured)]
    return "\n".join(lines)


def updated(page: str, table: str) -> str:
    """The page with the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _code(text: str) -> str:
    """A name as code where its first word is one."""
    first = text.partition(",")[0]
    return f"`{first}`{text[len(first) :]}" if "_" in first or first.isupper() or "." in first else text


def main() -> int:
    """Write the table, or check it."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = updated(page, history(releases(PAGE.with_suffix(""))))
    if "--check" in sys.argv:
        if page != wanted:
            print(f"{PAGE.relative_to(ROOT)} is not up to date: run python {Path(__file__).relative_to(ROOT)}")
        return int(page != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
