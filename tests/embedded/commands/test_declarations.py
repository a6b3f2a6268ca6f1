"""A declared FT.* command is known wherever the server speaks of commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from relay_models.embedded import EmbeddedServer
from relay_models.embedded.search.commands import SEARCH_COMMANDS, SearchCommand

each_command = pytest.mark.parametrize("declared", SEARCH_COMMANDS.values(), ids=lambda declared: declared.name)


@pytest.fixture
def client() -> Iterator[redis.Redis[Any]]:
    with EmbeddedServer() as server:
        client = server.client(protocol=3, decode_responses=True)
        yield client
        client.close()


@each_command
def test_it_is_listed(client: redis.Redis[Any], declared: SearchCommand) -> None:
    assert declared.name in client.execute_command("COMMAND LIST")
    assert declared.name in client.execute_command("ACL CAT", "search")
    assert declared.name in client.execute_command("ACL CAT", "write" if declared.writes else "read")


@each_command
def test_it_is_described(client: redis.Redis[Any], declared: SearchCommand) -> None:
    (info,) = client.execute_command("COMMAND INFO", declared.name)
    if isinstance(info, dict):
        info = [info["name"], info["arity"], info["flags"]]
    assert info[0] == declared.name
    assert abs(info[1]) == declared.least + 1
    assert ("write" if declared.writes else "readonly") in info[2]


@each_command
def test_too_few_arguments_are_refused(client: redis.Redis[Any], declared: SearchCommand) -> None:
    if declared.run is None:
        with pytest.raises(redis.ResponseError, match="not supported by the embedded engine"):
            client.execute_command(declared.name)
    elif declared.least:
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            client.execute_command(declared.name, *["x"] * (declared.least - 1))


@each_command
def test_a_reader_may_only_read(client: redis.Redis[Any], declared: SearchCommand) -> None:
    client.execute_command("ACL SETUSER", "reader", "on", "nopass", "~*", "+@read")
    reply = client.execute_command("ACL DRYRUN", "reader", declared.name, *["x"] * declared.least)
    assert (reply == "OK") is not declared.writes
