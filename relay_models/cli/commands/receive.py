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
    from relay_models.records.redact import Redaction

__all__ = ["register"]


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
    ) -> None:  # fmt: skip
        """Store the runs of the OpenTelemetry spans that agents send (OTLP/HTTP), until interrupted.

        GenAI and OpenInference spans at /v1/traces and their messages at /v1/logs, as protobuf or JSON. A request is
        acknowledged once it is stored.
        """
        import asyncio  # lazy: start-up time

        token = PasswordSource("RELAY_MODELS_RECEIVE_TOKEN", token_file, False).read()
        asyncio.run(
            _receive(
                session, host, port, token, make_redactor(redact, max_text_length, max_call_bytes), load_prices(prices)
            )
        )


async def _receive(
    session: Session, host: str, port: int, token: str | None, redact: Redaction | None, prices: PriceTable | None
) -> None:
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
        await serve_receiver(backend, host=host, port=port, token=token, redact=redact, on_ready=ready)
