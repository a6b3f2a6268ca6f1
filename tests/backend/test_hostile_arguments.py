"""Every parameter of the facade with values out of range and hostile texts: only our errors come back."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import pytest

from relay_models.errors import RelayModelsError
from relay_models.sync import RedisBackend
from tests.backend.stores import make_run

HOSTILE: list[Any] = [
    *("", "\ud800", "a\udfffb", "\0", "x" * 100_000, "agent = \ud800", "-started_at", "1s", b"\xff"),
    *(0, -1, -5, 10**30, -(10**30), 1.5, math.nan, math.inf, -math.inf, None, True, object()),
    *([], {}, (), ["\ud800"], UUID(int=0)),
    *(timedelta(-1), timedelta.max, timedelta.min, datetime(1, 1, 1), datetime.max.replace(tzinfo=UTC)),  # noqa: DTZ001
    (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
]
VALID: dict[str, Any] = {
    "agent_id": "a",
    "run_id": UUID(int=7),
    "record": make_run("a", 1),
    "records": [make_run("a", 2)],
    "keep": 5,
    "filter": "agent = nobody",
    "what": "runs",
}
NO_OPERATIONS = {"connect", "embedded", "from_client", "close", "read"}


def parameters() -> Iterator[tuple[str, str, str]]:
    """Every parameter of every operation: the name of the object, of the method and of the parameter."""
    with RedisBackend.embedded() as backend:
        for owner in ("", "runs", "plans"):
            target = getattr(backend, owner) if owner else backend
            for name, method in inspect.getmembers(target, inspect.ismethod):
                if not name.startswith("_") and name not in NO_OPERATIONS:
                    for parameter in inspect.signature(method).parameters:
                        yield owner, name, parameter


@pytest.fixture(scope="module")
def backend() -> Iterator[RedisBackend]:
    with RedisBackend.embedded() as made:
        yield made


@pytest.mark.parametrize(("owner", "name", "parameter"), list(parameters()))
def test_only_our_errors(backend: RedisBackend, owner: str, name: str, parameter: str) -> None:
    backend.store_runs(make_run("a", number) for number in range(3))
    method = getattr(getattr(backend, owner) if owner else backend, name)
    given = {
        other.name: VALID.get(other.name)
        for other in inspect.signature(method).parameters.values()
        if other.default is other.empty
    }
    for value in HOSTILE:
        with suppress(RelayModelsError):
            result = method(**{**given, parameter: value})
            if name.startswith("watch"):
                result.close()
            elif hasattr(result, "__next__"):
                with closing(result):
                    list(islice(result, 5))
