"""`make_app`: the OTLP/HTTP endpoints ``/v1/traces`` and ``/v1/logs`` as an ASGI application."""

from __future__ import annotations

import hmac
import json
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from relay_models._checks import check_count, check_text
from relay_models.errors import (
    InvalidConfigurationError,
    InvalidRecordError,
    MissingExtraError,
    RelayModelsError,
    SerializationError,
)
from relay_models.receiver.span_store import Received, SpanStore
from relay_models.trajectories import from_protobuf
from relay_models.trajectories.recognize import decode_json

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Limits", "make_app"]

log = logging.getLogger("relay_models.receiver")

_TRACES, _LOGS = "/v1/traces", "/v1/logs"
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
# Seconds after which an exporter may send again what was not taken.
_RETRY_AFTER = "1"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a receiver takes at a time.

    Raises:
        InvalidConfigurationError: one of them is less than 1.
    """

    max_request_bytes: int = 32 * 2**20
    """Maximum size of a request, also of its uncompressed content [bytes]; a larger one is refused (413)."""
    max_waiting_bytes: int = 128 * 2**20
    """Maximum size of all requests that are being read or stored [bytes]; beyond it they are refused (429)."""
    max_waiting: int = 64
    """Maximum number of requests that are being read or stored; beyond it they are refused (429)."""
    max_open_bytes: int = 64 * 2**20
    """Maximum size of the spans that are held for those that come later [bytes of the requests]."""

    def __post_init__(self) -> None:
        for limit in fields(self):
            check_count(limit.name, getattr(self, limit.name))
        if self.max_waiting_bytes < 2 * self.max_request_bytes:
            raise InvalidConfigurationError(
                f"max_waiting_bytes is {self.max_waiting_bytes}: it is at least twice max_request_bytes "
                f"({self.max_request_bytes}), as a compressed request is held beside its content"
            )


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Endpoint:
    def __init__(self, spans: SpanStore, token: str | None, limits: Limits) -> None:
        check_text("token", token)
        self._spans = spans
        self._token = None if token is None else f"Bearer {token}".encode()
        self._limits = limits
        self._waiting = 0
        self._bytes = 0

    async def export(self, request: Request) -> Response:
        """Take an export request: it is stored when 200 is answered."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        held = _Held(self)
        self._waiting += 1
        try:
            self._check(request, kind)
            data = _uncompressed(await self._body(request, held), request, self._limits.max_request_bytes)
            held.add(len(data))
            received = await self._spans.add(_decoded(data, kind, request.url.path == _LOGS), len(data))
        except _Refused as refusal:
            return _answer(kind, refusal.status, message=str(refusal))
        except SerializationError as error:
            return _answer(kind, 400, message=str(error))
        except RelayModelsError as error:
            log.warning("spans cannot be stored, and the sender is asked to try again: %s", error)
            return _answer(kind, 503, message="the store failed; try again")
        finally:
            self._waiting -= 1
            held.release()
        for problem in received.problems:
            log.warning("%s", problem)
        return _answer(kind, 200, received)

    def _check(self, request: Request, kind: str) -> None:
        given = request.headers.get("authorization", "").encode()
        if self._token is not None and not hmac.compare_digest(given, self._token):
            raise _Refused(401, "a token is needed: Authorization: Bearer TOKEN")
        if kind not in (_PROTOBUF, _JSON):
            raise _Refused(415, f"the content type is {_PROTOBUF} or {_JSON}")
        if self._waiting > self._limits.max_waiting:
            raise _Refused(429, "too many requests are waiting; try again")
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._limits.max_request_bytes:
            raise _Refused(413, f"a request has at most {self._limits.max_request_bytes} bytes: send smaller batches")

    async def _body(self, request: Request, held: _Held) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._limits.max_request_bytes:
                raise _Refused(
                    413, f"a request has at most {self._limits.max_request_bytes} bytes: send smaller batches"
                )
            held.add(len(part))
            parts.append(part)
        return b"".join(parts)

    def hold(self, size: int) -> None:
        """Count bytes that are held; refuse where they are too many."""
        if self._bytes + size > self._limits.max_waiting_bytes:
            raise _Refused(429, "too much is waiting to be stored; try again")
        self._bytes += size

    def release(self, size: int) -> None:
        """Count bytes that are no longer held."""
        self._bytes -= size


class _Held:
    """The bytes that one request holds."""

    def __init__(self, endpoint: _Endpoint) -> None:
        self._endpoint, self._size = endpoint, 0

    def add(self, size: int) -> None:
        self._endpoint.hold(size)
        self._size += size

    def release(self) -> None:
        self._endpoint.release(self._size)


def make_app(spans: SpanStore, *, token: str | None = None, limits: Limits | None = None) -> Starlette:
    """Make the endpoint as an ASGI application.

    Args:
        spans: where spans go.
        token: what ``Authorization: Bearer`` has to say; None accepts every sender.
        limits: what is taken at a time.

    Raises:
        MissingExtraError: starlette is not installed.
    """
    try:
        # lazy: an optional extra
        from starlette.applications import Starlette
        from starlette.routing import Route
    except ImportError as error:
        raise MissingExtraError("receiving spans needs starlette: pip install 'relay-models[web,otel]'") from error
    endpoint = _Endpoint(spans, token, limits or Limits())
    return Starlette(routes=[Route(path, endpoint.export, methods=["POST"]) for path in (_TRACES, _LOGS)])


def _uncompressed(data: bytes, request: Request, limit: int) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return data
    if encoding not in ("gzip", "deflate"):
        raise _Refused(415, "the content encoding is gzip, deflate or none")
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        content = unpacking.decompress(data, limit + 1)
    except zlib.error as error:
        raise _Refused(400, f"the content is not valid {encoding}: {error}") from None
    if len(content) > limit:
        raise _Refused(413, f"a request has at most {limit} bytes: send smaller batches")
    if not unpacking.eof:
        raise _Refused(400, f"the {encoding} content is cut")
    return content


def _decoded(data: bytes, kind: str, logs: bool) -> Mapping[str, Any]:
    if kind == _PROTOBUF:
        return from_protobuf(data, logs=logs)
    try:
        value, notes = decode_json(data)
    except ValueError as error:
        raise InvalidRecordError(f"the request cannot be read: {error}") from None
    for note in notes:
        log.warning("%s", note)
    if not isinstance(value, dict):
        raise InvalidRecordError("this is no OTLP export request: it is no JSON object")
    return value


def _answer(kind: str, status: int, received: Received | None = None, message: str = "") -> Response:
    """An ExportTraceServiceResponse, or a Status where the request was not taken, in the encoding of the request."""
    from starlette.responses import Response  # lazy: an optional extra

    headers = {"retry-after": _RETRY_AFTER} if status in (429, 503) else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    value: dict[str, Any] = {} if received is not None else {"message": message}
    if received is not None and (received.rejected or received.problems):
        value["partialSuccess"] = {
            "rejectedSpans": str(received.rejected),
            "errorMessage": "; ".join(received.problems[:5]),
        }
    if kind == _PROTOBUF:
        return Response(_protobuf(value, status), status, headers, media_type=_PROTOBUF)
    return Response(json.dumps(value), status, headers, media_type=_JSON)


def _protobuf(value: Mapping[str, Any], status: int) -> bytes:
    try:
        # lazy: an optional extra
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
    except ImportError:
        return b""
    if status != 200:
        # google.rpc.Status: field 2 is the message.
        text = str(value.get("message", "")).encode()[:120]
        return b"\x12" + bytes([len(text)]) + text
    answer: Any = ExportTraceServiceResponse()
    if partial := value.get("partialSuccess"):
        answer.partial_success.rejected_spans = int(partial["rejectedSpans"])
        answer.partial_success.error_message = partial["errorMessage"]
    return bytes(answer.SerializeToString())
