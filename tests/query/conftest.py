"""A store's index on each server there is, spoken to in RESP2 and RESP3, and what drives a conversation with it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from relay_models.documents import KINDS, Keys, create_index_command, encode_run
from relay_models.embedded import EmbeddedServer
from relay_models.query.steps import Answer, Steps
from relay_models.records import RunRecord

TIMES = int(os.environ.get("RELAY_MODELS_TEST_EXAMPLES", "1"))
"""How many times as many random examples as usual are tried."""

STORED = 1_000
"""When the first run of `Store.hold` is stored, in epoch microseconds; each other one microsecond later."""


@dataclass
class Store:
    """A client, the keys of a store, and the runs that are in it."""

    client: Any
    keys: Keys
    held: list[bytes] = field(default_factory=list)
    commands: list[list[Any]] = field(default_factory=list)

    @property
    def alias(self) -> str:
        return self.keys.alias("run")

    def drive(self, steps: Steps[Any]) -> Any:
        """Have a conversation and give its result; `commands` are those it sent."""
        self.commands = []
        try:
            command = next(steps)
            while True:
                self.commands.append(command)
                assert len(self.commands) < 200, "the conversation does not end"
                began = time.perf_counter()
                reply = self.client.execute_command(*command)
                command = steps.send(Answer(reply, (time.perf_counter() - began) * 1000))
        except StopIteration as stop:
            return stop.value

    def hold(self, records: list[RunRecord]) -> None:
        """Have these runs and no others."""
        if self.held:
            self.client.delete(*self.held)
        self.held = [self.keys.run(record.agent_id, record.id) for record in records]
        for place, (key, record) in enumerate(zip(self.held, records, strict=True)):
            self.client.execute_command("JSON.SET", key, "$", encode_run(record, STORED + place, text=True))


def make_indexes(client: Any, keys: Keys, kinds: tuple[str, ...] = KINDS, text: bool = True) -> None:
    for kind in kinds:
        command = create_index_command(kind, keys, text=text)
        client.execute_command(*command)
        client.execute_command("FT.ALIASADD", keys.alias(kind), command[1])


def drop_indexes(client: Any, keys: Keys, text: bool = True) -> None:
    for kind in KINDS:
        client.execute_command("FT.DROPINDEX", keys.index(kind, text=text), "DD")


REAL = [pytest.param(name, marks=pytest.mark.real_server) for name in ("real-2", "real-3")]


@pytest.fixture(scope="module", params=["embedded-2", "embedded-3", *REAL])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store with all indexes, words included, whose prefix is hard to get right."""
    where, protocol = request.param.split("-")
    keys = Keys(f"q{uuid.uuid4().hex} {{*}}\n\"'\\:")
    if where == "real":
        client: Any = redis.Redis.from_url(request.getfixturevalue("real_redis_url"), protocol=int(protocol))
        make_indexes(client, keys)
        yield Store(client, keys)
        drop_indexes(client, keys)
        client.close()
        return
    with EmbeddedServer() as server, server.client(protocol=int(protocol)) as client:
        make_indexes(client, keys)
        yield Store(client, keys)
