"""Reference pages made from the code at build time: the exceptions, the commands, the changelog."""

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
    #    files.append(File.generated(config, "reference/cli.md", content=commands_page()))
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
        "description: The exception tree, the builtin that each leaf also is, and when it is raised",
        "---",
        "# Exceptions",
        "",
        "Everything that this library raises on purpose is a `RelayModelsError`, and also the builtin exception that",
        "fits, so that `except ConnectionError` or `except ValueError` in code that knows nothing of this library does",
        "the right thing.",
        "What to do about each is in the guide on errors.",
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
        "`python -m relay_models` is the same command, where the script is not on the path." if _has_main() else "",
        "",
    ]
    lines += _command(root, ["relay-models"], 2)
    return "\n".join(lines)


def _has_main() -> bool:
    return (ROOT / "relay_models" / "__main__.py").is_file()


def _command(command: Any, path: list[str], level: int) -> list[str]:
    context = command.context_class(command, info_name=path[-1])
    usage = " ".join([" ".join(path), *command.collect_usage_pieces(context)])
    name = " ".join(path)
    lines = [
        f"{'#' * min(level, 4)} `{name}` {{ #{'-'.join(path)} }}",
        "",
        inspect.cleandoc(command.help or "").replace("\b", ""),
        "",
    ]
    lines += ["```text", f"Usage: {usage}", "```", ""]
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [
        parameter for parameter in command.params if parameter.param_type_name == "option" and not parameter.hidden
    ]
    if arguments:
        lines += ["| Argument | Meaning |", "|---|---|"]
        lines += [
            f"| `{parameter.make_metavar(context)}` | {_cell(getattr(parameter, 'help', '') or '')} |"
            for parameter in arguments
        ]
        lines += [""]
    if options:
        lines += ["| Option | Meaning |", "|---|---|"]
        lines += [_option(parameter, context) for parameter in options]
        lines += [""]
    for child, sub in sorted(getattr(command, "commands", {}).items()):
        if not sub.hidden:
            lines += _command(sub, [*path, child], level + 1)
    return lines


def _option(option: Any, context: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    meaning = _cell(option.help or "")
    default = option.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        meaning += f" Default: `{default}`."
    if option.envvar:
        meaning += f" Environment: `{option.envvar}`."
    value = "" if option.is_flag else f" `{option.make_metavar(context)}`"
    return f"| {names}{value} | {meaning} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
