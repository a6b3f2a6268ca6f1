"""The command line knows a user's models: by option, by environment, and by the project's pyproject.toml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from relay_models.documents.model_modules import load_models
from relay_models.sync import RedisBackend
from tests.backend.own_models import Feedback

from .conftest import Cli

MODELS = """
from uuid import UUID
from relay_models import Column, Document, Run, column, metadata

class AcmeRun(Run):
    tenant: Column[str | None] = column("Whose.", value=metadata("tenant"))

class Feedback(Document):
    "What a user said."
    run_id: Column[UUID] = column(links=Run)
    rating: Column[int] = column("Stars.", ge=1, le=5)
"""
RUN = """{"id":"0199b0a4-6f5e-7c3a-9d2b-0242ac120002","agent_id":"a","calls":[],"started_at":"2026-01-01T00:00:00Z",
"relay_models":{"metadata":{"tenant":"acme"}}}""".replace("\n", "")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "acme_models.py").write_text(MODELS, encoding="utf-8")
    (tmp_path / "runs.jsonl").write_text(RUN + "\n", encoding="utf-8")
    return tmp_path


def relay_models(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relay_models.cli", *words]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_renamed_class_is_told_what_the_store_has(project: Path) -> None:
    with RedisBackend.embedded(project / "x.db", models=[Feedback]) as backend:
        backend.collection(Feedback).save(Feedback(run_id=UUID(int=1), rating=2, comment="no"))
    (project / "acme_models.py").write_text(MODELS.replace("class Feedback(", "class Opinion("), encoding="utf-8")
    where = ["--path", "x.db", "--models", "acme_models"]
    listed = relay_models(project, "models", "list", "Opinion", *where)
    assert (listed.returncode, listed.stdout) == (0, "no documents\n")
    assert "model:feedback: 1 documents, and no class here" in listed.stderr
    planned = relay_models(project, "migrate", "plan", *where)
    assert "model:feedback: 1 documents, and no class here" in " ".join(planned.stdout.split())
    plans = json.loads(relay_models(project, "migrate", "plan", *where, "--json").stdout)
    assert [(plan["kind"], plan["documents"]) for plan in plans if plan["state"] == "unknown"] == [
        ("model:feedback", 1)
    ]
    assert "model:opinion" in {plan["kind"] for plan in plans if plan["state"] == "current"}


def test_runs_are_imported_and_found_by_own_columns(project: Path) -> None:
    done = relay_models(project, "import", "runs.jsonl", "--path", "x.db", "--models", "acme_models")
    assert done.returncode == 0, done.stderr
    words = ["runs", "list", "--path", "x.db", "--where", "tenant = acme", "--columns", "tenant,agent", "--json"]
    for found in (
        relay_models(project, *words, "--models", "acme_models:AcmeRun"),
        relay_models(project, *words, RELAY_MODELS_MODELS="acme_models"),
    ):
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout) == [{"tenant": "acme", "agent_id": "a"}]
    (project / "pyproject.toml").write_text('[tool.relay-models]\nmodels = ["acme_models"]\n', encoding="utf-8")
    (project / "inner").mkdir()
    exported = relay_models(project / "inner", "runs", "export", "out.csv", "--path", "../x.db")
    assert exported.returncode == 0, exported.stderr
    assert (project / "inner" / "out.csv").read_text(encoding="utf-8").splitlines()[0].endswith(",tenant")
    counted = relay_models(project, "runs", "stats", "--path", "x.db", "--by", "tenant", "--json")
    assert json.loads(counted.stdout)[0]["tenant"] == "acme", counted.stderr


def test_a_name_that_only_models_have_tells_how_to_name_them(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "acme_models.py").rename(project / "hinted_models.py")
    monkeypatch.syspath_prepend(project)
    store = ["--path", str(project / "x.db")]
    runs, models = str(project / "runs.jsonl"), ["--models", "hinted_models"]
    assert cli("import", runs, *store, *models).code == 0
    for words in (
        ["runs", "list", *store, "--where", "tenant = acme"],
        ["runs", "list", *store, "--columns", "tenant"],
        ["runs", "stats", *store, "--by", "tenant"],
        ["import", runs, *store],
        ["schema", "feedback"],
    ):
        assert "--models, RELAY_MODELS_MODELS, or models in [tool.relay-models]" in cli(*words).err
    known = cli("runs", "stats", *store, "--by", "tenent", *models)
    assert "'tenent'" in known.err
    assert "--models" not in known.err


def test_intervals_are_of_any_column_of_times(cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    due = '    due: Column[datetime | None] = column(metadata("due"))\n'
    models = f"{MODELS}\nfrom datetime import datetime\n\nclass DueRun(AcmeRun):\n{due}"
    (project / "due_models.py").write_text(models, encoding="utf-8")
    run = RUN.replace('"acme"', '"acme","due":"2027-05-06T07:00:00Z"')
    (project / "runs.jsonl").write_text(run + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(project)
    store = ["--path", str(project / "due.db"), "--models", "due_models"]
    assert cli("import", str(project / "runs.jsonl"), *store).code == 0
    for time, day in (("started", "2026-01-01"), ("due", "2027-05-06")):
        found = cli("runs", "stats", *store, "--every", "1d", "--metrics", "count", "--json", "--time", time)
        assert json.loads(found.out) == [{"bucket": f"{day}T00:00:00Z", "count": 1}], found.err


def test_a_column_that_no_class_has_any_more_is_removed(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    done = relay_models(project, "import", "runs.jsonl", "--path", "x.db", "--models", "acme_models")
    assert done.returncode == 0, done.stderr
    assert "  keep: tenant" in cli("migrate", "plan", "--path", "x.db").out
    plan = cli("migrate", "plan", "--path", "x.db", "--remove", "tenant")
    assert "run: to migrate" in plan.out
    assert "  remove: tenant" in plan.out
    assert cli("migrate", "apply", "--path", "x.db", "--remove", "tenant", "--finish").code == 0
    assert "tenant" not in cli("migrate", "plan", "--path", "x.db").out
    again = cli("migrate", "apply", "--path", "x.db", "--remove", "tenant")
    assert again.code == 4
    assert "no column 'tenant'" in again.err


def test_documents_of_own_models_are_listed_shown_and_exported(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    items = [Feedback(run_id=UUID(int=n), rating=n % 5 + 1, comment="so long", raw={"n": n}) for n in range(25)]
    with RedisBackend.embedded("x.db", models=[Feedback]) as backend:
        backend.collection(Feedback).save_many(items)
    store = ["--path", "x.db", "--models", "tests.backend.own_models:Feedback"]
    listed = cli("models", "list", "Feedback", *store)
    assert len(listed.out.splitlines()) == 22
    assert items[-1].pk in listed.out
    assert "20 of 25 documents" in listed.err
    few = cli("models", "list", "feedback", "-w", "rating = 5", "-o", "run_id", "-c", "rating,run_id", *store, "--json")
    assert few.json == [{"rating": 5, "run_id": str(UUID(int=n))} for n in (4, 9, 14, 19, 24)]
    assert "no documents match" in cli("models", "list", "Feedback", "-w", "rating > 5", *store).out
    assert cli("models", "show", "Feedback", str(items[3].pk), *store, "--json").json["raw"] == {"n": 3}
    lines = cli("models", "export", "Feedback", *store).out.splitlines()
    assert [Feedback.model_validate_json(line) for line in lines] == items
    assert cli("models", "export", "Feedback", "out.csv", "-w", "rating = 5", *store).code == 0
    assert len(Path("out.csv").read_text(encoding="utf-8").splitlines()) == 6
    for wrong in (["show", "Feedback", "none"], ["list", "Other"], ["export", "Other"]):
        answer = cli("models", *wrong, *store)
        assert (answer.code, answer.out) == (4, "")
        assert answer.err.startswith("error: there is no ")
    assert "--models" in cli("models", "list", "Feedback", "--path", "x.db").err


def test_members_that_stand_for_numbers_are_shown_by_name(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        "from decimal import Decimal\nfrom enum import Enum, IntEnum\n"
        "from relay_models import Column, Document, Run, column, metadata\n"
        "class Tier(IntEnum):\n    FREE = 0\n    PRO = 10\n"
        "class Mood(Enum):\n    GOOD = 'fine'\n"
        "class TierRun(Run):\n    tier: Column[Tier | None] = column(value=metadata('tenant'))\n"
        "class Member(Document):\n    tier: Column[Tier] = column()\n    mood: Column[Mood] = column()\n"
        "    price: Column[Decimal] = column(default=Decimal('19.99'))\n    moods: Column[set[Mood]] = column()\n"
    )
    (tmp_path / "tier_models.py").write_text(text, encoding="utf-8")
    (tmp_path / "runs.jsonl").write_text(RUN.replace('"acme"', "10") + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    models = load_models("tier_models")
    store = ["--path", "x.db", "--models", "tier_models"]
    assert cli("import", "runs.jsonl", *store).code == 0
    with RedisBackend.embedded("x.db", models=models) as backend:
        member: Any = next(model for model in models if model.__name__ == "Member")
        backend.collection(member).save(member(tier=10, mood="fine"))
    for words in (
        ["runs", "list", "--columns", "agent_id,tier"],
        ["runs", "watch", "--columns", "agent_id,tier", "--all", "-n", "1"],
        ["runs", "stats", "--by", "agent_id,tier", "--metrics", "count"],
        ["models", "list", "Member", "--columns", "mood,tier"],
    ):
        shown = cli(*words, *store)
        assert shown.lines[-1].split()[1] == "PRO", shown.err
        asked = [*words, "--where", f"tier = {shown.lines[-1].split()[1]}"]
        assert cli(*asked, *store).lines == shown.lines
        assert '"tier": 10' in cli(*words, *store, "--json").out
    assert cli("models", "list", "Member", "--columns", "price", *store).lines[-1] == "19.99"
    assert "`0 (FREE)` or `10 (PRO)`" in cli("schema", "member", "--models", "tier_models").out


def test_the_schema_shows_own_columns_and_models(project: Path) -> None:
    run = relay_models(project, "schema", "run", "--models", "acme_models")
    assert "| `tenant` | `TAG` | yes |  | Whose. |" in run.stdout, run.stderr
    feedback = relay_models(project, "schema", "feedback", "--models", "acme_models")
    assert "| `rating` | `NUMERIC` | yes |  | Stars. |" in feedback.stdout
    assert "`{prefix}@model:feedback:{pk}`" in feedback.stdout
    as_json = relay_models(project, "schema", "feedback", "-f", "json-schema", "--models", "acme_models")
    assert json.loads(as_json.stdout)["properties"]["rating"]["maximum"] == 5


@pytest.mark.parametrize("models", ["nothing_like_that", "json", "acme_models:Nothing", "acme_models:UUID"])
def test_models_that_are_none_are_named(project: Path, models: str) -> None:
    done = relay_models(project, "runs", "list", "--path", "x.db", "--models", models)
    assert done.returncode == 2
    assert models.partition(":")[0] in done.stderr


def test_a_file_in_place_of_a_module_is_told_its_name(cli: Cli, tmp_path: Path) -> None:
    answer = cli("agents", "--path", str(tmp_path / "s.db"), "--models", "shop/models.py")
    assert answer.code == 2
    assert "name the module as it is imported, 'shop.models', not 'shop/models.py'" in answer.err


@pytest.mark.parametrize("name", ["..", ".x", "no_such", "a b", "\0", "broken_models"])
def test_a_module_that_cannot_be_imported_is_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "broken_models.py").write_text("raise KeyError('no such setting')")
    monkeypatch.syspath_prepend(tmp_path)

    answer = cli("agents", "--path", str(tmp_path / "s.db"), "--models", name)

    assert answer.code == 2
    assert "cannot be imported" in answer.err
    assert name != "broken_models" or "KeyError" in answer.err
