"""The ACL rules of the guide on deploying: enough for everything the store does, and no more."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from relay_models import Column, Document, Run, SavedQuestion, column
from relay_models.cli import app
from relay_models.embedded import EmbeddedServer, serving_in_thread
from relay_models.errors import CorruptDocumentsError, IndexMissingError, PermissionDeniedError
from relay_models.records import (
    AccumulatorState,
    ExecutionPlan,
    MetadataEnvelope,
    PredictionTrieNode,
    RunRecord,
    StabilityAnalysisResult,
    TrieEnvelope,
    to_json,
)
from relay_models.records.prices import PriceTable
from relay_models.sync import RedisBackend

ARTIFACTS: dict[str, Any] = {
    "trie": TrieEnvelope(workflow_name="a", root=PredictionTrieNode(name="root")),
    "accumulators": AccumulatorState(),
    "observations": [],
    "stability": StabilityAnalysisResult(scores=[], stable_prefix_length=0, total_observations=0),
}


class Note(Document):
    """A user's own model."""

    text: Column[str] = column("What it says.")


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "deploying.md"


def rules(user: str = "relay") -> list[str]:
    """The words of one of the guide's ACL SETUSER, after the user's name."""
    text = GUIDE.read_text(encoding="utf-8")
    found = re.search(rf"^ACL SETUSER {user} (.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1].split()


class Walk:
    """A backend whose methods are noted when they are called."""

    def __init__(self, backend: RedisBackend) -> None:
        self.backend = backend
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self.backend, name)


def everything(backend: RedisBackend) -> set[str]:
    """Each operation once, those that store again and those that ask the index included; returns their names."""
    store: Any = Walk(backend)
    runs = [RunRecord(agent_id="a", calls=[]) for _ in range(3)]
    store.store_run(runs[0])
    store.store_run(runs[0])
    assert store.store_runs(runs).stored == 3
    assert store.load_run("a", runs[1].id) == runs[1]
    assert len(store.list_runs("a")) == len(list(store.iter_runs("a"))) == 3
    assert store.count_runs(Run.agent_id.like("?")) == len(store.find_runs("agent = a")) == 3
    assert len(store.find_runs(limit=None)) == len(list(store.stream_runs())) == 3
    assert store.latest_run("a") is not None
    assert store.aggregate_runs(by=["agent_id"], metrics=["count", "p95(duration)"])
    assert [agent.agent_id for agent in store.agents()] == ["a"]
    with closing(store.watch_runs(since=timedelta(minutes=1))) as watch:
        assert next(iter(watch)).agent_id == "a"
    plan = ExecutionPlan(agent_id="a", parallel_groups=[], metadata_template=MetadataEnvelope(agent_id="a"))
    store.store_plan(plan)
    store.store_plan(plan)
    assert store.load_plan("a") == plan
    assert len(backend.plans.find()) == 1
    assert store.delete_plan("a")
    assert store.runs.label(runs[1], tags=["golden"]).tags.keys() == {"golden"}
    for kind, value in ARTIFACTS.items():
        for names in ((f"store_{kind}", ("a", value)), (f"load_{kind}", ("a",)), (f"delete_{kind}", ("a",))):
            getattr(store, names[0])(*names[1])
    store.saved.save(SavedQuestion("slow", "duration > 2s"))
    assert [question.name for question in store.saved.all()] == ["slow"]
    assert store.saved.delete("slow")
    notes = store.collection(Note)
    note = Note(text="good")
    assert notes.save(note)
    assert notes.update(note.pk, text="better").text == "better"
    assert store.bind(Note).find(Note.text == "better").count() == 1
    assert notes.delete_one(note.pk)
    store.estimate_costs(PriceTable([]))
    assert store.run_texts(runs) == [to_json(run) for run in runs]
    runs[1] = runs[1].model_copy(update={"padding": "long enough " * 50})
    store.store_run(runs[1])
    assert store.compression.apply().rewritten == 1
    assert store.compression.status().is_on
    store.store_run(runs[1])
    assert store.compression.undo().rewritten == 1
    assert store.delete_run("a", runs[0].id)
    # A document that the index refuses, once and for good, is one agent's: others are listed without it.
    backend.client.execute_command("JSON.SET", f"{backend.key_prefix}@run:b:{runs[0].id}", "$", '{"started_at": "x"}')
    assert len(store.list_runs("a")) == len(list(store.iter_runs("a"))) == 2
    assert store.trim_runs("a", 5) == 0
    assert store.list_runs("b", on_corrupt="skip") == []
    with pytest.raises(CorruptDocumentsError):
        store.list_runs("b")
    assert store.delete_agent("b", what="everything") == 1
    # Nor is a document without columns, which the index has.
    backend.client.execute_command("JSON.SET", f"{backend.key_prefix}@run:nothing", "$", "{}")
    assert [agent.agent_id for agent in store.agents()] == ["a"]
    assert [(row["bucket"] is None, row["count"]) for row in store.aggregate_runs(every="1w")] == [
        (False, 2),
        (True, 1),
    ]
    backend.client.delete(f"{backend.key_prefix}@run:nothing")
    assert store.delete_runs("agent = a") == 2
    return store.called


def clear(admin: redis.Redis, prefix: str) -> None:
    """Drop the store's indexes and documents."""
    for name in admin.execute_command("FT._LIST"):
        if name.startswith(prefix.encode()):
            admin.execute_command("FT.DROPINDEX", name, "DD")
    for key in admin.scan_iter(f"{prefix}*"):
        admin.delete(key)


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.real_server)])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The embedded engine over TCP, and a real server if one is named."""
    if request.param == "server":
        yield request.getfixturevalue("real_redis_url")
        return
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        yield endpoint.url


def test_the_rules_are_what_is_needed(url: str) -> None:
    admin = redis.Redis.from_url(url)
    user, password, prefix = f"relay{secrets.token_hex(4)}", secrets.token_hex(8), f"acl{secrets.token_hex(4)}:"
    given = [rule.replace("nemo_relay:", prefix) for rule in rules() if not rule.startswith(">")]
    try:
        admin.execute_command("ACL", "SETUSER", user, *given, f">{password}")
        admin.execute_command("ACL", "LOG", "RESET")
        options: dict[str, Any] = {
            "run_ttl": timedelta(days=1),
            "username": user,
            "password": password,
            "client_name": "guide",
            "retries": 0,
        }
        with RedisBackend.connect(url, prefix, **options) as backend:
            called = everything(backend)
            assert called >= {name for name in dir(backend) if is_operation(name)}
            backend.store_run(RunRecord(agent_id="a", calls=[]))
        # Words are turned on for a store that has runs.
        with RedisBackend.connect(url, prefix, index_text=True, **options) as backend:
            assert backend.index_text
            assert backend.delete_runs("all") == 1
            everything(backend)
        assert not refused_to(admin, user)
        # Without any one of the rules something is refused: none of them is too much. Left out are those for what
        # redis-py says about itself, for answers of thousands of rows, for a changed layout, and the optional clock.
        superfluous = []
        spared = (
            "+client|setinfo",
            "+client|setname",
            "+hello",
            "+info",
            "+time",
            "+ft.cursor",
            "+json.del",
            "+ft.dropindex",
        )
        for rule in (rule for rule in given if rule.startswith("+") and rule not in spared):
            clear(admin, prefix)
            admin.execute_command("ACL", "SETUSER", user, "-" + rule[1:])
            try:
                with RedisBackend.connect(url, prefix, **options) as backend:
                    everything(backend)
            except (PermissionDeniedError, IndexMissingError):
                pass
            else:
                superfluous.append(rule)
            admin.execute_command("ACL", "SETUSER", user, rule)
        assert not superfluous
    finally:
        admin.execute_command("ACL", "DELUSER", user)
        clear(admin, prefix)
        admin.close()


def test_the_rules_are_enough_for_a_dictionary(url: str) -> None:
    admin = redis.Redis.from_url(url)
    user, password, prefix = f"relay{secrets.token_hex(4)}", secrets.token_hex(8), f"acl{secrets.token_hex(4)}:"
    given = [rule.replace("nemo_relay:", prefix) for rule in rules() if not rule.startswith(">")]
    try:
        admin.execute_command("ACL", "SETUSER", user, *given, f">{password}")
        admin.execute_command("ACL", "LOG", "RESET")
        with RedisBackend.connect(url, prefix, username=user, password=password, retries=0) as backend:
            runs = [RunRecord(agent_id="a", calls=[], note=f"{number} of many words" * 30) for number in range(50)]  # type: ignore[call-arg]
            backend.store_runs(runs)
            backend.compression.apply()
            backend.compression.train(size=256)
            backend.store_runs(runs)
            # A writer puts back a dictionary that has gone since it used it.
            for key in admin.scan_iter(f"{prefix}@dictionary:*"):
                admin.delete(key)
            backend.compression.train(size=512)
            assert backend.list_runs("a") == runs
            assert backend.compression.undo().rewritten == 50
        assert not refused_to(admin, user)
    finally:
        admin.execute_command("ACL", "DELUSER", user)
        clear(admin, prefix)
        admin.close()


def test_the_rules_of_a_backup_are_what_is_needed(url: str, tmp_path: Path) -> None:
    admin = redis.Redis.from_url(url)
    user, password, prefix = f"backup{secrets.token_hex(4)}", secrets.token_hex(8), f"acl{secrets.token_hex(4)}:"
    given = [rule.replace("nemo_relay:", prefix) for rule in rules("backup") if not rule.startswith(">")]
    login = url.replace("redis://", f"redis://{user}:{password}@")
    target = str(tmp_path / "backup.jsonl.gz")

    def run(*words: str) -> int:
        return CliRunner().invoke(app, [*words, "--url", login, "--prefix", prefix]).exit_code

    def whole() -> bool:
        """Whether all is dumped, restored and replaced."""
        fill(url, prefix)
        keys = sorted(admin.scan_iter(f"{prefix}*"))
        if run("dump", target):
            return False
        clear(admin, prefix)
        return (
            not run("restore", target)
            and not run("restore", target, "--replace")
            and keys == sorted(admin.scan_iter(f"{prefix}*"))
        )

    try:
        admin.execute_command("ACL", "SETUSER", user, *given, f">{password}")
        admin.execute_command("ACL", "LOG", "RESET")
        assert whole()
        assert not refused_to(admin, user)
        # What redis-py says about itself, and what tidies up after a failure, may be refused.
        spared = ("+client|setinfo", "+hello", "+info", "+del")
        superfluous = []
        for rule in (rule for rule in given if rule.startswith("+") and rule not in spared):
            admin.execute_command("ACL", "SETUSER", user, "-" + rule[1:])
            if whole():
                superfluous.append(rule)
            admin.execute_command("ACL", "SETUSER", user, rule)
        assert not superfluous
    finally:
        admin.execute_command("ACL", "DELUSER", user)
        clear(admin, prefix)
        admin.close()


def fill(url: str, prefix: str) -> None:
    """Store a run that expires, and what NeMo Relay would have under the same prefix."""
    with RedisBackend.connect(url, prefix, run_ttl=timedelta(days=1)) as backend:
        backend.store_run(RunRecord(agent_id="a", calls=[]))
        backend.client.set(f"{prefix}plan:a", "{}")
        backend.client.delete(f"{prefix}runs:a")
        backend.client.rpush(f"{prefix}runs:a", *range(3000))  # more than one line of a dump


def is_operation(name: str) -> bool:
    """Whether a name of the backend is one of its operations on documents."""
    opening = {
        "connect",
        "embedded",
        "from_client",
        "close",
        "client",
        "transport",
        "key_prefix",
        "index_text",
        "models",
    }
    opening |= {"migrations"}  # their rules are in the guide's part on migrations
    collections = {"runs", "plans", "tries", "accumulators", "observations", "stability"}
    return not name.startswith("_") and name not in opening | collections


def refused_to(admin: redis.Redis, user: str) -> list[Any]:
    """What the server refused to a user."""
    return [entry for entry in admin.acl_log() if entry["username"] == user]
