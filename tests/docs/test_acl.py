"""The ACL rules of the guide on deploying: enough for everything the store does, and no more."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

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


class Restricted(NamedTuple):
    """A user of the guide's, of a store of its own."""

    admin: redis.Redis
    name: str
    password: str
    prefix: str
    rules: list[str]

    def refused(self) -> list[Any]:
        """What the server refused to it."""
        return [entry for entry in self.admin.acl_log() if entry["username"] == self.name]

    def may(self, rule: str) -> None:
        """Give it a right, or take it away."""
        self.admin.execute_command("ACL", "SETUSER", self.name, rule)


@contextmanager
def restricted(url: str, user: str) -> Iterator[Restricted]:
    """A user with the rules that the guide has for it."""
    name, password, prefix = f"{user}{secrets.token_hex(4)}", secrets.token_hex(8), f"acl{secrets.token_hex(4)}:"
    given = [rule.replace("nemo_relay:", prefix) for rule in rules(user) if not rule.startswith(">")]
    with redis.Redis.from_url(url) as admin:
        try:
            admin.execute_command("ACL", "SETUSER", name, *given, f">{password}")
            admin.execute_command("ACL", "LOG", "RESET")
            yield Restricted(admin, name, password, prefix, given)
        finally:
            admin.execute_command("ACL", "DELUSER", name)
            clear(admin, prefix)


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.real_server)])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The embedded engine over TCP, and a real server if one is named."""
    if request.param == "server":
        yield request.getfixturevalue("real_redis_url")
        return
    with EmbeddedServer() as server, serving_in_thread(server) as endpoint:
        yield endpoint.url


def test_the_rules_are_what_is_needed(url: str) -> None:
    with restricted(url, "relay") as user:
        options: dict[str, Any] = {
            "run_ttl": timedelta(days=1),
            "username": user.name,
            "password": user.password,
            "client_name": "guide",
            "retries": 0,
        }
        with RedisBackend.connect(url, user.prefix, **options) as backend:
            called = everything(backend)
            assert called >= {name for name in dir(backend) if is_operation(name)}
            backend.store_run(RunRecord(agent_id="a", calls=[]))
        # Words are turned on for a store that has runs.
        with RedisBackend.connect(url, user.prefix, index_text=True, **options) as backend:
            assert backend.index_text
            assert backend.delete_runs("all") == 1
            everything(backend)
        assert not user.refused()
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
        for rule in (rule for rule in user.rules if rule.startswith("+") and rule not in spared):
            clear(user.admin, user.prefix)
            user.may("-" + rule[1:])
            try:
                with RedisBackend.connect(url, user.prefix, **options) as backend:
                    everything(backend)
            except (PermissionDeniedError, IndexMissingError):
                pass
            else:
                superfluous.append(rule)
            user.may(rule)
        assert not superfluous


def test_the_rules_are_enough_for_a_dictionary(url: str) -> None:
    with (
        restricted(url, "relay") as user,
        RedisBackend.connect(url, user.prefix, username=user.name, password=user.password, retries=0) as backend,
    ):
        runs = [RunRecord(agent_id="a", calls=[], note=f"{number} of many words" * 30) for number in range(50)]  # type: ignore[call-arg]
        backend.store_runs(runs)
        backend.compression.apply()
        backend.compression.train(size=256)
        backend.store_runs(runs)
        # A writer puts back a dictionary that has gone since it used it.
        for key in user.admin.scan_iter(f"{user.prefix}@dictionary:*"):
            user.admin.delete(key)
        backend.compression.train(size=512)
        assert backend.list_runs("a") == runs
        assert backend.compression.undo().rewritten == 50
        assert not user.refused()


def test_the_rules_of_a_backup_are_what_is_needed(url: str, tmp_path: Path) -> None:
    target = str(tmp_path / "backup.jsonl.gz")

    def whole(user: Restricted) -> bool:
        """Whether all is dumped, restored and replaced."""
        login = url.replace("redis://", f"redis://{user.name}:{user.password}@")

        def run(*words: str) -> int:
            return CliRunner().invoke(app, [*words, "--url", login, "--prefix", user.prefix]).exit_code

        fill(url, user.prefix)
        keys = sorted(user.admin.scan_iter(f"{user.prefix}*"))
        if run("dump", target):
            return False
        clear(user.admin, user.prefix)
        return (
            not run("restore", target)
            and not run("restore", target, "--replace")
            and keys == sorted(user.admin.scan_iter(f"{user.prefix}*"))
        )

    with restricted(url, "backup") as user:
        assert whole(user)
        assert not user.refused()
        # What redis-py says about itself, and what tidies up after a failure, may be refused.
        spared = ("+client|setinfo", "+hello", "+info", "+del")
        superfluous = []
        for rule in (rule for rule in user.rules if rule.startswith("+") and rule not in spared):
            user.may("-" + rule[1:])
            if whole(user):
                superfluous.append(rule)
            user.may(rule)
        assert not superfluous


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
