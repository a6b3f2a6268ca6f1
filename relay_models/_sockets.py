"""`listen`: a socket that waits for connections."""

from __future__ import annotations

import socket

__all__ = ["listen"]


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that waits for connections.

    Args:
        host: the address to listen on.
        port: the port; 0 for any free one.

    Raises:
        OSError: the address cannot be listened on; its ``filename`` is the address.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        error.filename = f"{host}:{port}"
        raise
    return listener
