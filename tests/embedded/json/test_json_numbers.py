"""Numbers at the ends of what JSON values of RedisJSON can be."""

from __future__ import annotations

import pytest
import redis

from relay_models.embedded import EmbeddedServer


@pytest.mark.parametrize("digits", [309, 388, 5000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_beyond_all_doubles_is_out_of_range(digits: int, sign: str) -> None:
    number = sign + "9" * digits
    with EmbeddedServer() as server, server.client() as client:
        client.execute_command("JSON.SET", "key", "$", "[1]")
        for command in (
            ("JSON.SET", "key", "$", f'{{"a": [{number}]}}'),
            ("JSON.NUMINCRBY", "key", "$[0]", number),
            ("JSON.ARRAPPEND", "key", "$", number),
            ("JSON.MERGE", "key", "$", number),
        ):
            with pytest.raises(redis.ResponseError, match="number out of range"):
                client.execute_command(*command)
        assert client.execute_command("JSON.GET", "key") == b"[1]"


def test_the_greatest_integer_is_kept_as_a_double() -> None:
    with EmbeddedServer() as server, server.client() as client:
        client.execute_command("JSON.SET", "key", "$", "1" + "0" * 308)
        assert client.execute_command("JSON.GET", "key") == b"1e308"
