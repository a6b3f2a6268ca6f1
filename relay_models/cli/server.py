"""`relay-models serve`, `dump` and `restore`: the embedded engine as a server, and every key to and from a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay_models.cli.session import INCOMPLETE, Session, command

if TYPE_CHECKING:
    import redis

    from relay_models.embedded import Endpoint

__all__ = ["glob_escaped", "register"]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    _serve(app)
    _dump(app)
    _restore(app)


def _serve(app: typer.Typer) -> None:
    @command(app, "serve", store=False)
    def serve(
        session: Session,
        path: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", show_default=False, dir_okay=False, envvar="RELAY_MODELS_PATH", show_envvar=False,
                help="Keep everything in this file, else in memory. [RELAY_MODELS_PATH]",
            ),
        ] = None,
        host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 takes a free one.")] = 6379,
        password: Annotated[
            str | None,
            typer.Option(
                envvar="RELAY_MODELS_PASSWORD", show_envvar=False, show_default=False, metavar="TEXT",
                help="What clients have to log in with; better set as RELAY_MODELS_PASSWORD.",
            ),
        ] = None,
    ) -> None:  # fmt: skip
        """Serve an embedded store as a Redis server with JSON and search, until interrupted."""
        # lazy: start-up time of the other commands
        from relay_models.embedded import serve
        from relay_models.transport import Target, mapped_errors

        def ready(endpoint: Endpoint) -> None:
            if session.as_json:
                session.out.line({"url": endpoint.url, "path": None if path is None else str(path)})
            else:
                where = "memory" if path is None else str(path)
                session.out.line_text(f"serving {where} at {endpoint.url} (interrupt to stop)")

        with mapped_errors(Target.embedded(path)):
            serve(path, host=host, port=port, password=password, ready=ready)


def _dump(app: typer.Typer) -> None:
    @command(app, "dump")
    def dump(
        session: Session,
        target: Annotated[
            str,
            typer.Argument(
                metavar="FILE", show_default=False, help="A .jsonl or .jsonl.gz file; - for standard output."
            ),
        ],
        everything: Annotated[
            bool, typer.Option("--all", help="Every key of the server, not only those with the prefix.")
        ] = False,
    ) -> None:
        """Write every key of a store to a file, as a backup or to move it to another server."""
        import sys

        from relay_models.embedded import dump

        match = "*" if everything else glob_escaped(session.prefix) + "*"
        with _client(session) as client:
            report = dump(client, sys.stdout.buffer if target == "-" else target, match=match, leave_out_unknown=True)
        for key, kind in report.left_out:
            session.out.complain(f"left out: {key.decode('utf-8', 'backslashreplace')} has the type {kind}")
        if session.as_json and target != "-":
            left_out = [key.decode("utf-8", "backslashreplace") for key, _ in report.left_out]
            session.out.object({"keys": report.keys, "left_out": left_out})
        elif target != "-":
            session.out.print(f"wrote {report.keys:,} keys to {target}")
        if report.left_out:
            raise typer.Exit(INCOMPLETE)


def _restore(app: typer.Typer) -> None:
    @command(app, "restore")
    def restore(
        session: Session,
        source: Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="What dump wrote.")],
        replace: Annotated[bool, typer.Option(help="Replace keys that are there already.")] = False,
    ) -> None:
        """Write the keys of a dump into a store."""
        import sys

        from relay_models.embedded import restore

        with _client(session, must_exist=False) as client:
            report = restore(client, sys.stdin.buffer if source == "-" else source, replace=replace)
        if session.as_json:
            session.out.object({"keys": report.keys, "expired": report.expired})
        else:
            gone = f", {report.expired:,} had expired" if report.expired else ""
            session.out.print(f"wrote {report.keys:,} keys{gone}")


@contextmanager
def _client(session: Session, *, must_exist: bool = True) -> Iterator[redis.Redis[bytes]]:
    """A plain client of the store's server, past the indexes: a dump may be of a store that has none yet."""
    # lazy: start-up time of the other commands
    from relay_models.errors import NotFoundError
    from relay_models.transport.sync import mapped_errors, open_embedded, open_url

    url, path = session.where()
    if path is not None:
        if must_exist and not path.exists():
            raise NotFoundError(f"there is no store at {path}")
        transport = open_embedded(path)
    else:
        assert url is not None
        transport = open_url(url)
    with closing(transport), mapped_errors(transport.target):
        transport.execute("PING")
        yield transport.client


def glob_escaped(text: str) -> str:
    """The text as a pattern of Redis that matches itself only."""
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", text)
