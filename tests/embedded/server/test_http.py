"""A web page that makes a browser send requests to the port runs no command."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from relay_models.embedded import EmbeddedServer, serving_in_thread

BODY = "SET planted 1\r\nFLUSHALL\r\nSET planted 1\r\n"
HEADERS = f"Host: 127.0.0.1:6379\r\nContent-Type: text/plain\r\nContent-Length: {len(BODY)}\r\n\r\n"


@pytest.fixture
def served() -> Iterator[tuple[EmbeddedServer, int]]:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        server.client().set("precious", "1")
        yield server, int(urlsplit(endpoint.url).port or 0)


def answer(port: int, *pieces: str) -> bytes:
    """All that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), 10) as wire:
        received = b""
        try:
            for piece in pieces:
                wire.sendall(piece.encode())
            while part := wire.recv(65536):
                received += part
        except ConnectionError:
            pass
        return received


@pytest.mark.parametrize(
    "pieces",
    [
        (f"POST / HTTP/1.1\r\n{HEADERS}{BODY}",),
        ("POST / HTTP/1.1\r\n", HEADERS, BODY),
        (f"post / HTTP/1.1\r\n{HEADERS}{BODY}",),
        (f"PUT / HTTP/1.1\r\n{HEADERS}{BODY}",),
        (f"OPTIONS * HTTP/1.1\r\nAccept: */*\r\n{HEADERS}{BODY}",),
        (f"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n{BODY}",),
        (f"DELETE / HTTP/1.0\r\nX: y\r\n\r\n{BODY}",),
        (f"GET http://127.0.0.1/ HTTP/1.1\r\nAccept: */*\r\n\r\n{BODY}",),
        (f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{BODY}",),
        (f"*1\r\n$4\r\nPOST\r\n{BODY}",),
        (f"*2\r\n$5\r\nHost:\r\n$1\r\nx\r\n{BODY}",),
    ],
)
def test_nothing_of_an_http_request_runs(served: tuple[EmbeddedServer, int], pieces: tuple[str, ...]) -> None:
    server, port = served
    assert b"+OK" not in answer(port, *pieces)
    assert server.client().keys() == [b"precious"]


def test_it_is_logged_once_in_a_while(served: tuple[EmbeddedServer, int], caplog: pytest.LogCaptureFixture) -> None:
    _, port = served
    with caplog.at_level(logging.WARNING, "relay_models.embedded"):
        for _ in range(3):
            answer(port, f"POST / HTTP/1.1\r\n{HEADERS}{BODY}")
    assert [record.getMessage().split(" came from")[0] for record in caplog.records] == ["An HTTP request"]
