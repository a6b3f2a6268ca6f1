"""Numbers out of range are refused by every function that takes them, before anything is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from relay_models.errors import InvalidConfigurationError
from relay_models.native.sync import Follower, export_native
from relay_models.receiver import Limits, SpanStore
from relay_models.recorder import Recorder, ThreadedRecorder
from relay_models.sync import RedisBackend
from relay_models.trajectories import FileFollower, FileImport, RunBuilder, RunReader
from relay_models.transport import ConnectionOptions

COUNTS: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "Recorder": (lambda **options: Recorder(object(), **options), ["max_waiting", "max_calls"]),
    "ThreadedRecorder": (lambda **options: ThreadedRecorder(list, **options), ["max_waiting", "max_calls"]),
    "RunBuilder": (RunBuilder, ["max_calls", "max_bytes"]),
    "RunReader": (RunReader, ["max_line_bytes", "max_open_bytes"]),
    "FileFollower": (lambda **options: FileFollower("events.jsonl", **options), ["max_line_bytes"]),
    "FileImport": (FileImport, ["max_text_length", "max_call_bytes"]),
    "SpanStore": (lambda **options: SpanStore(object(), **options), ["max_open_bytes"]),  # type: ignore[arg-type]
    "Limits": (Limits, ["max_request_bytes", "max_waiting_bytes", "max_waiting"]),
    "ConnectionOptions": (ConnectionOptions, ["max_connections"]),
}
SECONDS: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "Recorder": (lambda **options: Recorder(object(), **options), ["flush_timeout"]),
    "ThreadedRecorder": (lambda **options: ThreadedRecorder(list, **options), ["flush_timeout"]),
    "Follower": (lambda **options: Follower("redis://127.0.0.1:1", object(), **options), ["poll"]),  # type: ignore[arg-type]
    "ConnectionOptions": (ConnectionOptions, ["timeout", "connect_timeout", "replica_timeout"]),
    "embedded": (RedisBackend.embedded, ["run_ttl"]),
    "connect": (lambda **options: RedisBackend.connect("redis://127.0.0.1:1", **options), ["index_timeout"]),
}


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in COUNTS for option in COUNTS[name][1]])
def test_a_count_is_a_whole_number_from_1_on(name: str, option: str) -> None:
    for value in (0, -1, -(10**30), 1.5, math.nan, math.inf, "1", True, []):
        with pytest.raises(InvalidConfigurationError, match=option):
            COUNTS[name][0](**{option: value})


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in SECONDS for option in SECONDS[name][1]])
def test_seconds_are_finite_and_not_negative(name: str, option: str) -> None:
    for value in (-1, -0.001, 10**30, math.nan, math.inf, -math.inf, "1", True, []):
        with pytest.raises(InvalidConfigurationError, match=option):
            SECONDS[name][0](**{option: value})


def test_more_connections_than_there_are_ports_are_refused() -> None:
    """A pool makes room for all of them at once, which takes all memory."""
    with pytest.raises(InvalidConfigurationError, match="max_connections is a whole number from 1 to 65535"):
        RedisBackend.connect("redis://127.0.0.1:1", max_connections=10**12)


def test_one_agent_is_no_list_of_agents() -> None:
    with (
        RedisBackend.embedded() as backend,
        pytest.raises(InvalidConfigurationError, match=r"such as \['planner'\]"),
    ):
        export_native(backend, "redis://127.0.0.1:1", agents="planner")
