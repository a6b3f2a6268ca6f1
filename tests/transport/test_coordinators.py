"""SEARCH.CLUSTERINFO, as releases of Redis 8 answer it in RESP2 and RESP3."""

from __future__ import annotations

from typing import Any

import pytest

from relay_models.transport.coordinators import coordinated_shards

A, B = b"a" * 40, b"b" * 40
HEAD = [b"num_partitions", 2, b"cluster_type", b"redis_oss"]
SHARDS = {("a" * 40, 0, 99), ("b" * 40, 100, 16383)}


@pytest.mark.parametrize(
    ("reply", "shards"),
    [
        pytest.param(
            [
                *HEAD,
                b"slots",
                [0, 99, [A, b"127.0.0.1", 7000, b"master self"], [B, b"127.0.0.1", 7001, b"slave "]],
                [100, 16383, [B, b"127.0.0.1", 7002, b"master "]],
            ],
            SHARDS,
            id="8.0 RESP2",
        ),
        pytest.param(
            {
                b"num_partitions": 2,
                b"slots": [
                    {b"start": 0, b"end": 99, b"nodes": [{b"id": A, b"host": b"h", b"port": 1, b"role": b"master "}]},
                    {
                        b"start": 100,
                        b"end": 16383,
                        b"nodes": [{b"id": B, b"host": b"h", b"port": 2, b"role": b"master"}],
                    },
                ],
            },
            SHARDS,
            id="8.0 RESP3",
        ),
        pytest.param([*HEAD, b"slots", None], set(), id="8.0 not used yet"),
        pytest.param(
            [*HEAD, b"shards", [[b"id", A, b"host", b"h", b"port", 1], [b"id", B, b"host", b"h", b"port", 2]]],
            {("a" * 40, -1, -1), ("b" * 40, -1, -1)},
            id="8.4",
        ),
        pytest.param(
            [*HEAD, b"shards", [[b"slots", [0, 99], b"id", A, b"port", 1], [b"slots", [100, 16383], b"id", B]]],
            SHARDS,
            id="8.6 RESP2",
        ),
        pytest.param(
            {b"shards": [{b"slots": [0, 99], b"id": A}, {b"slots": [100, 16383], b"id": B}]}, SHARDS, id="8.6 RESP3"
        ),
        pytest.param([b"something", b"else"], None, id="unknown"),
        pytest.param(b"OK", None, id="no list"),
    ],
)
def test_the_shards_that_a_coordinator_knows(reply: Any, shards: set[Any] | None) -> None:
    assert coordinated_shards(reply) == shards
