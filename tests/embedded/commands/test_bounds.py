"""No short command keeps other clients waiting: patterns match in linear time, replies and copies have bounds."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from fakeredis._helpers import compile_pattern
from hypothesis import given, strategies as st

from relay_models.embedded import EmbeddedServer
from relay_models.embedded.glob import compile_glob, compile_wildcard, compile_word_wildcard

# Far more than any of the commands takes, and far less than with one of the faults, in seconds.
BOUND = 8.0
STARS = "*a" * 24 + "*b"


@pytest.fixture
def client() -> Iterator[Any]:
    with EmbeddedServer() as server:
        client = server.client()
        client.set("a" * 60, "x")
        client.set("a" * 60_000, "x")
        client.sadd("set", "a" * 60, "b")
        client.hset("hash", "a" * 60, "b")
        client.zadd("zset", {"a" * 60: 1})
        client.set("one", bytes(random.Random(1).choices(b"abcd", k=30_000)))
        client.set("two", bytes(random.Random(2).choices(b"abcd", k=30_000)))
        client.json().set("doc", "$", [{"name": "a" * 60}])
        schema = ["SCHEMA", "tag", "TAG", "word", "TEXT", "long", "TEXT"]
        client.execute_command("FT.CREATE", "i", "ON", "HASH", "PREFIX", "1", "h:", *schema)
        client.hset("h:1", mapping={"tag": "a" * 60, "word": "a" * 60, "long": "a" * 30_000})
        yield client


COMMANDS: list[list[Any]] = [
    ["KEYS", STARS],
    ["SCAN", 0, "MATCH", STARS],
    ["SSCAN", "set", 0, "MATCH", STARS],
    ["HSCAN", "hash", 0, "MATCH", STARS],
    ["ZSCAN", "zset", 0, "MATCH", STARS],
    ["CONFIG", "GET", "*m" * 20 + "*z"],
    ["COMMAND", "LIST", "FILTERBY", "PATTERN", STARS],
    ["FUNCTION", "LIST", "LIBRARYNAME", STARS],
    ["JSON.GET", "doc", '$[?(@.name =~ "(a+)+b")]'],
    ["JSON.GET", "doc", '$[?(@.name =~ "(a|a)*b")]'],
    ["JSON.GET", "doc", "$" + "[0]" * 200_000],
    ["JSON.GET", "doc", "INDENT", "x" * 1_000_000, "NEWLINE", "x" * 400_000_000, "$"],
    ["FT.AGGREGATE", "i", "*", "APPLY", f"timefmt(0,'{'%c' * 100_000}')", "AS", "z"],
    ["FT.AGGREGATE", "i", "*", "LOAD", 1, "@word", "APPLY", "@word" + "&&@word" * 2000, "AS", "z"],
    ["FT.AGGREGATE", "i", "*", *["APPLY", "1", "AS", "a"] * 2000],
    ["FT.SEARCH", "i", f"@tag:{{w'{STARS}'}}", "DIALECT", 2],
    ["FT.SEARCH", "i", f"@word:w'{STARS}'", "DIALECT", 2],
    ["FT.SEARCH", "i", f"%%%{'b' * 30_000}%%%", "DIALECT", 2],
    ["KEYS", "a" * 1_000_000],
    ["KEYS", "*" + "a" * 30_000 + "b*"],
    ["KEYS", "*" + "?" * 30_000 + "b*"],
    ["KEYS", "*" + "[ab]" * 30_000 + "b*"],
    ["KEYS", "*[" + "a-z" * 300_000 + "]b*"],
    ["KEYS", "\\\\a*?" * 100_000],
    ["SCAN", 0, "MATCH", "*a" * 100_000],
    ["FT.SEARCH", "i", f"@tag:{{w'{'*' + 'a' * 200_000 + 'b*'}'}}", "DIALECT", 2],
    ["PSUBSCRIBE", "[" * 1_000_000],
    ["SRANDMEMBER", "set", -(10**9)],
    ["HRANDFIELD", "hash", -(10**9), "WITHVALUES"],
    ["ZRANDMEMBER", "zset", -(10**9), "WITHSCORES"],
    ["LCS", "one", "two"],
    ["SETRANGE", "x", 2**40, "y"],
    ["SETBIT", "x", 2**40, 1],
    ["BITFIELD", "x", "SET", "u8", "#1000000000", 1],
    ["EVAL", "return string.rep('x', 1e12)", 0],
    ["JSON.NUMPOWBY", "doc", "$[0].n", 10**9],
    ["SETBIT", "large", 2**31, 1],
    ["BITFIELD", "large", *["SET", "u63", 2**31, 1] * 4],
    ["BITPOS", "large", 1],
    ["BITPOS", "large", 1, 0, -1, "BIT"],
    ["BITCOUNT", "large", 0, -1, "BIT"],
    ["BITOP", "NOT", "inverted", "large"],
]


def test_every_command_is_answered_soon(client: Any) -> None:
    slow = []
    for command in COMMANDS:
        start, refusal = time.process_time(), ""
        try:
            client.execute_command(*command)
        except redis.ResponseError as error:
            refusal = str(error)
        assert "internal error" not in refusal
        if time.process_time() - start > BOUND:
            slow.append([str(word)[:80] for word in command])
    assert not slow


def test_published_messages(client: Any) -> None:
    pubsub = client.pubsub()
    pubsub.psubscribe(STARS, "a*")
    assert client.publish("a" * 60, "hello") == 1
    assert client.publish("b", "hello") == 0


def test_a_pattern_that_is_too_complex_is_refused_to_its_subscriber(client: Any) -> None:
    pubsub = client.pubsub()
    pubsub.psubscribe("[" * 100_000)
    with pytest.raises(redis.ResponseError, match="too complex"):
        pubsub.get_message(timeout=5)
    assert client.publish("channel", "hello") == 0


GLOBS = st.text(alphabet="ab*?[]^-\\", max_size=12).map(str.encode)
TEXTS = st.text(alphabet="ab-]^", max_size=8).map(str.encode)


@given(GLOBS, TEXTS)
def test_globs_match_as_before(pattern: bytes, text: bytes) -> None:
    assert bool(compile_glob(pattern).match(text)) == bool(compile_pattern(pattern).match(text))


@given(st.lists(GLOBS, max_size=4).map(b"*".join), TEXTS)
def test_long_globs_match_as_short_ones(pattern: bytes, text: bytes) -> None:
    lengthening = b"x" * 600
    for longer, whole in (
        (lengthening + pattern, lengthening + text),
        (pattern + lengthening, text + lengthening),
        (b"x*" + lengthening + b"*" + pattern, b"x-" + lengthening + b"-" + text),
    ):
        assert bool(compile_glob(longer).match(whole)) == bool(compile_pattern(longer).match(whole))


@given(st.text(alphabet="aé*?", max_size=8), st.text(alphabet="aé", max_size=6))
def test_wildcards(pattern: str, text: str) -> None:
    def fits(pattern: Any, text: Any, star: Any, one: Any) -> bool:
        if not pattern:
            return not text
        if pattern[:1] == star:
            return fits(pattern[1:], text, star, one) or (bool(text) and fits(pattern, text[1:], star, one))
        return bool(text) and pattern[:1] in (one, text[:1]) and fits(pattern[1:], text[1:], star, one)

    assert bool(compile_word_wildcard(pattern.encode()).match(text)) == fits(pattern, text, "*", "?")
    raw = pattern.encode(), text.encode()
    assert bool(compile_wildcard(raw[0]).match(raw[1])) == fits(*raw, b"*", b"?")


@pytest.mark.parametrize("seed", range(20))
def test_lcs_is_a_longest_common_subsequence(seed: int) -> None:
    chance = random.Random(seed)
    one, other = (bytes(chance.choices(b"abc", k=chance.randrange(12))) for _ in range(2))
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for row, left in enumerate(one, 1):
        for column, right in enumerate(other, 1):
            table[row][column] = (
                table[row - 1][column - 1] + 1 if left == right else max(table[row - 1][column], table[row][column - 1])
            )
    with EmbeddedServer() as server:
        client = server.client()
        client.mset({"one": one, "other": other})
        text = client.lcs("one", "other")
        assert len(text) == table[-1][-1] == client.lcs("one", "other", len=True)
        for whole in (one, other):
            letters = iter(whole)
            assert all(letter in letters for letter in text)
        found = client.execute_command("LCS", "one", "other", "IDX", "WITHMATCHLEN")
        matches = found[b"matches"]
        assert b"".join(one[left[0] : left[1] + 1] for left, _, _ in reversed(matches)) == text
        assert b"".join(other[right[0] : right[1] + 1] for _, right, _ in reversed(matches)) == text


BITS = st.binary(max_size=6)
LIMITS = st.integers(-60, 60)


@given(BITS, BITS, LIMITS, LIMITS, st.booleans())
def test_bits(value: bytes, other: bytes, start: int, end: int, by_bit: bool) -> None:
    with EmbeddedServer() as server:
        client = server.client()
        client.mset({"k": value, "other": other})
        bits = "".join(f"{byte:08b}" for byte in value)
        units = list(bits) if by_bit else [bits[at : at + 8] for at in range(0, len(bits), 8)]
        first = max(start + len(units), 0) if start < 0 else start
        last = max(end + len(units), 0) if end < 0 else end
        chosen = "".join(units[first : last + 1])
        if not (0 > start > end and end < 0):
            mode = "BIT" if by_bit else "BYTE"
            assert client.execute_command("BITCOUNT", "k", start, end, mode) == chosen.count("1")
        size = max(len(value), len(other))
        padded = [int.from_bytes(each.ljust(size, b"\0"), "big") for each in (value, other)]
        assert client.bitop("XOR", "result", "k", "other") == size
        assert (client.get("result") or b"") == (padded[0] ^ padded[1]).to_bytes(size, "big")
        assert [client.getbit("k", at) for at in range(len(bits))] == [int(bit) for bit in bits]
        assert client.bitpos("k", 1) == bits.find("1")
        client.execute_command("BITFIELD", "k", "SET", "i7", 5, -3)
        assert client.execute_command("BITFIELD", "k", "GET", "i7", 5) == [-3]


@pytest.mark.parametrize(
    "path",
    [
        "$" + "..*" * 12,
        "$" + "..*" * 6 + ".zz",
        "$..[?($..* == $..*)]",
        "$..[?(@..*..*..* > $..*..*..*)]",
        "$" + "..a" * 99,
    ],
)
def test_paths_that_multiply_are_refused(path: str) -> None:
    with EmbeddedServer() as server, server.client() as client:
        client.execute_command("FT.CREATE", "i", "ON", "JSON", "SCHEMA", path, "AS", "t", "TAG")
        client.execute_command("JSON.SET", "deep", "$", "[" * 120 + "1" + "]" * 120)
        client.execute_command("JSON.SET", "deeper", "$", '{"a":[' * 60 + "1" + "]}" * 60)
        client.execute_command("JSON.SET", "wide", "$", json.dumps([*range(1000)]))
        for key in ("deep", "deeper", "wide"):
            with contextlib.suppress(redis.ResponseError):  # some of them have few matches
                client.execute_command("JSON.GET", key, path)
        assert client.execute_command("JSON.GET", "deep", "$[0][0]")


def test_a_path_over_a_large_document_is_followed() -> None:
    with EmbeddedServer() as server, server.client() as client:
        client.execute_command("JSON.SET", "wide", "$", json.dumps([[number] * 10 for number in range(4_000)]))
        assert len(json.loads(client.execute_command("JSON.GET", "wide", "$..*"))) == 44_000


@pytest.mark.parametrize("path", ["$" + "[?(@" * 25 + ".a" + ")]" * 25, "$" + "[?(@" * 25 + ".a", "$[?" + "(" * 5000])
def test_nested_filters_are_parsed_in_linear_time(path: str) -> None:
    with EmbeddedServer() as server, server.client() as client:
        client.execute_command("JSON.SET", "document", "$", '{"a":1}')
        with contextlib.suppress(redis.ResponseError):
            client.execute_command("JSON.GET", "document", path)
        assert client.execute_command("JSON.GET", "document", "$.a") == b"[1]"
