"""`serve_receiver`: serve the OTLP/HTTP endpoint until it is stopped."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from types import NoneType
from typing import Any

from relay_models._checks import check_address, check_callable, check_type
from relay_models._sockets import listen
from relay_models.backend import RedisBackend
from relay_models.errors import InvalidConfigurationError, MissingExtraError
from relay_models.receiver.app import Limits, make_app
from relay_models.receiver.span_store import SpanStore
from relay_models.records.redact import Redactions

__all__ = ["is_loopback", "serve_receiver"]

# Seconds that requests have to end when the receiver is stopped.
_GRACE = 10


async def serve_receiver(
    backend: RedisBackend,
    *,
    host: str = "127.0.0.1",
    port: int = 4318,
    token: str | None = None,
    redact: Redactions = None,
    limits: Limits | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Store the runs of the spans that instrumented agents send, until interrupted or cancelled.

    A request is acknowledged once it is stored. What cannot be taken for now is refused (429, 503), and exporters
    send it again.

    Args:
        backend: the store.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        token: what senders must give as ``Authorization: Bearer``; needed on any other address than the loopback.
        redact: what removes secrets before a run is stored.
        limits: what is taken at a time.
        on_ready: called with the URL of the endpoint once it is open.

    Raises:
        InvalidConfigurationError: there is no token, and the address can be reached from other machines; or the port
            is none.
        MissingExtraError: starlette or uvicorn is not installed.
        OSError: the port cannot be opened.
    """
    try:
        import uvicorn  # lazy: an optional extra
    except ImportError as error:
        raise MissingExtraError("receiving spans needs uvicorn: pip install 'relay-models[web,otel]'") from error
    check_address(host, port)
    check_type("limits", limits, (Limits, NoneType), "Limits or None")
    check_callable("on_ready", on_ready, "a function of the URL")
    if token is None and not is_loopback(host):
        raise InvalidConfigurationError(
            f"{host} can be reached from other machines: set a token that senders must give (--token-file or "
            "RELAY_MODELS_RECEIVE_TOKEN), or listen on 127.0.0.1"
        )
    limits = limits or Limits()
    spans = SpanStore(backend, redact=redact, max_open_bytes=limits.max_open_bytes)
    app = make_app(spans, token=token, limits=limits)
    with listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        options: dict[str, Any] = {"log_level": "warning", "access_log": False, "lifespan": "off"}
        server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=_GRACE, server_header=False, **options))
        on_ready(f"http://{shown}:{listening.getsockname()[1]}/v1/traces")
        serving = asyncio.ensure_future(server.serve(sockets=[listening]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            # Requests that are being stored are still answered.
            server.should_exit = True
            await serving
            raise


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
