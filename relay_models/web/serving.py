"""`serve_web`: run the page until it is interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from relay_models._checks import check_address, check_callable
from relay_models._sockets import listen
from relay_models.web.app import create_app
from relay_models.web.security import check_exposure

if TYPE_CHECKING:
    from relay_models.sync import RedisBackend

__all__ = ["serve_web"]

MOST_SECONDS = 20.0
"""How long a client may take to send the head of a request (seconds)."""


class _Connection(H11Protocol):
    """A connection that is closed when no request comes: clients that never finish one would use up all sockets."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_busy:
            self._stop_waiting()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(MOST_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self._is_busy:
            self.transport.close()


def serve_web(
    backend: RedisBackend,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    password: str | None = None,
    read_only: bool = False,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the page over a store, until interrupted.

    Args:
        backend: The store, a sync backend.
        host: The address to listen on; other than loopback it needs a password.
        port: The port; 0 for any free one.
        password: What the browser asks for; None for no password.
        read_only: Offer no form that writes.
        ready: Called with the URL once the page can be opened.

    Raises:
        InvalidConfigurationError: The address is none, or is not loopback and there is no password.
        OSError: The port is in use.
    """
    check_address(host, port)
    check_callable("ready", ready, "a function of the URL")
    check_exposure(host, password)
    app = create_app(backend, password=password, read_only=read_only)
    with listen(host, port) as listener:
        bound = listener.getsockname()[1]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{bound}/")
        config = uvicorn.Config(
            app, http=_Connection, ws="none", log_level="warning", access_log=False, server_header=False, lifespan="off"
        )
        uvicorn.Server(config).run(sockets=[listener])
