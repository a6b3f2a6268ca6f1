"""`free_port`: a port for a server that a test starts."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

# Below the ports that systems give to connections, which would take one before the server has it.
_LOWEST, _HIGHEST = 10_000, 32_000
# Not of the seeded generator: test processes that run side by side would draw the same ports.
_chance = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A port on loopback that nothing listens on, another one at each call."""
    while True:
        port = _chance.randrange(_LOWEST, _HIGHEST)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
