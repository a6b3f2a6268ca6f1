"""`listen`: a socket that waits for connections."""

from __future__ import annotations

import os
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
    is_ipv6 = ":" in host
    try:
        return socket.create_server(
            (host, port),
            family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
            backlog=128,
            dualstack_ipv6=is_ipv6 and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise OSError(error.errno, reason, f"{host}:{port}") from None
