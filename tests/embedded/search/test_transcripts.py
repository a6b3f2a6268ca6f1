"""The engine against replies recorded from real servers.

``search_*`` is one recording of RediSearch 8.6, 8.0 and 2.10; ``random_8.0`` holds random commands, hostile values,
and errors of every kind, with the answers of RediSearch 8.0.2 and RedisJSON 2.8. Its lines to be compared with "none"
only lead to the next ones. The engine follows 8.6; data/exceptions.toml names what differs from the others.
"""

from __future__ import annotations

import gzip
import json
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer

from .replies import canonical, encode

DATA = Path(__file__).parents[2] / "data"
EXCEPTIONS = Path(__file__).with_name("data") / "exceptions.toml"
INFO_COMPARED = {
    "index_name",
    "index_options",
    "index_definition",
    "attributes",
    "num_docs",
    "hash_indexing_failures",
    "indexing",
    "percent_indexed",
}


def info(reply: Any, *, flat: bool) -> Any:
    if flat:
        return {name: part for name, part in zip(reply[::2], reply[1::2], strict=True) if name in INFO_COMPARED}
    return {name: part for name, part in reply["map"] if name in INFO_COMPARED}


def same(compare: str, reply: Any, recorded: Any, protocol: int) -> bool:
    if reply == recorded or compare == "none":
        return True
    if compare == "unordered":
        return bool(canonical(reply) == canonical(recorded))
    if compare == "keys":
        return bool(info(reply, flat=protocol == 2) == info(recorded, flat=protocol == 2))
    return False


@dataclass
class NamedException:
    """One named way in which the engine may differ from a recorded server."""

    name: str
    why: str
    transcripts: list[str]
    commands: list[str]
    words: list[str]
    ignore: str
    used: set[str] = field(default_factory=set)

    def covers(self, command: list[str]) -> bool:
        text = " ".join(command)
        return any(text.startswith(start) for start in self.commands) and all(word in text + "$" for word in self.words)

    def same(self, reply: Any, recorded: Any) -> bool:
        if self.ignore == "reply":
            return True
        if self.ignore == "order":
            return all(isinstance(text, str) for text in (reply, recorded)) and bool(
                json.loads(reply) == json.loads(recorded)
            )
        return bool(without_total(reply) == without_total(recorded))


def without_total(reply: Any) -> Any:
    if isinstance(reply, dict) and "map" in reply:
        return [part for part in reply["map"] if part[0] != "total_results"]
    return reply[1:] if isinstance(reply, list) else reply


def named_exceptions(transcript: str) -> list[NamedException]:
    """The exceptions that a transcript has."""
    loaded = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))["exception"]
    return [each for each in (NamedException(**entry) for entry in loaded) if transcript in each.transcripts]


def replay(transcript: str, protocol: int) -> tuple[Counter[str], Counter[str], list[str]]:
    """How many lines there are and how many replay equal, per scenario, and what the others answered."""
    with gzip.open(DATA / f"{transcript}.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    wanted, equal, differences = Counter[str](), Counter[str](), []
    cursor: Any = 0
    exceptions = named_exceptions(transcript)
    with EmbeddedServer() as server, server.client(protocol=protocol) as client:
        connection = client.connection_pool.get_connection()
        for line in lines:
            if line["resp"] != protocol:
                continue
            connection.send_command(*[str(cursor) if part == "<cursor>" else part for part in line["command"]])
            try:
                reply: Any = connection.read_response(disable_decoding=True)
            except redis.ResponseError as error:
                reply = error
            encoded = encode(reply)
            if line["scenario"] == "cursor" and isinstance(reply, list) and len(reply) == 2 and type(reply[1]) is int:
                cursor = reply[1]
                encoded = [encode(reply[0]), {"cursor": True} if cursor else 0]
            wanted[line["scenario"]] += 1
            command, recorded = line["command"], line["reply"]
            if same(line["compare"], encoded, recorded, protocol):
                equal[line["scenario"]] += 1
                continue
            for exception in exceptions:
                if exception.covers(command) and exception.same(encoded, recorded):
                    exception.used.add(" ".join(command))
                    equal[line["scenario"]] += 1
                    break
            else:
                differences.append(f"{line['command']}\n  real server: {line['reply']}\n  engine:      {encoded}")
        client.connection_pool.release(connection)
    needless = [each.name for each in exceptions if not each.used and each.ignore != "order"]  # that one is random
    assert not needless, f"exceptions that no reply of {transcript} needs: {needless}"
    return wanted, equal, differences


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("transcript", ["search_8.6", "search_8.0", "search_2.10", "random_8.0"])
def test_every_recorded_reply(transcript: str, protocol: int) -> None:
    wanted, equal, differences = replay(transcript, protocol)
    print()
    for scenario, number in wanted.items():
        print(f"RESP{protocol} {scenario:10} {equal[scenario]:4} of {number:4} ({equal[scenario] / number:.1%})")
    assert not differences, "\n".join(difference[:2000] for difference in differences[:10])
