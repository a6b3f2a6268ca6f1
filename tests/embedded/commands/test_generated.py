"""Random commands to the engine and to a real Redis 7.4: every reply is the same, over both protocols.

data/differences.toml names what may differ. RELAY_MODELS_TEST_QUERIES sets how many commands there are,
RELAY_MODELS_TEST_SEED which.
"""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from relay_models.embedded import EmbeddedServer, serving_in_thread

from .generate import Commands
from .test_replies import Wire

COUNT = int(os.environ.get("RELAY_MODELS_TEST_QUERIES", "3000"))
SEED = int(os.environ.get("RELAY_MODELS_TEST_SEED", "1"))
DIFFERENCES = tomllib.loads((Path(__file__).with_name("data") / "differences.toml").read_text(encoding="utf-8"))

# Where Redis gives elements in the order of a hash table.
UNORDERED = ("SMEMBERS", "SINTER", "SUNION", "SDIFF", "KEYS", "HGETALL", "HKEYS", "HVALS", "SCAN", "SSCAN", "HSCAN")
UNORDERED += ("SPOP", "SRANDMEMBER", "ZSCAN", "EXEC")


@pytest.fixture
def wires() -> Iterator[tuple[Wire, Wire]]:
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        ports = urlsplit(os.environ["RELAY_MODELS_TEST_REDIS_URL"]).port or 6379, urlsplit(endpoint.url).port or 0
        pair = Wire(ports[0]), Wire(ports[1])
        try:
            yield pair
        finally:
            for wire in pair:
                wire.close()


def sorted_deeply(reply: Any) -> Any:
    kind, value = reply
    if not isinstance(value, list):
        return reply
    parts = [part if kind == b"%" else sorted_deeply(part) for part in value]
    return kind, sorted(parts, key=str)


def without_errors(theirs: Any, ours: Any) -> tuple[Any, Any]:
    """The replies of a transaction without those that are errors on both sides, whose texts are compared elsewhere."""
    if not (isinstance(theirs[1], list) and isinstance(ours[1], list) and len(theirs[1]) == len(ours[1])):
        return theirs, ours
    pairs = [pair for pair in zip(theirs[1], ours[1], strict=True) if (pair[0][0], pair[1][0]) != (b"-", b"-")]
    return (theirs[0], [pair[0] for pair in pairs]), (ours[0], [pair[1] for pair in pairs])


def text(reply: Any) -> str:
    return reply[1].decode() if reply[0] == b"-" else ""


def named(command: list[str], theirs: Any, ours: Any) -> bool:
    """Whether replies differ as one of the differences says."""
    return any(
        re.search(each.get("command", ""), " ".join(command))
        and re.search(each.get("server", ""), text(theirs))
        and re.search(each.get("engine", ""), text(ours))
        for each in DIFFERENCES["difference"]
    )


@pytest.mark.real_server
@pytest.mark.parametrize("protocol", ["2", "3"])
def test_replies_are_those_of_a_real_server(wires: tuple[Wire, Wire], protocol: str) -> None:
    commands, different = Commands(SEED), []
    for wire in wires:
        wire.ask("FLUSHALL")
        wire.ask("HELLO", protocol)
    for number in range(COUNT):
        command = commands.next() if number % 400 else ["FLUSHALL"]
        theirs, ours = (wire.ask(*command) for wire in wires)
        if command == ["EXEC"]:
            theirs, ours = without_errors(theirs, ours)
        if command[0] in UNORDERED:
            theirs, ours = sorted_deeply(theirs), sorted_deeply(ours)
        if theirs == ours or named(command, theirs, ours):
            continue
        different.append(f"{shlex.join(command)}\n  {theirs}\n  {ours}")
        for wire in wires:  # what follows from it is no further difference
            wire.ask("DISCARD")
            wire.ask("FLUSHALL")
    report = "\n".join(line[:1500] for line in different[:20])
    assert not different, f"{len(different)} differ, of {COUNT}\n{report}"
