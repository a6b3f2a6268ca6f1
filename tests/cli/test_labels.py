"""`relay-models runs label` and `relay-models migrate`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay_models.records import RunRecord
from relay_models.sync import RedisBackend

from .conftest import Cli


@pytest.fixture
def store(tmp_path: Path) -> tuple[list[str], list[RunRecord]]:
    """Three runs in a store, and the options that name it."""
    path = tmp_path / "runs.db"
    runs = [RunRecord(agent_id=f"agent-{number}", calls=[]) for number in range(3)]
    with RedisBackend.embedded(path) as backend:
        backend.store_runs(runs)
    return ["--path", str(path)], runs


def test_one_run_is_labelled_listed_and_shown(cli: Cli, store: tuple[list[str], list[RunRecord]]) -> None:
    path, (run, *_) = store
    said = cli(
        "runs", "label", str(run.id), *path, "--tag", "golden", "--tag", "two words", "--score", "helpfulness=0.25",
        "--note", "too short", "--source", "evaluator", "--by", "judge", "--json",
    )  # fmt: skip
    assert said.json == {
        "run_id": str(run.id),
        "tags": ["golden", "two words"],
        "notes": ["too short"],
        "scores": {"helpfulness": 0.25},
    }
    where = 'tags has golden and tags has "two words" and score.helpfulness < 0.5'
    listed = cli("runs", "list", *path, "--where", where, "-c", "run,tags,score.helpfulness", "--json").json
    assert listed == [{"run_id": str(run.id), "tags": ["golden", "two words"], "score.helpfulness": 0.25}]
    shown = cli("runs", "show", str(run.id), *path).out
    for part in ("golden", "helpfulness = 0.25", "too short", "evaluator judge"):
        assert part in shown
    shown = cli("runs", "show", str(run.id), *path, "--json").json
    assert shown["agent_id"] == run.agent_id
    assert shown["labels"].keys() == {"tags", "scores", "notes"}
    assert shown["labels"]["tags"].keys() == {"golden", "two words"}
    assert shown["labels"]["notes"][0]["text"] == "too short"
    score = shown["labels"]["scores"]["helpfulness"]
    assert (score["value"], score["source"], score["by"]) == (0.25, "evaluator", "judge")
    assert datetime.now(UTC) - datetime.fromisoformat(score["at"]) < timedelta(minutes=5)
    stats = cli("runs", "stats", *path, "-m", "avg(score.helpfulness)", "--json").json
    assert stats == [{"avg(score.helpfulness)": 0.25}]
    cli("runs", "label", str(run.id), *path, "--remove-tag", "golden", "--remove-score", "helpfulness")
    assert cli("runs", "list", *path, "--where", where, "--json").json == []


def test_many_runs_are_labelled_by_a_filter(cli: Cli, store: tuple[list[str], list[RunRecord]]) -> None:
    path, _ = store
    answer = cli("runs", "label", *path, "--where", "agent in (agent-0, agent-2)", "--tag", "even", "--json")
    assert answer.json == {"labelled": 2}
    assert len(cli("runs", "list", *path, "--where", "tags has even", "--json").json) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--tag", "x"], 2, "--where"),
        (["latest", "--where", "all", "--tag", "x"], 2, "--where"),
        (["latest"], 2, "says something"),
        (["latest", "--score", "high"], 2, "NAME=NUMBER"),
        (["latest", "--score", "s=nan"], 2, "finite"),
        (["00000000", "--tag", "x"], 4, "no run"),
    ],
)
def test_what_cannot_be_done_is_said(
    cli: Cli, store: tuple[list[str], list[RunRecord]], arguments: list[str], code: int, said: str
) -> None:
    path, _ = store
    answer = cli("runs", "label", *arguments, *path)
    assert answer.code == code
    assert said in answer.err


def test_a_migration_is_planned_applied_and_undone(cli: Cli, store: tuple[list[str], list[RunRecord]]) -> None:
    path, _ = store
    assert {plan["state"] for plan in cli("migrate", "plan", *path, "--json").json} == {"current"}
    # The words of prompts and answers are columns, too.
    (run,) = [plan for plan in cli("migrate", "plan", *path, "--index-text", "--json").json if plan["kind"] == "run"]
    assert (run["state"], run["added"], run["stale"]) == ("needed", ["text"], 3)
    assert "to migrate" in cli("migrate", "plan", *path, "--index-text").out
    applied = cli("migrate", "apply", *path, "--index-text", "--json").json
    assert [result["rewritten"] for result in applied if result["switched"]] == [3]
    assert "old index is kept" in cli("migrate", "plan", *path).out
    assert "run" in cli("migrate", "rollback", *path).out
    assert {plan["state"] for plan in cli("migrate", "plan", *path, "--json").json} == {"current"}
    undone = cli("migrate", "rollback", *path)
    assert undone.code == 4
    assert "nothing to undo" in undone.err
    cli("migrate", "apply", *path, "--index-text", "--finish")
    assert "no unfinished migration" in cli("migrate", "finish", *path).out
    assert len(cli("runs", "list", *path, "--where", "text is missing", "--json").json) == 3
