"""JSON commands, to be recorded from a real server and replayed: every command, each form of path, the error texts.

    python tests/embedded/json/json_scenarios.py redis://127.0.0.1:6379

writes ``tests/data/json_replies.jsonl.gz``: one JSON array a line, of the protocol, the command and its reply.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

REPLIES = Path(__file__).parents[2] / "data" / "json_replies.jsonl.gz"

KEY = "json-scenario"
OTHER = "json-scenario-other"
DOCUMENT = (
    '{"a":{"x":1,"s":"str","t":true,"n":null,"l":[1,2,3]},"b":[{"x":5},{"x":"y"},7],'
    '"c":1.5,"e":{},"f":[],"ü":{"x.y":1}}'
)
TEXTS = [
    "1e-7", "1.0", "-0", "-0.0", "1e5", "1e16", "1e15", "1.5e300", "1e21", "0.1", "1E+3", "1e400", "5e-324",
    "1.7976931348623157e308", "0.00001", "0.000001", "0.0001234", "123456789.123456789", "18446744073709551615",
    "18446744073709551616", "-9223372036854775808", "-9223372036854775809", '"\\u00e9\\u0001\\/\\b\\f"', '"\\ud800"',
    '"\\ud83d\\ude00"', '"call-0"', '"e+1"', ' { "a" : 1 , "b" : [ ] } ', '{"a":1,"a":2}', '{"a":1,"b":2,"a":3}', "NaN",
    "01", "1.", "", '"\x7f"', "[1,]", "1 2", '"a\nb"', '"\u2028"', "tru", "true", "null", "[1.0,2]", "{bad", "'a'",
    "[" * 127 + "]" * 127, "[" * 128 + "]" * 128, '{"":{"":1}}', '"\\u0000"', "[-0,1e2,-1E-2]",
]  # fmt: skip
PATHS = [
    "$", ".", "$.a", ".a", "a", "$.a.x", "a.x", "$.zz", "zz", "$..x", "..x", "$.*", "$..*", "$.b[*].x", "$.b[0]",
    "b[0]", "$.b[-1]", "$.b[0:2]", "$.b[0,2]", "$.b[::2]", "$.b[5]", "$['a']", '$["a"]', "$['a','c']", "$.a.l[?(@>1)]",
    "$.b[?(@.x>1)]", "$.b[?(@.x=='y')]", "$.b[?(@.x)]", '$.b[?(@.x=="y" || @.x==5)]', "$.b[?(@.x!=5)]", "$.a.s",
    "a.s", "$.a.t", "a.t", "$.a.l", "a.l", "$.c", "c", "$.e", "e", "f", "$.f", "$.a.n", "$.ü",
    "$['ü']['x.y']", "$['ü']",
    "$.b[?(@.x>=$.c)]", "$.a.l[?(@==1||@==3)]", "$.a.l[?(@<=2&&@!=1)]",
]  # fmt: skip
SETS = [
    *["$.new", "$.a.new", "$.zz.yy", "$.b[5]", "$.b[0].q", "$.b[*].q", "$..x", "$..new", "$.a['k']", "$['a','b']"],
    *["new", ".", "$.c.d", "$.f[0]", "$.*", "$.a.*", "a.l[1]", "$.zz[0]", "zz.yy", "$.e.a.b", "$[?(@.x)].new"],
]
MERGES = [
    ("$", '{"a":{"x":null,"y":2},"c":null,"new":{"q":null,"w":1}}'), ("$.a", '{"x":null}'), ("$.a.x", "null"),
    ("$.zz", '{"q":1}'), ("$.zz.yy", "1"), ("$.b", "[1]"), ("$.b[*]", '{"m":1}'), ("$", "null"), ("$", "5"),
    ("$..x", "null"), ("$.a.new", '{"n":null,"m":1}'), ("a", '{"x":5}'), ("$.c", '{"d":1}'), ("$.a.l", "null"),
    ("$.b[0]", "null"), ("$", "{bad"), ("$.*", "7"),
]  # fmt: skip
ARRAYS = [
    ("JSON.ARRAPPEND", "1", '{"q":2}'), ("JSON.ARRINSERT", "0", "1", "2"), ("JSON.ARRINSERT", "-1", "1"),
    ("JSON.ARRINSERT", "10", "1"), ("JSON.ARRINDEX", "2"), ("JSON.ARRINDEX", "3", "0", "-1"),
    ("JSON.ARRINDEX", "3", "-1"), ("JSON.ARRINDEX", "2", "0", "2"), ("JSON.ARRINDEX", '{"x":5}'),
    ("JSON.ARRINDEX", "1.0"), ("JSON.ARRPOP",), ("JSON.ARRPOP", "0"), ("JSON.ARRPOP", "-2"), ("JSON.ARRPOP", "10"),
    ("JSON.ARRTRIM", "0", "0"), ("JSON.ARRTRIM", "1", "-1"), ("JSON.ARRTRIM", "5", "6"), ("JSON.ARRTRIM", "-10", "1"),
]  # fmt: skip
READS = ["JSON.TYPE", "JSON.ARRLEN", "JSON.OBJLEN", "JSON.OBJKEYS", "JSON.STRLEN", "JSON.RESP", "JSON.GET"]


def scenarios() -> Iterator[list[str]]:
    """The commands, in order. They use two keys and begin by deleting them."""
    yield ["DEL", KEY, OTHER]
    for text in TEXTS:
        yield ["JSON.SET", KEY, "$", text]
        yield ["JSON.GET", KEY]
    for command in READS:
        yield from on_document([command, KEY])
        for path in PATHS:
            yield [command, KEY, path]
        yield [command, OTHER, "$"]
        yield [command, OTHER, "."]
        yield [command, OTHER]
    yield ["JSON.GET", KEY, "$.c", "$.c"]
    yield ["JSON.GET", KEY, "a.x", "zz"]
    yield ["JSON.GET", KEY, "INDENT", " ", "NEWLINE", "\n", "SPACE", " "]
    yield ["JSON.GET", KEY, "INDENT", "\t", "NEWLINE", "\n", "SPACE", " ", "$.a"]
    yield ["JSON.GET", KEY, "NOESCAPE", "$.c"]
    for path in ("$.c", "c", "zz", "$.zz", "$"):
        yield ["JSON.MGET", KEY, OTHER, path]
    for path in SETS:
        for options in ([], ["NX"], ["XX"]):
            yield from on_document(["JSON.SET", KEY, path, "1", *options])
            yield ["JSON.GET", KEY]
    for path in PATHS:
        for command in (
            ["JSON.DEL", KEY, path],
            ["JSON.CLEAR", KEY, path],
            ["JSON.TOGGLE", KEY, path],
            ["JSON.NUMINCRBY", KEY, path, "2"],
            ["JSON.NUMMULTBY", KEY, path, "1.5"],
            ["JSON.STRAPPEND", KEY, path, '"é"'],
            *[[command, KEY, path, *rest] for command, *rest in ARRAYS],
        ):
            yield from on_document(command)
            yield ["JSON.GET", KEY]
    for path, patch in MERGES:
        yield from on_document(["JSON.MERGE", KEY, path, patch])
        yield ["JSON.GET", KEY]
    for number in ("abc", '"1"', "1e400"):
        yield from on_document(["JSON.NUMINCRBY", KEY, "$.a.x", number])
    for value in ("9223372036854775807", "18446744073709551615", "1.5"):
        yield ["JSON.SET", KEY, "$", value]
        yield ["JSON.NUMINCRBY", KEY, "$", "1"]
        yield ["JSON.GET", KEY]
    yield ["JSON.MSET", KEY, "$", '{"a":1}', OTHER, "$", "2"]
    yield ["JSON.MSET", KEY, "$.a", "5", OTHER, "$.zz", "2"]
    yield ["JSON.MSET", KEY, "$.a", "{bad", OTHER, "$", "3"]
    yield ["JSON.MSET", KEY, "$.a", "1", KEY, "$.b", "2"]
    yield ["JSON.MSET", KEY, "$.a"]
    yield ["JSON.GET", KEY]
    yield ["JSON.GET", OTHER]
    yield ["SET", OTHER, "text"]
    for command in (*READS, "JSON.DEL"):
        yield [command, OTHER]
    yield ["JSON.SET", OTHER, "$", "1"]
    yield ["JSON.MERGE", OTHER, "$", "1"]
    yield ["JSON.MSET", KEY, "$.a", "77", OTHER, "$", "3"]
    yield ["JSON.MGET", KEY, OTHER, "$"]
    for command in (["GET", KEY], ["TYPE", KEY], ["LPUSH", KEY, "1"], ["OBJECT", "ENCODING", KEY], ["STRLEN", KEY]):
        yield command
    for command in ("JSON.SET", "JSON.GET", "JSON.DEL", "JSON.MGET", "JSON.NUMINCRBY", "JSON.TOGGLE", "JSON.ARRTRIM"):
        yield [command]
        yield [command, KEY]
    yield ["JSON.SET", KEY, "$", '{"a":1}']
    for command in (["JSON.SET", KEY, "$.a", "2"], ["JSON.MERGE", KEY, "$", '{"a":3}'], ["JSON.SET", KEY, "$", "1"]):
        yield ["EXPIRE", KEY, "1000"]
        yield command
        yield ["PERSIST", KEY]
    yield ["DEL", KEY, OTHER]


def on_document(command: list[str]) -> Iterator[list[str]]:
    yield ["DEL", KEY]
    yield ["JSON.SET", KEY, "$", DOCUMENT]
    yield command


def replies(connection: Any) -> Iterator[tuple[list[str], Any]]:
    """Send the commands, and give each with its reply as JSON has it."""
    for command in scenarios():
        connection.send_command(*command)
        try:
            reply = plain(connection.read_response(disable_decoding=True))
        except redis.ResponseError as error:
            reply = {"error": str(error)}
        yield command, reply


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return {"double": repr(value)}
    return value


def main(url: str) -> None:
    with gzip.open(REPLIES, "wt", encoding="utf-8") as file:
        for protocol in (2, 3):
            pool: Any = redis.ConnectionPool.from_url(url, protocol=protocol)
            connection = pool.get_connection()
            for command, reply in replies(connection):
                file.write(json.dumps([protocol, command, reply], ensure_ascii=False) + "\n")
            pool.disconnect()


if __name__ == "__main__":
    main(sys.argv[1])
