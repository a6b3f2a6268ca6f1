"""`serve`, `serving` and `serving_in_thread`: the engine as a Redis server that listens on TCP."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import queue
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import NamedTuple

from relay_models.embedded.errors import InvalidArgumentError, UnsafeBindError
from relay_models.embedded.persistence.storage import Sync
from relay_models.embedded.server.embedded_server import EmbeddedServer
from relay_models.embedded.server.listener import TcpListener

__all__ = ["Endpoint", "serve", "serving", "serving_in_thread"]


logger = logging.getLogger("relay_models.embedded")


class Endpoint(NamedTuple):
    """The address that a served engine listens on.

    Attributes:
        host: The host that it was asked to listen on.
        port: The port, also where a free one was chosen.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a Redis URL, without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{host}:{self.port}"


def check_bind(host: str, password: str | None) -> None:
    """Raise `UnsafeBindError` where other machines could reach the port and no password protects it."""
    try:
        if not isinstance(host, str):
            raise InvalidArgumentError(f"host is a name or an address, not {type(host).__name__}")
        host.encode("idna")
        if password is not None:
            password.encode()
    except (UnicodeError, AttributeError) as error:
        raise InvalidArgumentError("host is a name or an address, and password is text, or None") from error
    if password:
        return
    try:
        addresses = {found[4][0] for found in socket.getaddrinfo(host or "0.0.0.0", None)}
    except socket.gaierror as error:
        raise UnsafeBindError(
            f"cannot tell whether {host!r} is reachable from outside ({error}); give a password"
        ) from error
    outside = [
        str(address) for address in addresses if not ipaddress.ip_address(str(address).split("%")[0]).is_loopback
    ]
    if outside:
        raise UnsafeBindError(
            f"{host or '0.0.0.0'} can be reached by other machines; give a password, or listen on 127.0.0.1"
        )


@contextlib.asynccontextmanager
async def serving(
    server: EmbeddedServer, *, host: str = "127.0.0.1", port: int = 0, password: str | None = None
) -> AsyncIterator[Endpoint]:
    """Serve an open engine over TCP for the length of an ``async with`` block.

    Args:
        server: The engine. It stays open afterwards.
        host: The address to listen on.
        port: The port; 0 for any free one.
        password: The password that clients must give. Addresses that other machines can reach need one.

    Yields:
        The address.

    Raises:
        UnsafeBindError: Other machines could reach the port, and there is no password.
        OSError: The port is taken.
    """
    if not isinstance(server, EmbeddedServer):
        raise InvalidArgumentError(f"server is an EmbeddedServer, not {type(server).__name__}")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
        raise InvalidArgumentError("port is a whole number from 0 to 65535")
    check_bind(host, password)
    state = server._state
    if password:
        state.config[b"requirepass"] = password.encode()
    listener = TcpListener(state)
    taken = await listener.start(host, port)
    try:
        yield Endpoint(host, taken)
    finally:
        await listener.stop()


@contextlib.contextmanager
def serving_in_thread(
    server: EmbeddedServer, *, host: str = "127.0.0.1", port: int = 0, password: str | None = None
) -> Iterator[Endpoint]:
    """Serve an open engine from a thread for the length of a ``with`` block, for programs without an event loop.

    Args:
        server: The engine. It stays open afterwards.
        host: The address to listen on.
        port: The port; 0 for any free one.
        password: The password that clients must give. Addresses that other machines can reach need one.

    Yields:
        The address.

    Raises:
        UnsafeBindError: Other machines could reach the port, and there is no password.
        OSError: The port is taken.

    Example:
        ```python
        with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
            client = redis.Redis.from_url(endpoint.url)
        ```
    """
    ready: queue.SimpleQueue[Endpoint | BaseException] = queue.SimpleQueue()
    stop: list[Callable[[], object]] = []

    async def run() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(done.set))
        try:
            async with serving(server, host=host, port=port, password=password) as endpoint:
                ready.put(endpoint)
                await done.wait()
        except BaseException as error:
            ready.put(error)
            raise

    thread = threading.Thread(target=_quietly, args=(run,), name="relay-models-serve", daemon=True)
    thread.start()
    endpoint = ready.get()
    if isinstance(endpoint, BaseException):
        thread.join()
        raise endpoint
    try:
        yield endpoint
    finally:
        stop[0]()
        thread.join()


def _quietly(run: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run to the end; what fails is raised in the thread that started this one."""
    with contextlib.suppress(Exception):
        asyncio.run(run())


def serve(
    path: str | os.PathLike[str] | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 6379,
    password: str | None = None,
    sync: Sync = "process",
    ready: Callable[[Endpoint], None] | None = None,
) -> None:
    """Serve the engine until SIGTERM, SIGINT or SHUTDOWN.

    When told to stop, the server takes no more requests, sends the replies it owes and closes the file; everything it
    acknowledged is in the file.

    Args:
        path: The file that keeps the data; None to keep it in memory.
        host: The address to listen on.
        port: The port; 0 for any free one.
        password: The password that clients must give. Addresses that other machines can reach need one.
        sync: What an acknowledged change survives, as in `EmbeddedServer`.
        ready: Called with the address once clients can connect.

    Raises:
        UnsafeBindError: Other machines could reach the port, and there is no password.
        EmbeddedError: The file cannot be opened; the subclasses are those of `EmbeddedServer`.
        OSError: The port is taken.
    """
    check_bind(host, password)
    if ready is not None and not callable(ready):
        raise InvalidArgumentError(f"ready is a function, or None, not {type(ready).__name__}")
    with EmbeddedServer(path, sync=sync) as server:
        asyncio.run(_serve(server, host, port, password, ready))


async def _serve(
    server: EmbeddedServer, host: str, port: int, password: str | None, ready: Callable[[Endpoint], None] | None
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def ask_to_stop(*_: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    server._state.on_shutdown = ask_to_stop
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop.set)
        except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            with contextlib.suppress(ValueError):
                signal.signal(number, ask_to_stop)
    async with serving(server, host=host, port=port, password=password) as endpoint:
        if ready is not None:
            ready(endpoint)
        await stop.wait()
    if server._state.scripting.busy:
        # Stuck in one of Lua's own functions, which nothing can interrupt. Whatever was acknowledged is in the file.
        logger.error("a script does not end; the server stops without it")
        logging.shutdown()
        os._exit(1)
