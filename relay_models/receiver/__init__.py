"""Receive OpenTelemetry spans over HTTP (OTLP) and store the runs that they tell of."""

from relay_models.receiver.app import Limits, make_app
from relay_models.receiver.server import serve_receiver
from relay_models.receiver.span_store import Received, SpanStore

__all__ = ["Limits", "Received", "SpanStore", "make_app", "serve_receiver"]
