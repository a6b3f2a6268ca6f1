"""A program with layout 1 of runs, frozen: it imports nothing of the package, so that no later change is in it.

``python old_release.py create|write|read URL PREFIX``: makes the index as layout 1 had it; stores runs, new ones and
old ones again, and prints the id of each when it is acknowledged; or asks for the runs again and again, and fails where
there are fewer than before.
"""

import itertools
import json
import sys
import time
import uuid

import redis

TAG = ("TAG", "CASESENSITIVE", "INDEXEMPTY", "SORTABLE", "UNF")
TAGS = ("TAG", "CASESENSITIVE", "INDEXEMPTY", "INDEXMISSING")
NUMBER = ("NUMERIC", "SORTABLE")
COLUMNS = {
    "agent_id": TAG, "run_id": TAG, "status": TAG, "started_at": NUMBER, "ended_at": NUMBER, "duration": NUMBER,
    "calls": NUMBER, "llm_calls": NUMBER, "tool_calls": NUMBER, "unfinished_calls": NUMBER, "providers": TAGS,
    "models": TAGS, "tools": TAGS, "finish_reasons": TAGS, "prompt_tokens": NUMBER, "output_tokens": NUMBER,
    "total_tokens": NUMBER, "cache_read_tokens": NUMBER, "cost": NUMBER,
}  # fmt: skip
STAMPS = {"stored_at": NUMBER, "updated_at": NUMBER}


def create(client: redis.Redis, prefix: str) -> None:
    """Make the index and its alias."""
    name = f"{prefix}@run:idx:v1"
    fields: list[str] = []
    for column, words in (COLUMNS | STAMPS).items():
        path = f"$.{column}[*]" if words is TAGS else f"$.{column}"
        fields += [path, "AS", column, *words]
    head = ("FT.CREATE", name, "ON", "JSON", "PREFIX", 1, f"{prefix}@run:", "STOPWORDS", 0, "SCHEMA")
    client.execute_command(*head, *fields)
    client.execute_command("FT.ALIASADD", f"{prefix}@run", name)


def document(run_id: str, tokens: int, now: int) -> dict[str, object]:
    """A run as it was stored."""
    started = "2026-01-01T00:00:00Z"
    call = {"kind": "llm", "name": "openai", "started_at": started, "ended_at": "2026-01-01T00:00:01Z",
            "model_name": "m", "prompt_tokens": tokens}  # fmt: skip
    record = {"id": run_id, "agent_id": "old", "calls": [call], "started_at": started, "ended_at": started}
    begun = 1_767_225_600_000_000
    values = ["old", run_id, "completed", begun, begun, 0, 1, 1, 0, 0, ["openai"], ["m"], None, None, tokens]
    row = [*values, None, None, None, None]
    columns = {name: value for name, value in zip(COLUMNS, row, strict=True) if value is not None}
    return {
        "pk": f"old:{run_id}", **columns, "row": json.dumps(row), "record": json.dumps(record), "stored_at": now,
        "updated_at": now,
    }  # fmt: skip


def write(client: redis.Redis, prefix: str) -> None:
    """Store runs until killed."""
    written: list[str] = []
    for number in itertools.count():
        run_id = written[number // 2] if number % 5 == 4 else str(uuid.uuid4())
        key, new = f"{prefix}@run:old:{run_id}", document(run_id, number, time.time_ns() // 1000)
        if client.execute_command("JSON.SET", key, "$", json.dumps(new), "NX") is None:
            del new["stored_at"]
            client.execute_command("JSON.MERGE", key, "$", json.dumps(new))
        else:
            written.append(run_id)
        print(run_id, number, flush=True)
        time.sleep(0.002)


def read(client: redis.Redis, prefix: str) -> None:
    """Count the runs until killed, and look at the latest ones."""
    before = 0
    for _ in itertools.count():
        found = client.execute_command("FT.SEARCH", f"{prefix}@run", "@agent_id:{old}", "LIMIT", 0, 0, "DIALECT", 2)
        count = found[b"total_results"] if isinstance(found, dict) else found[0]
        assert count >= before, f"{count} runs, and before {before}"
        before = count
        query = ("FT.AGGREGATE", f"{prefix}@run", "@calls:[1 1]", "SORTBY", 2, "@updated_at", "DESC", "MAX", 5)
        client.execute_command(*query, "LOAD", 1, "$.row", "DIALECT", 2)
        print(count, flush=True)


if __name__ == "__main__":
    what, url, prefix = sys.argv[1:]
    {"create": create, "write": write, "read": read}[what](redis.Redis.from_url(url), prefix)
