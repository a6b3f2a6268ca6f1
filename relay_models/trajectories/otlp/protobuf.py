"""OTLP in protobuf, from and to OTLP JSON, by the types of opentelemetry-proto (the extra ``otel``)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from relay_models._checks import shown
from relay_models.errors import InvalidRecordError, MissingExtraError

__all__ = ["from_protobuf", "to_protobuf"]

# OTLP JSON has these fields in hex, protobuf's own JSON in base64.
_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


def to_protobuf(request: Mapping[str, Any]) -> bytes:
    """Encode an export request.

    Args:
        request: an ExportTraceServiceRequest as OTLP JSON, such as `to_otlp` makes.

    Raises:
        MissingExtraError: opentelemetry-proto is not installed.
        InvalidRecordError: it is no such request.
    """
    message, json_format = _types()
    if not isinstance(request, Mapping):
        raise InvalidRecordError(f"this is no OTLP export request, but {shown(request)}")
    try:
        json_format.ParseDict(_with_ids(request, _base64), message, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError) as error:
        raise InvalidRecordError(f"this is no OTLP export request: {error}") from None
    return bytes(message.SerializeToString())


def from_protobuf(data: bytes, *, logs: bool = False) -> dict[str, Any]:
    """Decode an export request to OTLP JSON.

    Args:
        data: an ExportTraceServiceRequest as protobuf.
        logs: whether it is an ExportLogsServiceRequest instead.

    Raises:
        MissingExtraError: opentelemetry-proto is not installed.
        InvalidRecordError: it is no such request.
    """
    message, json_format = _types(logs)
    if not isinstance(data, bytes):
        raise InvalidRecordError(f"an export request in protobuf is bytes, not {shown(data)}")
    from google.protobuf.message import DecodeError  # lazy: an optional extra

    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise InvalidRecordError(f"this is no OTLP export request: {error}") from None
    decoded: dict[str, Any] = _with_ids(json_format.MessageToDict(message, use_integers_for_enums=True), _hex)
    return decoded


def _types(logs: bool = False) -> tuple[Any, Any]:
    try:
        # lazy: an optional extra
        from google.protobuf import json_format
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    except ImportError as error:
        raise MissingExtraError(
            "OTLP in protobuf needs opentelemetry-proto: pip install 'relay-models[otel]'"
        ) from error
    return (ExportLogsServiceRequest if logs else ExportTraceServiceRequest)(), json_format


def _with_ids(value: Any, convert: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: convert(item) if key in _IDS and isinstance(item, str) else _with_ids(item, convert)
            for key, item in value.items()
        }
    return [_with_ids(item, convert) for item in value] if isinstance(value, list) else value


def _base64(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


def _hex(text: str) -> str:
    return base64.b64decode(text).hex()
