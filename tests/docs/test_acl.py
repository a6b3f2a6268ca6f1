"""The ACL rules of the guide on deploying: enough for everything the store does, and no more."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from relay_models import Run
from relay_models.errors import CorruptDocumentsError, IndexMissingError, PermissionDeniedError
from relay_models.records import ExecutionPlan, MetadataEnvelope, RunRecord
from relay_models.sync import RedisBackend

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "deploying.md"


def rules() -> list[str]:
    """The words of the guide's ACL SETUSER, after the user's name."""
    found = re.search(r"^ACL SETUSER relay (.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1].split()


def everything(backend: RedisBackend) -> None:
    """Each operation once, those that store again and those that ask the index included."""
    runs = [RunRecord(agent_id="a", calls=[]) for _ in range(3)]
    backend.store_run(runs[0])
    backend.store_run(runs[0])
    assert backend.store_runs(runs).stored == 3
    assert backend.load_run("a", runs[1].id) == runs[1]
    assert len(backend.list_runs("a")) == len(list(backend.iter_runs("a"))) == 3
    assert backend.count_runs(Run.agent_id.like("?")) == len(backend.find_runs("agent = a")) == 3
    assert backend.latest_run("a") is not None
    assert backend.aggregate_runs(by=["agent_id"], metrics=["count", "p95(duration)"])
    assert [agent.agent_id for agent in backend.agents()] == ["a"]
    backend.store_plan(
        ExecutionPlan(agent_id="a", parallel_groups=[], metadata_template=MetadataEnvelope(agent_id="a"))
    )
    assert backend.load_plan("a") is not None
    assert len(backend.plans.find()) == 1
    assert backend.delete_plan("a")
    assert backend.runs.label(runs[1], tags=["golden"]).tags.keys() == {"golden"}
    assert backend.delete_run("a", runs[0].id)
    # A document that the index refuses, once and for good, is one agent's: others are listed without it.
    backend.client.execute_command("JSON.SET", f"{backend.key_prefix}@run:b:{runs[0].id}", "$", '{"started_at": "x"}')
    assert len(backend.list_runs("a")) == 2
    assert backend.list_runs("b", on_corrupt="skip") == []
    with pytest.raises(CorruptDocumentsError):
        backend.list_runs("b")
    assert backend.delete_agent("b", what="everything") == 1
    assert backend.delete_runs("agent = a") == 2


def clear(admin: redis.Redis, prefix: str) -> None:
    """Drop the store's indexes and documents."""
    for name in admin.execute_command("FT._LIST"):
        if name.startswith(prefix.encode()):
            admin.execute_command("FT.DROPINDEX", name, "DD")
    for key in admin.scan_iter(f"{prefix}*"):
        admin.delete(key)


def test_the_rules_are_what_is_needed(real_redis_url: str) -> None:
    admin = redis.Redis.from_url(real_redis_url)
    user, password, prefix = f"relay{secrets.token_hex(4)}", secrets.token_hex(8), f"acl{secrets.token_hex(4)}:"
    given = [rule.replace("nemo_relay:", prefix) for rule in rules() if not rule.startswith(">")]
    try:
        admin.execute_command("ACL", "SETUSER", user, *given, f">{password}")
        admin.execute_command("ACL", "LOG", "RESET")
        options = {
            "run_ttl": timedelta(days=1),
            "username": user,
            "password": password,
            "client_name": "guide",
            "retries": 0,
        }
        with RedisBackend.connect(real_redis_url, prefix, **options) as backend:
            everything(backend)
        refused = [entry for entry in admin.acl_log() if entry["username"] == user]
        assert not refused
        # Without any one of the rules something is refused: none of them is too much. Left out are those for what
        # redis-py says about itself, for answers of thousands of rows, for a changed layout, and the optional clock.
        superfluous = []
        spared = ("+client|setinfo", "+client|setname", "+hello", "+time", "+ft.cursor", "+json.del", "+ft.dropindex")
        for rule in (rule for rule in given if rule.startswith("+") and rule not in spared):
            clear(admin, prefix)
            admin.execute_command("ACL", "SETUSER", user, "-" + rule[1:])
            try:
                with RedisBackend.connect(real_redis_url, prefix, **options) as backend:
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
