"""Random documents, queries and aggregations for comparing the engine with a real server."""

from __future__ import annotations

import json
import random
import re
from typing import Any

_WORDS = """run runs running model models cache caches retry token budget the of is latency café naïve RÉSUMÉ 数据
foo_bar hello-world x 42 3.5 don't e\u0301 error errors Straße ΣΑΣ back\\slash a\\-b"""
WORDS = _WORDS.split()
TAGS = [
    "a",
    "A",
    "b",
    "a b",
    "a|b",
    "x,y",
    "",
    " pad ",
    "gpt-4.1",
    "gpt-4.1-mini",
    "数据",
    "true",
    "@{}",
    "it's",
    "a*b",
]
NUMBERS = [0, 1, -1, 2, 3.5, -2.25, 1e10, 1e-7, 7, 8, 9, 100]
SCHEMA = {
    "json": [
        ("$.tag", "tag", "TAG CASESENSITIVE INDEXEMPTY INDEXMISSING"),
        ("$.folded", "folded", "TAG SORTABLE"),
        ("$.many[*]", "many", "TAG"),
        ("$.split", "split", "TAG SEPARATOR |"),
        ("$.n", "n", "NUMERIC SORTABLE"),
        ("$.m", "m", "NUMERIC"),
        ("$.nums[*]", "nums", "NUMERIC"),
        ("$.text", "text", "TEXT"),
        ("$.title", "title", "TEXT WEIGHT 2 SORTABLE"),
        ("$.plain", "plain", "TEXT NOSTEM"),
    ],
    "hash": [
        ("tag", "tag", "TAG CASESENSITIVE INDEXEMPTY INDEXMISSING"),
        ("folded", "folded", "TAG SORTABLE"),
        ("many", "many", "TAG SEPARATOR ;"),
        ("split", "split", "TAG SEPARATOR |"),
        ("n", "n", "NUMERIC SORTABLE"),
        ("m", "m", "NUMERIC"),
        ("nums", "nums", "NUMERIC"),
        ("text", "text", "TEXT"),
        ("title", "title", "TEXT WEIGHT 2 SORTABLE"),
        ("plain", "plain", "TEXT NOSTEM"),
    ],
}


def create(index: str, kind: str, prefix: str) -> list[str]:
    command = ["FT.CREATE", index, "ON", kind.upper(), "PREFIX", "1", prefix, "SCHEMA"]
    for path, name, options in SCHEMA[kind]:
        command += [path, "AS", name, *options.split()]
    return command


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(0, 8)))


def document(rng: random.Random, n: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        "tag": rng.choice(TAGS),
        "folded": rng.choice(TAGS),
        "many": rng.sample(TAGS, rng.randint(0, 3)),
        "split": "|".join(rng.sample(TAGS, rng.randint(1, 3))),
        "n": n,
        "m": rng.choice(NUMBERS),
        "nums": rng.sample(NUMBERS, rng.randint(0, 3)),
        "text": sentence(rng),
        "title": sentence(rng),
        "plain": sentence(rng),
    }
    for name in list(values):
        if name != "n" and rng.random() < 0.15:
            del values[name]
        elif name != "n" and rng.random() < 0.08:
            values[name] = None
    return values


def write(kind: str, key: str, values: dict[str, Any]) -> list[str]:
    if kind == "json":
        return ["JSON.SET", key, "$", json.dumps(values, ensure_ascii=False)]
    command = ["HSET", key]
    for name, value in values.items():
        if name == "nums":
            value = value[0] if value else None
        if value is not None:
            command += [name, ";".join(value) if isinstance(value, list) else str(value)]
    return command


def escaped(text: str) -> str:
    return "".join(char if char.isalnum() or char == "_" else "\\" + char for char in text)


def tag_clause(rng: random.Random) -> str:
    field = rng.choice(["tag", "folded", "many", "split"])
    value = rng.choice(TAGS)
    forms = [
        escaped(value) or "zz",
        (escaped(value) or "zz") + " | " + (escaped(rng.choice(TAGS)) or "b"),
        (escaped(value[:3]) or "gp") + "*",
        "*" + (escaped(value[-3:]) or "ni"),
        "*" + (escaped(value[1:4]) or "pt") + "*",
        f"w'{rng.choice(['g*', '?', '*4.1*', 'a?b', 'x'])}'",
        value.replace("{", "").replace("}", "") or "b",
    ]
    return f"@{field}:{{{rng.choice(forms)}}}"


def number_clause(rng: random.Random) -> str:
    field = rng.choice(["n", "m", "nums"])
    if rng.random() < 0.3:
        return f"@{field}{rng.choice(['==', '!=', '>', '>=', '<', '<='])}{rng.choice(NUMBERS)}"
    low, high = sorted(rng.choices(NUMBERS, k=2))
    left = rng.choice([str(low), f"({low}", "-inf"])
    right = rng.choice([str(high), f"({high}", "+inf"])
    return f"@{field}:[{left} {right}]"


def text_clause(rng: random.Random) -> str:
    word = rng.choice(WORDS)
    other = rng.choice(WORDS)
    field = rng.choice(["", "@text:", "@title:", "@plain:", "@text|title:"])
    forms = [
        word,
        f"({word} {other})",
        f"({word}|{other})",
        f'"{word} {other}"',
        f"{word[:3]}*",
        f"*{word[-3:]}",
        f"*{word[1:4]}*",
        f"%{word}%",
        f"(-{word})",
        f"(~{word} {other})",
        f"w'{word[:2]}*'",
        f"({word} {other}) => {{ $slop: {rng.randint(0, 3)}; $inorder: {rng.choice(['true', 'false'])} }}",
    ]
    return field + rng.choice(forms)


def query(rng: random.Random, depth: int = 0) -> str:
    kind = rng.random()
    if depth >= 3 or kind < 0.5:
        return rng.choice([tag_clause, number_clause, text_clause])(rng)
    if kind < 0.65:
        return f"({query(rng, depth + 1)} {query(rng, depth + 1)})"
    if kind < 0.8:
        return f"({query(rng, depth + 1)} | {query(rng, depth + 1)})"
    if kind < 0.9:
        return f"{query(rng, depth + 1)} {query(rng, depth + 1)}"
    if kind < 0.95:
        return f"-{query(rng, depth + 1)}"
    return f"-({query(rng, depth + 1)})"


def with_parameters(rng: random.Random) -> tuple[str, list[str]]:
    """A query whose words are parameters, and the parameters."""
    values = [*WORDS, *TAGS, "ERR", "42", "-5", "1e3", "inf", "nan", " 5", "0x10", "(3", "the", "a\\b"]
    given = {"p": rng.choice(values), "q": rng.choice(values), "low": rng.choice(values), "high": rng.choice(values)}
    forms = [
        "$p",
        "@text:$p",
        "@text:($p $q)",
        "@title:($p|$q)",
        "$p*",
        "*$p",
        "*$p*",
        "@plain:$p*",
        "%$p%",
        "w'$p'",
        '"$p $q"',
        "@tag:{$p}",
        "@tag:{$p*}",
        "@many:{*$p}",
        "@split:{$p|$q}",
        "@folded:{w'$p'}",
        "@n:[$low $high]",
        "@n:[($low +inf]",
        "@m:[-inf -$high]",
        "@m>$low",
        "@text:($p)=>{$weight: $low}",
        "$missing",
    ]
    return rng.choice(forms), ["PARAMS", "8", *(part for pair in given.items() for part in pair)]


def broken(rng: random.Random) -> str:
    """A query with a character too many or too few."""
    while True:
        text = query(rng)
        at = rng.randrange(len(text))
        made = rng.choice([text[:at] + text[at + 1 :], text[:at] + rng.choice("(){}[]|@:*%\"'-~$\\=>; ") + text[at:]])
        if not re.search(r"=>\s*\{\s*;", made):  # in dialect 1 it ends a server of 2.10
            return made


_EXPRESSIONS = """
@n * 2 + 1
@n / 3 - @m
@m % 3
@n ^ 2
sqrt(@n)
log2(@n + 1)
log(@n + 1)
exp(@n / 10)
ceil(@m)
floor(@m)
abs(@m)
upper(@folded)
lower(@title)
strlen(@folded)
substr(@folded, 0, 2)
substr(@title, -3, 2)
format('%s/%s', @n, @m)
split(@title, ' ')
contains(@title, 'e')
startswith(@title, 'run')
exists(@m)
exists(@folded)
!@m
@n == 3
@n != 3 && @m > 1
@n < 2 || @m >= 7
timefmt(@n * 86400)
timefmt(@n * 86400, '%Y-%m-%d %H')
hour(@n * 5000)
day(@n * 5000)
month(@n * 500000)
year(@n * 50000000)
dayofweek(@n * 86400)
dayofyear(@n * 86400)
dayofmonth(@n * 86400)
monthofyear(@n * 86400 * 30)
minute(@n * 31)
parsetime('2024-02-03', '%Y-%m-%d')
to_number('12.5') + @n
to_str(@n)
@folded == 'a'
@folded != 'A'
@n > '3'
!(!@m)
!!@n
(@m - 3) ^ 0.5
(-8) ^ (1 / 3)
log(-1) + @n
0 / 0
@n % 0
sqrt(@m)
1 < @n < 3
@n == @m == 1
split('a,b') == split('a,b')
strlen(@title) + strlen('naïve')
substr(@title, 2, -1)
format('%s%%%s', @title)
parsetime('1999', '%Y')
timefmt(@m * 1e9, '%j %U %y')
exists(@nothing) + 1
case
@n +
upper(@n
"""
EXPRESSIONS = _EXPRESSIONS.strip().splitlines()
REDUCERS = [
    ["COUNT", "0"],
    ["SUM", "1", "@n"],
    ["AVG", "1", "@n"],
    ["MIN", "1", "@n"],
    ["MAX", "1", "@n"],
    ["STDDEV", "1", "@n"],
    ["COUNT_DISTINCT", "1", "@folded"],
    ["COUNT_DISTINCTISH", "1", "@n"],
    ["QUANTILE", "2", "@n", "0.5"],
    ["QUANTILE", "2", "@n", "0.9"],
    ["TOLIST", "1", "@m"],
    ["FIRST_VALUE", "4", "@n", "BY", "@n", "DESC"],
    ["FIRST_VALUE", "4", "@n", "BY", "@n", "ASC"],
]


def aggregation(rng: random.Random) -> list[str]:
    """An aggregation's arguments after its query."""
    kind = rng.random()
    if kind < 0.45:
        # Of two texts only: the real server takes ("a", "bc") and ("ab", "c") for one group.
        by = rng.choice([[], ["@folded"], ["@tag"], ["@many"], ["@m"], ["@split"], ["@n", "@folded"]])
        command = ["GROUPBY", str(len(by)), *by]
        for number, reducer in enumerate(rng.sample(REDUCERS, rng.randint(1, 4))):
            command += ["REDUCE", *reducer, "AS", f"r{number}"]
        return command
    command = ["LOAD", "4", "@n", "@m", "@folded", "@title"]
    if kind < 0.8:
        return [*command, "APPLY", rng.choice(EXPRESSIONS), "AS", "x", "SORTBY", "2", "@n", "ASC", "LIMIT", "0", "200"]
    condition = rng.choice(["@n > 10", "@m < 3 && @n > 5", "exists(@m)", "@folded == 'a'", "!exists(@folded)"])
    return [*command, "FILTER", condition, "SORTBY", "4", "@folded", "DESC", "@n", "ASC", "LIMIT", "0", "200"]
