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
    """The columns of exported tables, in the place that the page keeps for them."""
    if "<!-- columns: " not in markdown:
        return markdown
    from relay_models.export import CALL_COLUMNS, RUN_COLUMNS

    for name, columns in (("runs", RUN_COLUMNS), ("calls", CALL_COLUMNS)):
        rows = [f"| `{column.name}` | {column.kind.value} | {_cell(_prose(column.about))} |" for column in columns]
        table = "\n".join(["| Column | Holds | Meaning |", "|---|---|---|", *rows])
        markdown = markdown.replace(f"<!-- columns: {name} -->", table)
    return markdown


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Docstrings introduce their examples with two colons, as Sphinx reads them; the page shows one."""
    return html.replace("::</p>", ":</p>")
