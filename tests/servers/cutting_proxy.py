"""A proxy between a client and a server that cuts the connection after a number of commands, as a kill would."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

__all__ = ["CuttingProxy", "cutting_proxy"]


class CuttingProxy:
    """Forwards whole commands of one connection at a time.

    Attributes:
        url: where it listens.
        left: how many more commands are forwarded; None for any number.
        forwarded: how many commands were.
    """

    def __init__(self, server_port: int) -> None:
        self.left: int | None = None
        self.forwarded = 0
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            threading.Thread(target=_copy, args=(server, client), daemon=True).start()
            with suppress(OSError, ValueError):
                commands = client.makefile("rb")
                while command := _command(commands):
                    if self.left == 0:
                        break
                    if self.left is not None:
                        self.left -= 1
                    self.forwarded += 1
                    server.sendall(command)
            for end in (server, client):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_WR if end is server else socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)


def _command(stream: BinaryIO) -> bytes:
    """One command as it was sent; nothing at the end."""
    line = stream.readline()
    read = [line]
    for _ in range(int(line[1:]) if line else 0):
        length = stream.readline()
        read += [length, stream.read(int(length[1:]) + 2)]
    return b"".join(read)


@contextmanager
def cutting_proxy(server_port: int) -> Iterator[CuttingProxy]:
    """A proxy in front of a server on this machine, for the length of a ``with`` block."""
    proxy = CuttingProxy(server_port)
    try:
        yield proxy
    finally:
        proxy.close()
