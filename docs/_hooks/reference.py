"""Generate reference pages from the code: the exceptions, the commands, the changelog."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import relay_models.errors
from relay_models.errors import RelayModelsError

ROOT = Path(__file__).parents[2]


def on_files(files: Files, config: Any) -> Files:
    files.append(File.generated(config, "reference/exceptions.md", content=exceptions_page()))
    files.append(File.generated(config, "reference/cli.md", content=commands_page()))
    files.append(
        File.generated(config, "about/changelog.md", content=(ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    )
    return files


def exceptions_page() -> str:
    """The tree, then each class: what it is, which builtins also catch it, what it carries."""
    tree = inspect.getdoc(relay_models.errors) or ""
    _, _, rest = tree.partition("::\n\n")
    drawing, _, outro = rest.partition("\n\n")
    drawing = inspect.cleandoc(drawing)
    lines = [
        "---",
        "title: Exceptions",
        "description: The exception tree, the builtin base of each class, and when it is raised",
        "---",
        "# Exceptions",
        "",
        "Every error that a caller can cause is a `RelayModelsError`, and also a subclass of the matching builtin, so",
        "that `except ConnectionError` or `except ValueError` works in code that knows nothing of this library.",
        "The guide on errors says what to do about each.",
        "",
        "```text",
        drawing,
        "```",
        "",
        outro.replace("`StorageError`", "[`StorageError`](#StorageError)"),
        "",
    ]
    for name in _tree_order(RelayModelsError):
        lines += _exception(name)
    return "\n".join(lines)


def _tree_order(root: type[RelayModelsError]) -> list[type[RelayModelsError]]:
    found = [root]
    for child in root.__subclasses__():
        if child.__module__ == root.__module__:
            found += _tree_order(child)
    return found


def _exception(error: type[RelayModelsError]) -> list[str]:
    ours = [base for base in error.__mro__[1:] if issubclass(base, RelayModelsError)]
    builtins = [base.__name__ for base in error.__bases__ if base.__module__ == "builtins"]
    bases = [f"[`{ours[0].__name__}`](#{ours[0].__name__})"] if ours else []
    bases += [f"`{name}`" for name in builtins]
    document = inspect.getdoc(error) or ""
    return [f"## `{error.__name__}` {{ #{error.__name__} }}", "", f"*{', '.join(bases)}*", "", document, ""]


def commands_page() -> str:
    """Every command with its help, its arguments and its options, as the command itself says them."""
    from typer.main import get_command

    from relay_models.cli import app

    root = get_command(app)
    lines = [
        "---",
        "title: Command line",
        "description: Every command of relay-models with its arguments and options",
        "---",
        "# Command line",
        "",
        "`python -m relay_models.cli` is the same command, if the script is not on your PATH.",
        "",
    ]
    lines += _command(root, ["relay-models"], 2)
    return "\n".join(lines)


def _command(command: Any, path: list[str], level: int) -> list[str]:
    """A command's heading, help, usage and parameters; then the same for each command under it."""
    context = command.context_class(command, info_name=path[-1])
    name = " ".join(path)
    usage = " ".join([name, *(piece.strip("{}") for piece in command.collect_usage_pieces(context))])
    about = inspect.cleandoc(command.help or "").replace("\b", "")
    lines = [f"{'#' * min(level, 4)} `{name}` {{ #{'-'.join(path)} }}", "", _prose(about), ""]
    lines += ["```text", usage, "```", ""]
    for head, sort in (("Argument", "argument"), ("Option", "option")):
        records = [
            parameter.get_help_record(context) for parameter in command.params if parameter.param_type_name == sort
        ]
        rows = [f"| `{_cell(names)}` | {_cell(_prose(meaning))} |" for names, meaning in filter(None, records)]
        if rows:
            lines += [f"| {head} | Meaning |", "|---|---|", *rows, ""]
    for child, sub in sorted(getattr(command, "commands", {}).items()):
        if not sub.hidden:
            lines += _command(sub, [*path, child], level + 1)
    return lines


def _prose(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Tables made from the code, where a page has a comment for them."""
    for marker, make in _TABLES.items():
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    return markdown


def _columns_table(name: str) -> str:
    """The columns of exported tables."""
    from relay_models.export import CALL_COLUMNS, RUN_COLUMNS

    columns = RUN_COLUMNS if name == "runs" else CALL_COLUMNS
    rows = [f"| `{column.name}` | {column.kind.value} | {_cell(_prose(column.about))} |" for column in columns]
    return "\n".join(["| Column | Holds | Meaning |", "|---|---|---|", *rows])


def _operators_table() -> str:
    """The operators of each kind of columns, in Python."""
    from relay_models.columns.operators import OPERATORS
    from relay_models.documents import Run

    lines = ["| Column holds | Operators |", "|---|---|"]
    by_operators: dict[tuple[str, ...], list[Any]] = {}
    for column in Run.columns().values():
        has = tuple(known.python for known in OPERATORS.values() if column.kind in known.kinds)
        by_operators.setdefault(has, []).append(column)
    for has, columns in by_operators.items():
        kinds = ", ".join(dict.fromkeys(str(column.kind) for column in columns))
        names = ", ".join(f"`{column.name}`" for column in columns[:4])
        lines.append(f"| {kinds} ({names}{' …' if len(columns) > 4 else ''}) | {' '.join(f'`{it}`' for it in has)} |")
    return "\n".join(lines)


def _filter_table() -> str:
    """The operators of the filter language."""
    from relay_models.columns.operators import OPERATORS

    rows = [f"| `{known.example}` | {_cell(known.about)} |" for known in OPERATORS.values() if known.texts]
    return "\n".join(["| Write | Meaning |", "|---|---|", *rows])


def _aliases() -> str:
    """The short names of columns."""
    from relay_models.documents import Run

    return ", ".join(f"`{alias}`" for column in Run.columns().values() for alias in column.aliases)


_TABLES = {
    "<!-- columns: runs -->": lambda: _columns_table("runs"),
    "<!-- columns: calls -->": lambda: _columns_table("calls"),
    "<!-- operators: python -->": _operators_table,
    "<!-- operators: text -->": _filter_table,
    "<!-- aliases -->": _aliases,
}


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Docstrings introduce their examples with two colons, as Sphinx reads them; the page shows one."""
    return html.replace("::</p>", ":</p>")
