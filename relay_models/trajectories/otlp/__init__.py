"""OTLP: runs from and to OpenTelemetry spans, in the GenAI conventions and in OpenInference's."""

from relay_models.trajectories.otlp.protobuf import from_protobuf, to_protobuf
from relay_models.trajectories.otlp.reading import SpanReader
from relay_models.trajectories.otlp.spans import parse_logs, parse_spans
from relay_models.trajectories.otlp.traces import Trace
from relay_models.trajectories.otlp.writing import Convention, to_otlp

__all__ = [
    "Convention",
    "SpanReader",
    "Trace",
    "from_protobuf",
    "parse_logs",
    "parse_spans",
    "to_otlp",
    "to_protobuf",
]
