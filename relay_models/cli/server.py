"""`relay-models serve`, `dump` and `restore`: the embedded engine as a server, and every key to and from a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay_models._glob import escape_glob
from relay_models.cli.session import INCOMPLETE, Session, command

if TYPE_CHECKING:
    import redis

    from relay_models.embedded import Endpoint
    from relay_models.transport.urls import Target

__all__ = ["register"]


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
        from relay_models.embedded import serve

        def ready(endpoint: Endpoint) -> None:
            if session.as_json:
                session.out.line({"url": endpoint.url, "path": None if path is None else str(path)})
            else:
                where = "memory" if path is None else str(path)
                session.out.line_text(f"serving {where} at {endpoint.url} (interrupt to stop)")

        with _said(f"embedded:{'memory' if path is None else path}"):
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

        match = "*" if everything else escape_glob(session.prefix) + "*"
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
    import redis

    from relay_models.embedded import EmbeddedServer
    from relay_models.errors import NotFoundError
    from relay_models.transport.urls import parse_target

    url, path = session.where()
    if path is not None:
        if must_exist and not path.exists():
            raise NotFoundError(f"there is no store at {path}")
        with _said(f"embedded:{path}"), EmbeddedServer(path) as server, closing(server.client()) as client:
            yield client
        return
    assert url is not None
    target = parse_target(url)
    pool = redis.ConnectionPool(**target.options)
    with _said(target), closing(redis.Redis(connection_pool=pool)) as client:
        client.ping()
        yield client


@contextmanager
def _said(where: Target | str) -> Iterator[None]:
    """Turn errors of the engine and of redis-py into those of this library."""
    from redis import RedisError

    from relay_models.embedded import EmbeddedError
    from relay_models.transport.error_mapping import translate
    from relay_models.transport.urls import Target

    try:
        yield
    except (EmbeddedError, RedisError) as error:
        raise translate(error, Target(where, "embedded", {}) if isinstance(where, str) else where) from None
