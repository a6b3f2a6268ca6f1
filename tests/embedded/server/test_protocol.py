"""Requests survive any cut into pieces, and replies are read back by redis-py as they were meant."""

from __future__ import annotations

import io
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from relay_models.embedded.server.protocol import ProtocolError, PushReply, RequestReader, SetReply, encode_reply

requests = st.lists(st.lists(st.binary(max_size=50), min_size=1, max_size=5), max_size=8)


def packed(request: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(request) + b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in request)


@given(sent=requests, cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_requests_survive_any_cut(sent: list[list[bytes]], cuts: list[int]) -> None:
    stream = b"".join(map(packed, sent))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = RequestReader()
    received = [request for start, end in pairwise(places) for request in reader.feed(stream[start:end])]
    assert received == sent
    assert reader.pending == 0


@given(st.binary(max_size=400))
def test_any_input_is_read_or_refused(stream: bytes) -> None:
    read_in_two_ways(stream)


edits = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(0, 3),
        st.sampled_from([b"", b"$", b"*", b"\r", b"\n", b"\r\n", b"1", b"-", b"x"]),
    ),
    max_size=4,
)


@given(sent=requests, edits=edits)
def test_requests_with_errors_are_read_or_refused(sent: list[list[bytes]], edits: list[tuple[int, int, bytes]]) -> None:
    stream = b"".join(map(packed, sent))
    for place, length, instead in edits:
        stream = stream[:place] + instead + stream[place + length :]
    read_in_two_ways(stream)


def read_in_two_ways(stream: bytes) -> None:
    """All at once and byte by byte must come to the same."""
    outcomes = []
    for pieces in ([stream], [stream[at : at + 1] for at in range(len(stream))]):
        reader, received, refused = RequestReader(), [], False
        try:
            for piece in pieces:
                for request in reader.feed(piece):
                    received.append(request)
        except ProtocolError:
            refused = True
        outcomes.append((received, refused))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"PING", [b"PING"]),
        (b"  SET  a\tb ", [b"SET", b"a", b"b"]),
        (b"SET \"a b\" 'c d'", [b"SET", b"a b", b"c d"]),
        (rb'SET "\x41\n\"\\" x', [b"SET", b'A\n"\\', b"x"]),
        (rb"SET 'it\'s' x", [b"SET", b"it's", b"x"]),
        (b'SET "" x', [b"SET", b"", b"x"]),
    ],
)
def test_inline_words(line: bytes, words: list[bytes]) -> None:
    assert list(RequestReader().feed(line + b"\r\n")) == [words]


@pytest.mark.parametrize("line", [b'GET "a', b"GET 'a", b'GET "a"b', b"GET 'a'b"])
def test_unbalanced_quotes_are_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="unbalanced"):
        list(RequestReader().feed(line + b"\r\n"))


scalars = st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20) | st.booleans()
replies = st.recursive(
    scalars | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=5), inner, max_size=4),
    max_leaves=12,
)


class _Socket(io.BytesIO):
    """Enough of a socket for redis-py's own parser."""

    def recv(self, size: int) -> bytes:
        return self.read(size)


def read_back(reply: Any, protocol: int) -> Any:
    from redis._parsers import _RESP2Parser, _RESP3Parser
    from redis._parsers.encoders import Encoder
    from redis._parsers.socket import SocketBuffer

    out: list[bytes] = []
    encode_reply(reply, protocol, out)
    parser = (_RESP3Parser if protocol == 3 else _RESP2Parser)(socket_read_size=65536)
    parser._buffer = SocketBuffer(_Socket(b"".join(out)), 65536, None)
    parser.encoder = Encoder("utf-8", "strict", False)
    return parser.read_response(disable_decoding=True)


@given(replies)
def test_replies_are_read_back(reply: Any) -> None:
    assert read_back(reply, 3) == reply


@pytest.mark.parametrize("value", [0.1, 1.5, -2.0, 1e17, 1e-7, math.inf, -math.inf, 5e-324])
def test_doubles_read_back_exactly(value: float) -> None:
    assert read_back(value, 3) == value
    assert float(read_back(value, 2)) == value


def test_sets_and_pushes_are_marked_in_resp3() -> None:
    for mark, kind in ((b"~", SetReply), (b">", PushReply)):
        for protocol, first in ((2, b"*"), (3, mark)):
            out: list[bytes] = []
            encode_reply(kind([b"a"]), protocol, out)
            assert b"".join(out) == first + b"1\r\n$1\r\na\r\n"
