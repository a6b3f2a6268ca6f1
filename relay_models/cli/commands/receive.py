"""`relay-models receive`: store what instrumented agents send over OTLP/HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_models.cli.command import command
from relay_models.cli.passwords import PasswordSource
from relay_models.cli.session import Session, check_file
from relay_models.cli.storing import MaxCallBytes, MaxTextLength, Prices, Redact, load_prices, make_redactor

if TYPE_CHECKING:
    from relay_models.records.prices import PriceTable

__all__ = ["register"]

_PANEL = "Limits"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "receive")
    def receive(
        session: Session,
        host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0 for any free port.")] = 4318,
        token_file: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", show_default=False,
                help="The token that senders must give (Authorization: Bearer): a file's first line. Needed beyond "
                "the loopback address. [RELAY_MODELS_RECEIVE_TOKEN]",
            ),
        ] = None,
        redact: Redact = None,
        max_text_length: MaxTextLength = None,
        max_call_bytes: MaxCallBytes = None,
        prices: Prices = None,
        max_request_bytes: Annotated[
            int,
            typer.Option(metavar="N", min=1, rich_help_panel=_PANEL,
                         help="Refuse a request beyond N bytes, also uncompressed (413)."),
        ] = 32 * 2**20,
        max_waiting: Annotated[
            int,
            typer.Option(metavar="N", min=1, rich_help_panel=_PANEL,
                         help="Refuse more while N requests are being read or stored (429)."),
        ] = 64,
        max_waiting_bytes: Annotated[
            int | None,
            typer.Option(metavar="N", min=1, rich_help_panel=_PANEL, show_default=False,
                         help="Refuse more while requests of N bytes are being read or stored (429). "
                         "By default 128 MiB, and at least four times the maximum of a request."),
        ] = None,
        max_open_bytes: Annotated[
            int,
            typer.Option(metavar="N", min=1, rich_help_panel=_PANEL,
                         help="Hold spans of N bytes for those of their traces that come later."),
        ] = 64 * 2**20,
    ) -> None:  # fmt: skip
        """Store the runs of the OpenTelemetry spans that agents send (OTLP/HTTP), until interrupted.

        GenAI and OpenInference spans at /v1/traces and their messages at /v1/logs, as protobuf or JSON. A request is
        acknowledged once it is stored.
        """
        import asyncio  # lazy: start-up time

        from relay_models.receiver import Limits  # lazy: start-up time

        limits = Limits(
            max_request_bytes=max_request_bytes,
            max_waiting_bytes=max_waiting_bytes or max(128 * 2**20, 4 * max_request_bytes),
            max_waiting=max_waiting,
            max_open_bytes=max_open_bytes,
        )
        token = PasswordSource("RELAY_MODELS_RECEIVE_TOKEN", token_file, False).read()
        serving = {
            "host": host,
            "port": port,
            "token": token,
            "redact": make_redactor(redact, max_text_length, max_call_bytes),
            "limits": limits,
        }
        asyncio.run(_receive(session, load_prices(prices), serving))


async def _receive(session: Session, prices: PriceTable | None, serving: dict[str, Any]) -> None:
    # lazy: start-up time
    from relay_models import RedisBackend
    from relay_models.receiver import serve_receiver

    def ready(url: str) -> None:
        if session.as_json:
            session.out.line({"url": url})
        else:
            session.out.line_text(f"receiving spans at {url} (interrupt to stop)")

    url, path = session.where()
    options: dict[str, Any] = {"models": session.models, "prices": prices}
    if path is not None:
        check_file(path)
        opening = RedisBackend.embedded(path, session.prefix, **options)
    else:
        assert url is not None
        opening = RedisBackend.connect(url, session.prefix, **options, **session.redis_options(url))
    async with opening as backend:
        await serve_receiver(backend, on_ready=ready, **serving)
