"""The sync twins of `relay_models.transport`: the same names and behavior, without ``await``."""

from __future__ import annotations

from relay_models.transport._io_sync import AnyIterable, Opening, as_opening, iterate, shielded, sleep
from relay_models.transport._sync.interface import Command, Pipeline, Transport
from relay_models.transport._sync.opening import as_cluster, open_client, open_embedded, open_url
from relay_models.transport.backoff import Backoff
from relay_models.transport.cancellation import raise_if_cancelled
from relay_models.transport.error_mapping import mapped_errors, translate
from relay_models.transport.options import ConnectionOptions
from relay_models.transport.time_limit import time_limit, without_time_limit
from relay_models.transport.transaction import Glance, Timed, Transaction
from relay_models.transport.urls import Target, parse_target

__all__ = [
    "AnyIterable",
    "Backoff",
    "Command",
    "ConnectionOptions",
    "Glance",
    "Opening",
    "Pipeline",
    "Target",
    "Timed",
    "Transaction",
    "Transport",
    "as_cluster",
    "as_opening",
    "iterate",
    "mapped_errors",
    "open_client",
    "open_embedded",
    "open_url",
    "parse_target",
    "raise_if_cancelled",
    "shielded",
    "sleep",
    "time_limit",
    "translate",
    "without_time_limit",
]
