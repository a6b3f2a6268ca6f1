"""`relay-models serve`, `dump` and `restore`: the embedded engine as a server, and all keys to and from a file."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast

import typer

from relay_models._files import PRIVATE, open_output
from relay_models._glob import escape_glob
from relay_models.cli.command import command
from relay_models.cli.exit_codes import INCOMPLETE
from relay_models.cli.passwords import PasswordSource
from relay_models.cli.session import Session, check_file
from relay_models.errors import InvalidConfigurationError

if TYPE_CHECKING:
    import redis

    from relay_models.embedded import Endpoint

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
                metavar="FILE", show_default=False, envvar="RELAY_MODELS_PATH", show_envvar=False,
                help="Store everything in this file, else in memory. [RELAY_MODELS_PATH]",
            ),
        ] = None,
        host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 for any free port.")] = 6379,
        password: Annotated[
            str | None,
            typer.Option(
                show_default=False, metavar="TEXT",
                help="The password that clients must give. Visible in the process list: prefer one of the next two, or "
                "RELAY_MODELS_PASSWORD.",
            ),
        ] = None,
        password_file: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", show_default=False, help="Read the password from the first line of this file."
            ),
        ] = None,
        ask_password: Annotated[bool, typer.Option("--ask-password", help="Prompt for the password.")] = False,
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

        source = PasswordSource("RELAY_MODELS_PASSWORD", password_file, ask_password)
        if password is None:
            password = source.read()
        elif source.is_explicit:
            raise InvalidConfigurationError("give one password: --password, --password-file or --ask-password")
        else:
            session.out.warn(
                "the password in --password is visible to all users of this machine in the process list; use "
                "--ask-password, --password-file or RELAY_MODELS_PASSWORD"
            )
        if path is not None:
            check_file(path)
        with mapped_errors(Target.embedded(path)):
            try:
                serve(path, host=host, port=port, password=password, ready=ready)
            except OSError as error:
                # asyncio names the address that it could not bind only in its message.
                if error.filename is None and error.errno is not None:
                    error.strerror = os.strerror(error.errno) if error.errno > 0 else error.strerror
                    error.filename = f"{host}:{port}"
                raise


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
            bool, typer.Option("--all", help="All keys of the server, not only those with the prefix.")
        ] = False,
    ) -> None:
        """Write all keys of a store to a file, as a backup or to move them to another server."""
        from relay_models.embedded import dump  # lazy: start-up time

        match = "*" if everything else escape_glob(session.prefix) + "*"
        with _client(session) as client, _dump_target(target) as file:
            report = dump(client, file, match=match, leave_out_unknown=True)
        for key, kind in report.left_out:
            session.out.warn(f"left out: {key.decode('utf-8', 'backslashreplace')} has the type {kind}")
        if session.as_json and target != "-":
            left_out = [key.decode("utf-8", "backslashreplace") for key, _ in report.left_out]
            session.out.object({"keys": report.keys, "left_out": left_out})
        elif target != "-":
            from relay_models.cli.output import counted  # lazy: start-up time

            session.out.print(f"wrote {counted(report.keys, 'key')} to {target}")
        if report.left_out:
            raise typer.Exit(INCOMPLETE)


def _restore(app: typer.Typer) -> None:
    @command(app, "restore")
    def restore(
        session: Session,
        source: Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="A file that dump wrote.")],
        replace: Annotated[bool, typer.Option(help="Replace existing keys.")] = False,
    ) -> None:
        """Write the keys of a dump into a store."""
        from relay_models.embedded import restore  # lazy: start-up time

        with _client(session, must_exist=False) as client:
            report = restore(client, sys.stdin.buffer if source == "-" else source, replace=replace)
        if session.as_json:
            session.out.object({"keys": report.keys, "expired": report.expired})
        else:
            from relay_models.cli.output import counted  # lazy: start-up time

            gone = f", {report.expired:,} had expired" if report.expired else ""
            session.out.print(f"wrote {counted(report.keys, 'key')}{gone}")


@contextmanager
def _dump_target(target: str) -> Iterator[BinaryIO]:
    """Open what a dump is written to. Dumps hold prompts, so a new file is readable by its owner only."""
    if target == "-":
        yield sys.stdout.buffer
        return
    with open_output(target, mode=PRIVATE) as file:
        if not target.endswith(".gz"):
            yield file
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            yield cast(BinaryIO, packed)


@contextmanager
def _client(session: Session, *, must_exist: bool = True) -> Iterator[redis.Redis[bytes]]:
    """Open a plain client of the store's server, without its indexes: a store to be dumped may have none yet."""
    # lazy: start-up time of the other commands
    from relay_models.errors import NotFoundError
    from relay_models.transport.sync import as_cluster, mapped_errors, open_embedded, open_url

    url, path = session.where()
    if path is not None:
        check_file(path)
        if must_exist and not path.exists():
            raise NotFoundError(f"there is no store at {path}")
        transport = open_embedded(path)
    else:
        assert url is not None
        transport = as_cluster(open_url(url, redis_options=session.redis_options(url)))
    with closing(transport), mapped_errors(transport.target):
        transport.execute("PING")
        yield transport.client
