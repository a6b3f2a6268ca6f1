"""`relay-models web`, `report` and `mcp`: look at runs in a browser, in one file, or through an assistant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relay_models.cli.command import command
from relay_models.cli.passwords import PasswordSource
from relay_models.cli.run_selection import column_names, saved_question, with_saved
from relay_models.cli.session import Session

__all__ = ["register", "serve_page"]

Host = Annotated[str, typer.Option(help="The address to listen on; other than loopback it needs a password.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    _web(app)
    _report(app)
    _mcp(app)


def serve_page(session: Session, host: str, port: int, password: str | None, read_only: bool) -> None:
    """Serve the page over the session's open store, until interrupted."""
    from relay_models.web import serve_web  # lazy: start-up time

    def ready(url: str) -> None:
        if session.as_json:
            session.out.line({"url": url})
        else:
            session.out.line_text(f"open {url} in a browser (interrupt to stop)")

    serve_web(session.backend, host=host, port=port, password=password, read_only=read_only, ready=ready)


def _web(app: typer.Typer) -> None:
    @command(app, "web")
    def web(
        session: Session,
        host: Host = "127.0.0.1",
        port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 for any free port.")] = 8080,
        web_password_file: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", show_default=False,
                help="The password that the browser asks for: a file's first line. [RELAY_MODELS_WEB_PASSWORD]",
            ),
        ] = None,
        ask_web_password: Annotated[
            bool, typer.Option("--ask-web-password", help="Prompt for the password that the browser asks for.")
        ] = False,
        read_only: Annotated[bool, typer.Option("--read-only", help="Offer nothing that writes.")] = False,
    ) -> None:  # fmt: skip
        """Look at the store in a browser: runs, numbers, agents, comparisons."""
        source = PasswordSource(
            "RELAY_MODELS_WEB_PASSWORD", web_password_file, ask_web_password, "Password of the page"
        )
        password = source.read()
        session.open()
        serve_page(session, host, port, password, read_only)


def _report(app: typer.Typer) -> None:
    @command(app, "report", json=False)
    def report(
        session: Session,
        filter: Annotated[
            str | None,
            typer.Argument(metavar="[FILTER]", show_default=False, help="Such as: started = yesterday; else all runs."),
        ] = None,
        save: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")] = Path("report.html"),
        columns: Annotated[
            str | None, typer.Option("--columns", "-c", metavar="A,B,…", show_default=False, help="Columns of runs.")
        ] = None,
        order: Annotated[
            str | None,
            typer.Option(
                "--order", "-o", metavar="COLUMN", show_default=False,
                help="Sort by a column; - in front for descending. [-started_at]",
            ),
        ] = None,
        saved: Annotated[
            str | None,
            typer.Option(metavar="NAME", show_default=False, help="A saved question, which FILTER narrows."),
        ] = None,
        limit: Annotated[
            int, typer.Option("--limit", "-n", min=1, max=2000, help="Maximum number of runs listed.")
        ] = 200,
        title: Annotated[str, typer.Option(metavar="TEXT", help="The headline.")] = "Runs",
    ) -> None:  # fmt: skip
        """Write one HTML file about runs: numbers, charts, a table, and the slowest as timelines."""
        from relay_models.web import write_report  # lazy: start-up time

        names = column_names(session, columns) or []
        question = saved_question(session, saved)
        if question is not None:
            order, names = order or question.order, names or list(question.columns)
        path = write_report(
            session.open(), save, with_saved(filter, question), columns=names, order_by=order or "-started_at",
            limit=limit, title=title,
        )  # fmt: skip
        session.out.note(f"saved {path}")


def _mcp(app: typer.Typer) -> None:
    @command(app, "mcp", json=False)
    def mcp(
        session: Session,
        http: Annotated[bool, typer.Option("--http", help="Serve HTTP on loopback instead of standard input.")] = False,
        port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="The port of --http.")] = 8081,
        allow_labels: Annotated[
            bool, typer.Option("--allow-labels", help="Let the assistant put tags, scores and notes on runs.")
        ] = False,
    ) -> None:
        """Answer an assistant's questions about the store over MCP."""
        from relay_models.mcp import serve_mcp  # lazy: start-up time

        def ready(url: str) -> None:
            session.out.note(f"MCP at {url} (interrupt to stop)")

        serve_mcp(session.open(), http=http, port=port, labels=allow_labels, ready=ready)
